"""Runs under a map: exact, the same bits however they are cut, and right on hierarchies at the default."""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hierarchies import SE, Y
from laws import CORRELATED, CORRELATED_LOC, CORRELATED_PRECISION
from random_layers import conditional, tails
from runs import compilations, draw, resume, same, same_state

import mcmc
from mcmc.sampling import steps as sampling_steps
from mcmc.warmup.geometry.triangular_map import moved


def _schools(p):
    mu, tau, theta = p["mu"], p["tau"], p["theta"]
    prior = -0.5 * (mu / 5) ** 2 - jnp.log1p((tau / 5) ** 2)
    return prior + jnp.sum(-0.5 * ((theta - mu) / tau) ** 2 - jnp.log(tau) - 0.5 * ((Y - theta) / SE) ** 2)


@functools.cache
def schools():
    """Eight schools as one writes them, centred."""
    return mcmc.Target(_schools, {"mu": mcmc.real(), "tau": mcmc.positive(), "theta": mcmc.real(8)})


SETTINGS = {"chains": 16, "lanes": 8, "warmup": 200, "draws": 40, "seed": 3, "superchains": 0}


@functools.cache
def base():
    """A short run whose warmup finds the map."""
    return draw(schools(), mcmc.HMC(), **SETTINGS)


def mapped(draws):
    """The numbers of the map that a run keeps."""
    return [name for name in draws["run_state"].data_vars if name.startswith("map_")]


# --- what is found, and the law -----------------------------------------------------------------------


def _log_tau_by_quadrature():
    """Mean and sd of log tau: mu and theta are integrated out in closed form."""
    log_tau = np.linspace(-16, 7, 20001)
    variance = SE[:, None] ** 2 + np.exp(2 * log_tau)
    precision, level = np.sum(1 / variance, 0) + 1 / 25, np.sum(Y[:, None] / variance, 0)
    marginal = -0.5 * np.sum(np.log(variance) + Y[:, None] ** 2 / variance, 0)
    lp = marginal - 0.5 * np.log(precision) + 0.5 * level**2 / precision
    lp += log_tau - np.log1p((np.exp(log_tau) / 5) ** 2)
    weight = np.exp(lp - lp.max())
    weight /= weight.sum()
    mean = weight @ log_tau
    return mean, np.sqrt(weight @ (log_tau - mean) ** 2)


def test_the_default_is_right_on_a_centred_hierarchy_and_says_what_it_found():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draws = mcmc.sample(schools(), seed=1, progress=False)
    assert mcmc.diagnose(draws).ok
    assert "log tau scales theta[0..7]" in draws.attrs["geometry"]
    x = np.log(draws["posterior"]["tau"].values)
    mean, sd = _log_tau_by_quadrature()
    assert abs(x.mean() - mean) < 3 * mcmc.mcse(x)
    assert abs(x.std() - sd) < 3 * mcmc.mcse(x, method="sd")
    assert mcmc.mcse(x, method="sd") < 0.04 * sd


def test_recorded_log_densities_are_the_targets_at_the_recorded_draws():
    posterior = base()["posterior"]
    with jax.enable_x64(True):
        at = {name: jnp.asarray(posterior[name].values) for name in ("mu", "tau", "theta")}
        lp = jax.vmap(jax.vmap(_schools))(at) + jnp.log(at["tau"])  # of the position, log tau
    np.testing.assert_allclose(base()["sample_stats"]["lp"].values, lp, rtol=0, atol=1e-9)


def under(monkeypatch, layers):
    """Have runs begin in front of these layers."""
    make = sampling_steps.make_run

    def made(plan):
        run = make(plan)
        run.use(layers, run.programs_under(layers))
        return run

    monkeypatch.setattr("mcmc.sampling.run.make_run", made)


NORMAL = mcmc.Target(
    lambda p: -0.5 * (p["x"] - CORRELATED_LOC) @ CORRELATED_PRECISION @ (p["x"] - CORRELATED_LOC), {"x": mcmc.real(5)}
)


@pytest.mark.parametrize("seed", range(3))
def test_chains_that_start_in_the_law_stay_in_it_under_random_maps(seed, monkeypatch):
    """Chains of a wrong map mix slowly: their law at the end, over independent chains, tells whether it is kept."""
    layers, chains = (conditional(seed, 5), tails(seed, 5), conditional(seed + 50, 5)), 2000
    starts = np.random.default_rng(seed).multivariate_normal(CORRELATED_LOC, CORRELATED, chains)
    under(monkeypatch, layers)
    kernel = mcmc.HMC(step_size=0.04, metric=1.0, num_steps=6)
    z = moved((), layers, starts)
    draws = draw(NORMAL, kernel, chains=chains, warmup=0, draws=40, seed=seed, init={"x": z})
    x = draws["posterior"]["x"].values
    off = x[:, -1] - CORRELATED_LOC
    assert (x[:, 0] != x[:, -1]).any(1).mean() > 0.95
    assert (np.abs(off.mean(0)) < 4.5 / np.sqrt(chains)).all()
    products = off[:, :, None] * off[:, None, :]
    assert (np.abs(products.mean(0) - CORRELATED) < 4.5 * products.std(0) / np.sqrt(chains)).all()
    off = x - CORRELATED_LOC
    lp = -0.5 * np.einsum("cni,ij,cnj->cn", off, CORRELATED_PRECISION, off)
    np.testing.assert_allclose(draws["sample_stats"]["lp"].values, lp, rtol=1e-9, atol=1e-9)
    assert len(mapped(draws)) == 20


# --- the same bits ------------------------------------------------------------------------------------


def test_the_base_run_has_a_map_and_a_seed_gives_its_bits_again():
    assert mapped(base())
    again = draw(schools(), mcmc.HMC(), **SETTINGS)
    same(base(), again)
    same_state(base(), again)


def test_chunks_do_not_enter():
    again = draw(schools(), mcmc.HMC(), **SETTINGS, chunk=7)
    same(base(), again)
    same_state(base(), again)


@pytest.mark.parametrize("devices", [2])
def test_devices_do_not_enter(devices):
    mesh = jax.make_mesh((devices,), ("anything",), devices=jax.devices()[:devices])
    again = draw(schools(), mcmc.HMC(), **SETTINGS, mesh=mesh)
    assert f"{devices} x" in again.attrs["device"]
    assert mapped(base())
    same(base(), again)
    same_state(base(), again)


def test_chains_beside_do_not_enter_under_a_map(monkeypatch):
    under(monkeypatch, (conditional(1, 10, steep=0.1), tails(1, 10)))
    kernel = mcmc.HMC(step_size=0.1, metric=1.0, num_steps=4)
    settings = SETTINGS | {"warmup": 10}
    same(draw(schools(), kernel, **settings), draw(schools(), kernel, **settings | {"chains": 24}), slice(0, 16))


def through_netcdf(draws, folder):
    draws.to_netcdf(folder / "run.nc", engine="h5netcdf")
    return folder / "run.nc"


@pytest.mark.parametrize("form", [lambda draws, _: draws, through_netcdf], ids=["as it is", "netCDF"])
def test_a_resumed_run_is_the_unbroken_one_and_keeps_its_map(form, tmp_path):
    part = draw(schools(), mcmc.HMC(), **SETTINGS | {"draws": 15})
    whole = resume(schools(), form(part, tmp_path), 25)
    same(base(), whole)
    same_state(base(), whole)
    assert whole.attrs["geometry"] == base().attrs["geometry"]


@pytest.mark.parametrize(
    ("phase", "share", "stored"),  # without a store nothing is left of a run that is interrupted in warmup
    [("warmup", 0.2, True), ("warmup", 0.7, True), ("sampling", 0.4, True), ("sampling", 0.4, False)],
)
def test_an_interrupted_run_resumes_to_the_unbroken_one(phase, share, stored, tmp_path):
    def interrupt(update):
        if update.phase == phase and update.done >= share * update.total:
            raise KeyboardInterrupt

    store = {"store": tmp_path / "run.zarr"} if stored else {}
    part = draw(schools(), mcmc.HMC(), **SETTINGS, progress=interrupt, chunk=10, **store)
    assert part.attrs["status"] == "interrupted"
    whole = resume(schools(), tmp_path / "run.zarr" if stored else part)
    same(base(), whole)
    same_state_but_store(base(), whole)


def same_state_but_store(one, other):
    """The chains, the kernel and the map of two run states."""
    a, b = (run["run_state"].to_dataset() for run in (one, other))
    assert mapped(one) == mapped(other)
    for name in set(a.data_vars) & set(b.data_vars):
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


# --- the argument, kernels, programs ------------------------------------------------------------------


def test_affine_finds_no_map():
    draws = draw(schools(), mcmc.HMC(), **SETTINGS, geometry="affine")
    assert draws.attrs["geometry"] == "affine"
    assert mapped(draws) == []
    resumed = resume(schools(), draws, 5)
    assert resumed.attrs["geometry"] == "affine"


def test_an_affine_target_has_the_same_draws_either_way():
    one, other = (draw(NORMAL, mcmc.HMC(), **SETTINGS, geometry=geometry) for geometry in ("auto", "affine"))
    assert one.attrs["geometry"] == other.attrs["geometry"] == "affine"
    same(one, other)


@pytest.mark.parametrize("wrong", ["flow", None, True])
def test_another_geometry_is_refused(wrong):
    with pytest.raises(ValueError, match=r"geometry.*auto"):
        mcmc.sample(NORMAL, geometry=wrong, progress=False)


@pytest.mark.parametrize(
    "kernel",
    [mcmc.NUTS(), pytest.param(mcmc.MALA(), marks=pytest.mark.slow), mcmc.Multiscale()],
    ids=["NUTS", "MALA", "Multiscale"],
)
def test_every_gradient_kernel_that_is_tuned_finds_the_map(kernel):
    draws = draw(schools(), kernel, **SETTINGS | {"draws": 10, "warmup": 300})
    assert "log tau scales theta" in draws.attrs["geometry"]
    same(draws, resume(schools(), draw(schools(), kernel, **SETTINGS | {"draws": 4, "warmup": 300}), 6))


@pytest.mark.usefixtures("no_kept_programs")
def test_single_precision_finds_the_map_and_compiles_once_for_each_of_its_shapes_never_for_its_numbers():
    settings = SETTINGS | {"dtype": "float32"}
    with compilations() as names:
        first = draw(schools(), mcmc.HMC(), **settings)
    assert "log tau scales theta" in first.attrs["geometry"]
    assert first["posterior"]["theta"].dtype == np.float32
    assert mapped(first)
    assert 2 <= names.count("jit(advance)") <= 4  # without a map, and with one, with and without tails
    with compilations() as names:
        same(first, draw(schools(), mcmc.HMC(), **settings))
    assert names == []
    part = draw(schools(), mcmc.HMC(), **settings | {"draws": 15})
    same(first, resume(schools(), part, 25))
    with compilations() as names:
        other = draw(schools(), mcmc.HMC(), **settings | {"seed": 4})
    shapes = [[one["run_state"][name].shape for name in mapped(one)] for one in (first, other)]
    assert names.count("jit(advance)") == 0 or shapes[0] != shapes[1]
