"""Draws depend on the seed, the chain and the draw: not on chunks, neighbours, devices or interruptions."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED_PRECISION
from proposals import Drift, Normal
from runs import compilations, draw, resume, same, same_state

import mcmc

DESIGN = np.random.default_rng(5).normal(size=(30, 5))
Y = DESIGN @ np.arange(5.0) + np.random.default_rng(6).normal(size=30)


def _regression(p):
    return -0.5 * jnp.sum((Y - DESIGN @ p["b"]) ** 2) - 0.5 * p["b"] @ CORRELATED_PRECISION @ p["b"]


def _derived(p):
    return {"fitted": DESIGN @ p["b"], "largest": jnp.max(p["b"])}


@functools.cache
def regression():
    """A log density of matrix products, with derived values of them."""
    return mcmc.Target(_regression, {"b": mcmc.real(5)}, derived=_derived)


COVARIANCE = np.linalg.inv(DESIGN.T @ DESIGN + CORRELATED_PRECISION)
LOC, SPREAD = COVARIANCE @ DESIGN.T @ Y, 1.2 * np.linalg.cholesky(COVARIANCE)
KERNELS = {
    "random_walk": mcmc.RandomWalk(step_size=1.0, metric=COVARIANCE),
    "independent": mcmc.IndependentMetropolis(Normal(LOC, SPREAD)),
    "metropolis_hastings": mcmc.MetropolisHastings(Drift(LOC, np.float64(0.7), 0.6 * SPREAD)),
    "hmc": mcmc.HMC(step_size=0.5, metric=COVARIANCE),
    "nuts": mcmc.NUTS(step_size=0.4, metric=COVARIANCE),
    "mixture": mcmc.Mixture([mcmc.HMC(0.5, COVARIANCE), mcmc.RandomWalk(1.0, COVARIANCE)], [1, 2]),
}
ENSEMBLES = {
    "stretch": mcmc.Stretch(),
    "differential_evolution": mcmc.DifferentialEvolution(),
    "walk": mcmc.Walk(step_size=1.0, size=6),
    "kde": mcmc.KDE(metric=COVARIANCE),
    "mixture_ensemble": mcmc.Mixture([mcmc.Walk(), mcmc.RandomWalk(1.0, COVARIANCE)]),
}
BASE = {"chains": 8, "lanes": 8, "draws": 37, "warmup": 10, "thin": 1, "seed": 11, "superchains": 0}
THINNED = {**BASE, "draws": 13, "thin": 3, "warmup": 5}


@functools.cache
def base(name):
    return draw(regression(), {**KERNELS, **ENSEMBLES}[name], **(BASE if name in KERNELS else {**BASE, "chains": 16}))


@functools.cache
def wide():
    """The base run with 32 chains more, on one device."""
    return draw(regression(), KERNELS["hmc"], **{**BASE, "chains": 40})


@functools.cache
def tuned():
    """A run whose warmup tunes a dense metric from 40 chains."""
    return draw(regression(), mcmc.HMC(), **{**BASE, "chains": 40, "warmup": 60})


@pytest.mark.parametrize("name", [*KERNELS, *ENSEMBLES])
def test_the_base_run_moves(name):
    assert np.unique(base(name)["posterior"]["b"].values[0, :, 0]).size > 5


@pytest.mark.parametrize("name", [*KERNELS, "stretch"])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_do_not_enter(name, chunk):
    settings = BASE if name in KERNELS else {**BASE, "chains": 16}
    same(base(name), draw(regression(), {**KERNELS, **ENSEMBLES}[name], **settings, chunk=chunk))


@pytest.mark.parametrize("chunk", [1, 4, 7, 1000])
def test_chunks_do_not_enter_thinned_draws(chunk):
    whole = draw(regression(), KERNELS["hmc"], **{**THINNED, "thin": 1, "draws": 39})
    thinned = draw(regression(), KERNELS["hmc"], **THINNED, chunk=chunk)
    kept = whole["posterior"]["b"].values[:, 2::3]
    np.testing.assert_array_equal(thinned["posterior"]["b"].values, kept)
    np.testing.assert_array_equal(thinned["sample_stats"]["lp"].values, whole["sample_stats"]["lp"].values[:, 2::3])
    np.testing.assert_array_equal(thinned["posterior"]["fitted"].values, whole["posterior"]["fitted"].values[:, 2::3])


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_do_not_enter_a_tuned_warmup(chunk):
    again = draw(regression(), mcmc.HMC(), **{**BASE, "chains": 40, "warmup": 60}, chunk=chunk)
    same(tuned(), again)
    same_state(tuned(), again)


@pytest.mark.parametrize(("name", "chains"), [("hmc", 40), *((name, 5) for name in KERNELS), ("hmc", 1)])
def test_chains_beside_do_not_enter(name, chains):
    other = wide() if chains == 40 else draw(regression(), KERNELS[name], **{**BASE, "chains": chains})
    same(base(name), other, slice(0, min(chains, 8)))


def test_chains_beside_do_not_enter_where_chains_share_starts():
    a = draw(regression(), KERNELS["hmc"], **{**BASE, "chains": 36, "superchains": None})
    b = draw(regression(), KERNELS["hmc"], **{**BASE, "chains": 40, "superchains": None})
    same(a, b, slice(0, 36))
    same(a, base("hmc"), slice(0, 8))


def mesh(devices):
    return jax.make_mesh((devices,), ("anything",), devices=jax.devices()[:devices])


@pytest.mark.parametrize(
    ("name", "devices", "chains"), [("random_walk", 2, 40), ("nuts", 2, 24), ("hmc", 1, 40), ("hmc", 2, 40)]
)
def test_devices_and_chains_beside_do_not_enter(name, devices, chains):
    many = draw(regression(), KERNELS[name], **{**BASE, "chains": chains}, mesh=mesh(devices))
    same(base(name), many, slice(0, 8))
    assert f"{devices} x" in many.attrs["device"]
    if name == "hmc":
        same(wide(), many)


@pytest.mark.parametrize(("kernel", "dtype"), [(mcmc.HMC, "float32"), (mcmc.RandomWalk, "float64")])
def test_devices_do_not_enter_constrained_parameters_nor_a_default_layout(kernel, dtype):
    target = mcmc.Target(
        lambda p: 2 * jnp.log(p["x"]) - 2 * p["x"] + jnp.sum(jnp.log(p["s"])),
        {"x": mcmc.positive(), "s": mcmc.simplex(3)},
    )
    settings = {"draws": 37, "warmup": 10, "chains": 300, "superchains": 0, "dtype": dtype}
    one = draw(target, kernel(step_size=0.5, metric=1.0), **settings)
    same(one, draw(target, kernel(step_size=0.5, metric=1.0), **settings, mesh=mesh(2)))


@pytest.mark.slow
def test_devices_do_not_enter_a_pooled_warmup():
    many = draw(regression(), mcmc.HMC(), **{**BASE, "chains": 40, "warmup": 60}, mesh=mesh(3))
    same(tuned(), many)
    same_state(tuned(), many)


# --- resuming -----------------------------------------------------------------------------------------


def through_netcdf(draws, folder):
    draws.to_netcdf(folder / "run.nc", engine="h5netcdf")
    return folder / "run.nc"


def through_zarr(draws, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's own, of its format
        draws.to_zarr(folder / "run.zarr")
    return str(folder / "run.zarr")


def as_it_is(draws, _):
    return draws


HOPS = {  # each kernel by two of the three forms, and each form before and after another
    "random_walk": (as_it_is, through_netcdf),
    "independent": (through_netcdf, through_zarr),
    "metropolis_hastings": (through_zarr, as_it_is),
    "hmc": (through_netcdf, through_zarr),
    "nuts": (as_it_is, through_zarr),
    "stretch": (through_zarr, through_netcdf),
    "differential_evolution": (as_it_is, through_netcdf),
    "walk": (through_netcdf, through_zarr),
    "kde": (through_zarr, as_it_is),
    "mixture": (through_netcdf, as_it_is),
    "mixture_ensemble": (through_zarr, through_netcdf),
}


@pytest.mark.parametrize("name", [*KERNELS, *ENSEMBLES])
def test_a_resumed_run_is_the_unbroken_one_twice_in_a_row(name, tmp_path):
    kernel = {**KERNELS, **ENSEMBLES}[name]
    settings = BASE if name in KERNELS else {**BASE, "chains": 16}
    own = {"kernel": kernel} if name in ("independent", "metropolis_hastings") else {}
    run = draw(regression(), kernel, **{**settings, "draws": 11})
    for more, form in zip((9, 17), HOPS[name], strict=True):
        run = resume(regression(), form(run, tmp_path), more, **own)
    same(base(name), run)
    same_state(base(name), run)
    assert run["posterior"].sizes["draw"] == 37
    np.testing.assert_array_equal(run["posterior"]["draw"].values, np.arange(37))


@pytest.mark.usefixtures("no_kept_programs")
def test_a_resumed_run_is_the_unbroken_one_where_warmup_tuned_and_runs_no_new_program():
    whole = tuned()
    run = draw(regression(), mcmc.HMC(), **{**BASE, "chains": 40, "warmup": 60, "draws": 20})
    with compilations() as names:
        run = resume(regression(), run, 17)
    same(whole, run)
    assert "jit(derived)" in names  # what compares the derived values with those saved
    assert set(names) <= {"jit(derived)", "jit(_parameters)"}  # and the last draws


def test_a_resumed_run_is_the_unbroken_one_when_thinned():
    whole = draw(regression(), KERNELS["hmc"], **THINNED)
    run = draw(regression(), KERNELS["hmc"], **{**THINNED, "draws": 4})
    same(whole, resume(regression(), run, 9, chunk=5))


def test_a_resumed_run_is_the_unbroken_one_on_other_devices():
    run = draw(regression(), KERNELS["hmc"], **{**BASE, "chains": 40, "draws": 20})
    run = resume(regression(), run, 17, mesh=mesh(2))
    same(base("hmc"), run, slice(0, 8))


def test_a_store_without_consolidated_metadata_is_resumed(tmp_path):
    run = draw(regression(), KERNELS["hmc"], **{**BASE, "draws": 20})
    run.to_zarr(tmp_path / "run.zarr", consolidated=False)
    same(base("hmc"), resume(regression(), tmp_path / "run.zarr", 17))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"target": mcmc.Target(lambda p: -jnp.sum(p["b"] ** 2), {"b": mcmc.real(5)})},
            mcmc.FingerprintError,
            "target",
        ),
        ({"kernel": mcmc.HMC()}, mcmc.FingerprintError, "kernel"),
        ({"n": -1}, ValueError, "draws"),
        ({"n": 2.5}, ValueError, "draws"),
    ],
    ids=["target", "kernel", "negative", "fraction"],
)
def test_a_run_is_resumed_with_its_own_target_and_kernel(change, error, text):
    with pytest.raises(error, match=text):
        resume(**{"target": regression(), "draws": base("random_walk"), "n": 5, **change})


def test_what_can_not_be_resumed(tmp_path):
    with pytest.raises(ValueError, match="run_state"):
        resume(regression(), base("hmc").drop_nodes("run_state"), 5)
    with pytest.raises(TypeError, match="draws"):
        resume(regression(), base("hmc")["posterior"]["b"].values, 5)
    with pytest.raises(FileNotFoundError, match="draws"):
        resume(regression(), tmp_path / "nothing.nc", 5)
    with pytest.raises(ValueError, match=r"kernel.*Independent"):
        resume(regression(), base("independent"), 5)


def test_a_finished_run_is_resumed_by_nothing():
    same(base("hmc"), resume(regression(), base("hmc")))


def test_a_resumed_run_keeps_float32():
    kernel, settings = KERNELS["random_walk"], {**BASE, "dtype": "float32"}
    whole = draw(regression(), kernel, **settings)
    run = resume(regression(), draw(regression(), kernel, **{**settings, "draws": 20}), 17)
    assert run["posterior"]["b"].dtype == np.float32
    same(whole, run)


# --- seeds --------------------------------------------------------------------------------------------


def test_seeds_enter():
    other = draw(regression(), KERNELS["hmc"], **{**BASE, "seed": 12})
    assert np.all(other["posterior"]["b"].values != base("hmc")["posterior"]["b"].values)


@pytest.mark.parametrize(
    "seed", [np.int64(11), pytest.param(2**40 + 3), "key", "raw"], ids=["numpy", "large", "key", "raw key"]
)
def test_forms_of_a_seed(seed):
    made = {"key": jax.random.key(4), "raw": jax.random.PRNGKey(4)}.get(seed, seed)
    run = draw(regression(), KERNELS["hmc"], **{**BASE, "seed": made})
    same(run, draw(regression(), KERNELS["hmc"], **{**BASE, "seed": made}))
    if isinstance(seed, np.int64):
        same(run, base("hmc"))
    else:
        assert np.all(run["posterior"]["b"].values != base("hmc")["posterior"]["b"].values)
