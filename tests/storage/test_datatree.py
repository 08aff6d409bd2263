"""The data that comes back: its schema, netCDF and zarr, and ArviZ's statistics and plots on it."""

import json
import warnings

import arviz
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
import xarray
from runs import draw

import mcmc

matplotlib.use("Agg")
SCHOOLS = ["Choate", "Deerfield", "Phillips Andover"]
Y, SIGMA = np.array([28.0, 8.0, -3.0]), np.array([15.0, 10.0, 16.0])


def log_density(p, data):
    return jnp.sum(pointwise(p, data)["y"]) - 0.5 * jnp.sum(p["z"] ** 2) - 0.5 * (p["mu"] / 5) ** 2 - p["tau"] / 5


def derived(p, data):
    return {"theta": p["mu"] + p["tau"] * p["z"], "positive": p["mu"] > 0}


def pointwise(p, data):
    return {"y": -0.5 * ((data["y"] - derived(p, data)["theta"]) / data["sigma"]) ** 2}


def predictive(key, p, data):
    return {"y": derived(p, data)["theta"] + data["sigma"] * jax.random.normal(key, data["y"].shape)}


@pytest.fixture(scope="module")
def run():
    target = mcmc.Target(
        log_density,
        {
            "mu": mcmc.real(),
            "tau": mcmc.positive(),
            "z": mcmc.real(3),
            "grid": {"w": mcmc.interval(0.0, 1.0, 2, 2)},
        },
        data={"y": Y, "sigma": SIGMA},
        derived=derived,
        log_likelihood=pointwise,
        predictive=predictive,
        dims={"z": ["school"], "theta": ["school"], "y": ["school"], "sigma": ["school"]},
        coords={"school": SCHOOLS},
    )
    return draw(target, mcmc.HMC(), chains=8, draws=400, warmup=300, seed=7, save_warmup=True, geometry="affine")


GROUPS = {
    "posterior",
    "sample_stats",
    "warmup_posterior",
    "warmup_sample_stats",
    "observed_data",
    "constant_data",
    "log_likelihood",
    "posterior_predictive",
    "run_state",
}


def test_the_groups_and_their_dimensions(run):
    assert isinstance(run, xarray.DataTree)
    assert set(run.children) == GROUPS
    posterior = run["posterior"]
    assert set(posterior.data_vars) == {"mu", "tau", "z", "grid.w", "theta", "positive"}
    assert posterior["mu"].dims == ("chain", "draw")
    assert posterior["theta"].dims == ("chain", "draw", "school")
    assert posterior["grid.w"].dims == ("chain", "draw", "grid.w_dim_0", "grid.w_dim_1")
    assert posterior["school"].values.tolist() == SCHOOLS
    np.testing.assert_array_equal(posterior["chain"].values, np.arange(8))
    np.testing.assert_array_equal(posterior["draw"].values, np.arange(400))
    assert run["warmup_posterior"].sizes["draw"] == 300


def test_the_sample_statistics_have_arvizs_names(run):
    kinds = {name: array.dtype.kind for name, array in run["sample_stats"].data_vars.items()}
    expected = {
        "lp": "f",
        "acceptance_rate": "f",
        "diverging": "b",
        "energy": "f",
        "n_steps": "i",
        "step_size": "f",
    }
    assert kinds == expected
    assert all(array.shape == (8, 400) for array in run["sample_stats"].data_vars.values())


def test_the_recorded_log_density_is_that_of_the_draw(run):
    p = {n: run["posterior"][n].values[3, 50] for n in ("mu", "tau", "z", "grid.w")}
    data = {"y": Y, "sigma": SIGMA}
    w = p["grid.w"]
    with jax.enable_x64(True):
        jacobian = np.log(p["tau"]) + np.sum(np.log(w) + np.log1p(-w))
        expected = float(log_density(p, data)) + jacobian
    np.testing.assert_allclose(run["sample_stats"]["lp"].values[3, 50], expected, rtol=1e-10)


def test_all_arrays_are_numpys(run):
    for node in run.subtree:
        for array in node.data_vars.values():
            assert type(array.variable._data) is np.ndarray or array.ndim == 0
            assert not isinstance(array.data, jax.Array)


def test_the_attributes(run):
    attrs = run.attrs
    assert attrs["status"] == "complete"
    assert attrs["inference_library"] == "mcmc"
    assert attrs["kernel"].startswith("HMC(")
    assert (attrs["chains"], attrs["warmup"], attrs["thin"], attrs["dtype"]) == (8, 300, 1, "float64")
    for name in ("sampling_time", "warmup_time"):
        assert attrs[name] > 0
    assert attrs["compile_time"] >= 0  # 0 where the programs were compiled before
    versions = json.loads(attrs["versions"])
    assert versions["jax"] == jax.__version__
    assert "mcmc" in versions
    assert "cpu" in attrs["device"].lower()
    assert "seed" in attrs
    assert "created_at" in run["posterior"].attrs


def test_the_run_state(run):
    state = run["run_state"]
    assert {
        "state_position",
        "state_lp",
        "state_gradient",
        "nonfinite_proposals",
        "divergences",
        "key",
    } <= set(state.data_vars)
    assert state["state_position"].shape == (8, 9)
    np.testing.assert_array_equal(state["state_lp"].values, run["sample_stats"]["lp"].values[:, -1])
    assert state.attrs["iteration"] == 700
    assert state.attrs["lanes"] == run.attrs["lanes"]
    assert "philox" in state.attrs["key_implementation"]


# --- files --------------------------------------------------------------------------------------------


def written(run, folder, form):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr's own, of its format
        if form == "netcdf":
            run.to_netcdf(folder / "run.nc", engine="h5netcdf")
            return xarray.open_datatree(folder / "run.nc", engine="h5netcdf")
        run.to_zarr(folder / "run.zarr")
        return xarray.open_datatree(folder / "run.zarr", engine="zarr")


@pytest.mark.parametrize("form", ["netcdf", "zarr"])
def test_a_file_holds_the_same(run, form, tmp_path):
    with written(run, tmp_path, form) as back:
        assert set(back.children) == GROUPS
        for group in GROUPS:
            a, b = run[group].to_dataset(), back[group].to_dataset()
            xarray.testing.assert_identical(a.drop_attrs(), b.drop_attrs())
            assert {k: v.dtype for k, v in a.data_vars.items()} == {k: v.dtype for k, v in b.data_vars.items()}
            assert set(a.attrs) == set(b.attrs)
        assert {k: str(v) for k, v in run.attrs.items()} == {k: str(v) for k, v in back.attrs.items()}
        assert mcmc.diagnose(back.load()).ok == mcmc.diagnose(run).ok


# --- ArviZ --------------------------------------------------------------------------------------------

NUMBERS = ["mu", "tau", "theta"]


def test_arvizs_statistics_work_and_agree(run):
    table = arviz.summary(run, var_names=NUMBERS, round_to="none")
    assert len(table) == 5
    np.testing.assert_allclose(arviz.ess(run, var_names=NUMBERS)["mu"], mcmc.ess(run["posterior"]["mu"].values))
    np.testing.assert_allclose(arviz.rhat(run, var_names=NUMBERS)["theta"], mcmc.rhat(run["posterior"]["theta"].values))
    assert arviz.bfmi(run)["energy"].values.shape == (8,)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
def test_arviz_loo_works(run):
    found = arviz.loo(run)
    assert np.isfinite(found.elpd)
    assert found.n_data_points == 3


@pytest.mark.slow
@pytest.mark.parametrize("plot", ["plot_trace_dist", "plot_forest", "plot_energy", "plot_ppc_dist", "plot_rank"])
def test_arvizs_plots_work(run, plot):
    import matplotlib.pyplot as plt

    settings = {} if plot in ("plot_energy", "plot_ppc_dist") else {"var_names": ["mu", "tau"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ's and matplotlib's own
        getattr(arviz, plot)(run, backend="matplotlib", **settings)
    assert plt.get_fignums()
    plt.close("all")


# --- data of other forms ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "recorded"),
    [
        (np.ones(3), {"data": (3,)}),
        ({"y": 1.0, "n": 3}, {"y": (), "n": ()}),
        ({"y": np.ones(2), "deep": {"z": np.ones(3)}}, {"y": (2,)}),
        (None, {}),
    ],
    ids=["array", "numbers", "nested", "none"],
)
def test_observed_data_are_recorded(data, recorded):
    takes = {"data": data} if data is not None else {}
    density = (lambda p: -0.5 * p["x"] ** 2) if data is None else (lambda p, d: -0.5 * p["x"] ** 2)
    tree = draw(
        mcmc.Target(density, {"x": mcmc.real()}, **takes),
        mcmc.RandomWalk(step_size=1.0, metric=1.0),
        chains=4,
        draws=10,
        warmup=0,
    )
    found = {} if "observed_data" not in tree.children else tree["observed_data"].data_vars
    assert {k: v.shape for k, v in found.items()} == recorded


def test_a_name_may_be_that_of_a_dim_and_of_a_variable(tmp_path):
    """As a plate and an argument of NumPyro's hidden Markov models; xarray has one name for either."""
    time, y = np.arange(5.0), np.arange(5.0) + 1

    def density(p, data):
        return -0.5 * jnp.sum((data["y"] - p["group"] * data["time"]) ** 2) - 0.5 * jnp.sum(p["b"] ** 2)

    target = mcmc.Target(
        density,
        {"group": mcmc.real(), "b": mcmc.real(2)},
        data={"time": time, "y": y},
        log_likelihood=lambda p, data: {"y": -0.5 * (data["y"] - p["group"] * data["time"]) ** 2},
        dims={"y": ["time"], "b": ["group"]},
        coords={"time": [*"abcde"], "group": ["left", "right"]},
    )
    few = {"chains": 4, "draws": 20, "warmup": 20, "geometry": "affine"}
    tree = draw(target, mcmc.HMC(), **few)
    stored = draw(target, mcmc.HMC(), store=tmp_path / "run.zarr", **few)
    for run in (tree, stored):
        assert run["posterior"]["group"].dims == ("chain", "draw")
        assert run["posterior"]["b"].dims == ("chain", "draw", "group_dim")
        assert list(run["posterior"]["group_dim"].values) == ["left", "right"]
        assert run["observed_data"]["y"].dims == ("time",)
        np.testing.assert_array_equal(run["posterior"]["b"], tree["posterior"]["b"])
    assert tree["log_likelihood"]["y"].dims == ("chain", "draw", "time")
    assert list(tree["log_likelihood"]["time"].values) == [*"abcde"]
    np.testing.assert_array_equal(tree["constant_data"]["time_argument"], time)


def test_a_dimension_that_two_names_share_with_other_sizes_is_refused():
    with pytest.raises(ValueError, match=r"dims|k"):
        draw(
            mcmc.Target(
                lambda p: -jnp.sum(p["a"] ** 2) - jnp.sum(p["b"] ** 2),
                {"a": mcmc.real(2), "b": mcmc.real(3)},
                dims={"a": ["k"], "b": ["k"]},
            ),
            mcmc.RandomWalk(step_size=1.0, metric=1.0),
            chains=4,
            draws=10,
            warmup=0,
        )
