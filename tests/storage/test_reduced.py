"""What is kept of the draws: some names, fewer bits, moments and an even sample."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.storage import reduced, zarr_store

TARGET = mcmc.Target(
    lambda p: -0.5 * jnp.sum(p["x"] ** 2 / jnp.arange(1.0, 4.0)) - p["s"],
    {"x": mcmc.real(3), "s": mcmc.positive()},
    derived=lambda p: {"sum": jnp.sum(p["x"])},
    dims={"x": ["place"]},
    coords={"place": ["here", "there", "away"]},
)
SETTINGS = {"chains": 32, "warmup": 60, "seed": 4, "progress": False}


def quiet(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return function(*args, **options)


@pytest.fixture(scope="module")
def whole():
    return quiet(mcmc.sample, TARGET, mcmc.HMC(), draws=500, **SETTINGS)


@pytest.mark.parametrize("stored", [False, True])
def test_keep_records_some_names_in_the_type_asked_for(stored, whole, tmp_path):
    store = {"store": tmp_path / "run.zarr"} if stored else {}
    options = {"keep": ["sum", "s"], "keep_dtype": "float32"}
    part = quiet(mcmc.sample, TARGET, mcmc.HMC(), draws=300, **options, **store, **SETTINGS)
    assert set(part["posterior"].data_vars) == {"sum", "s"}
    more = quiet(mcmc.resume, TARGET, store.get("store", part), 200, progress=False)
    for name in ("sum", "s"):
        assert more["posterior"][name].dtype == np.float32
        assert np.array_equal(more["posterior"][name].values, whole["posterior"][name].values.astype(np.float32))
    assert more["sample_stats"]["energy"].dtype == np.float32
    assert more["run_state"]["state_position"].dtype == np.float64


def test_keep_and_others_that_make_no_sense_are_refused():
    for options, message in (
        ({"keep": ["y"]}, "keep: got.*y.*names among x, s, sum"),
        ({"keep": []}, "keep"),
        ({"keep_dtype": "int8"}, "keep_dtype"),
        ({"keep_dtype": "short"}, "keep_dtype"),
        ({"keep_dtype": "nonsense"}, "keep_dtype"),
        ({"reduce": 0}, "reduce"),
        ({"reduce": 20, "until": mcmc.Converged(ess=2000)}, "reduce=138"),
    ):
        with pytest.raises(ValueError, match=message):
            mcmc.sample(TARGET, mcmc.HMC(), **options, **SETTINGS)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("first", "most", "stride"), [(500, 200, 4), (130, 100, 8), (500, 1000, 1), (37, 17, 32)])
def test_reduce_keeps_the_draws_of_a_thinned_run_and_the_moments_of_all(first, most, stride, stored, whole, tmp_path):
    store = {"store": tmp_path / "run.zarr"} if stored else {}
    part = quiet(mcmc.sample, TARGET, mcmc.HMC(), draws=first, reduce=most, chunk=13, **store, **SETTINGS)
    if first < 500:
        part = quiet(mcmc.resume, TARGET, store.get("store", part), 500 - first, progress=False)
    assert part.attrs["thin"] == stride
    assert part["moments"].attrs["draws"] == 500
    assert part["posterior"]["place"].values.tolist() == ["here", "there", "away"]
    for group in ("posterior", "sample_stats"):
        for name, values in part[group].data_vars.items():
            assert np.array_equal(values, whole[group][name].values[:, stride - 1 :: stride]), name
    for name in ("x", "s", "sum"):
        values, moments = whole["posterior"][name].values, part["moments"][name]
        np.testing.assert_allclose(moments.sel(statistic="mean"), values.mean((0, 1)), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(moments.sel(statistic="sd"), values.std((0, 1), ddof=1), rtol=1e-10)
        assert (moments.sel(statistic="r_hat") < 1.02).all()
        assert (moments.sel(statistic="ess_mean") > 1000).all()
    opened = mcmc.open(store["store"]) if stored else part
    assert opened["moments"].to_dataset().equals(part["moments"].to_dataset())


def test_reduced_runs_stop_when_the_sample_says_so():
    draws = quiet(mcmc.sample, TARGET, mcmc.HMC(), until=mcmc.Converged(ess=2000), reduce=400, **SETTINGS)
    assert draws.attrs["stopped"] == "converged"
    assert draws["posterior"].sizes["draw"] <= 400


@pytest.mark.parametrize("stored", [False, True])
def test_ctrl_c_leaves_moments_and_sample_in_step(stored, whole, tmp_path):
    def interrupt(update):
        if update.phase == "sampling" and update.done >= 200:
            raise KeyboardInterrupt

    store = {"store": tmp_path / "run.zarr"} if stored else {}
    options = SETTINGS | {"progress": interrupt, "chunk": 20, "draws": 500, "reduce": 100}
    part = quiet(mcmc.sample, TARGET, mcmc.HMC(), **options, **store)
    assert part.attrs["status"] == "interrupted"
    assert part["moments"].attrs["draws"] == 200
    rest = quiet(mcmc.resume, TARGET, store.get("store", part), progress=False)
    assert rest["moments"].attrs["draws"] == 500
    assert np.array_equal(rest["posterior"]["x"], whole["posterior"]["x"].values[:, 7::8])


def test_memory_does_not_grow_with_draws(monkeypatch):
    sizes = []

    class Watched(reduced.ReducedRecorder):
        def __init__(self, held, *args):
            super().__init__(held, *args)
            sizes.append(held.room)

    monkeypatch.setattr("mcmc.storage.runs.ReducedRecorder", Watched)
    quiet(mcmc.sample, TARGET, mcmc.RandomWalk(step_size=1.0), draws=5000, reduce=50, **SETTINGS)
    assert sizes == [50]


def test_a_full_disk_is_an_error_that_says_so(tmp_path, monkeypatch):
    publish, calls = zarr_store.publish, []

    def full(*args):
        calls.append(1)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        publish(*args)

    monkeypatch.setattr(zarr_store, "publish", full)
    with pytest.raises(mcmc.StoreError, match="room on the disk"):
        mcmc.sample(TARGET, mcmc.HMC(), draws=100, reduce=50, store=tmp_path / "run.zarr", **SETTINGS)
