"""What is checked of a run on the way: what is resumed, gradients, starts, callbacks, stores."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.storage.zarr_store import alone

X = {"x": mcmc.real()}
SMALL = {"chains": 4, "draws": 8, "warmup": 8, "progress": False}
pytestmark = pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")


def normal(p):
    return -0.5 * jnp.sum(p["x"] ** 2)


def plus(n):
    return lambda p: {"d": p["x"] + n}


@pytest.fixture(scope="module")
def run():
    return mcmc.sample(mcmc.Target(normal, X, derived=plus(0)), **SMALL)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (mcmc.Target(normal, X, derived=plus(1)), r"derived\['d'\]: got .* at chain 0; expected .*, as saved"),
        (mcmc.Target(normal, X), r"shapes d missing; expected d \(\)"),
        (mcmc.Target(normal, {"x": mcmc.real(3)}, derived=plus(0)), r"shapes x \(3,\), d \(3,\)"),
        (mcmc.Target(lambda p: -(p["y"] ** 2), {"y": mcmc.real()}), "y missing"),
    ],
)
def test_another_target_is_one_clear_error(run, target, told):
    with pytest.raises(mcmc.errors.FingerprintError, match=told):
        mcmc.resume(target, run, 4, progress=False)


def test_parameters_in_another_order_are_told():
    def two(p):
        return -0.5 * (p["x"] ** 2 + jnp.sum(p["y"] ** 2))

    first = {"x": mcmc.real(), "y": mcmc.real(2)}
    old = mcmc.sample(mcmc.Target(two, first), **SMALL)
    with pytest.raises(mcmc.errors.FingerprintError, match="the same parameters in the same order"):
        mcmc.resume(mcmc.Target(two, dict(reversed(first.items()))), old, 4, progress=False)
    with pytest.raises(mcmc.errors.FingerprintError, match=r"target, x: got .* and the same supports"):
        mcmc.resume(mcmc.Target(two, first | {"x": mcmc.positive()}), old, 4, progress=False)


def test_a_cut_run_is_not_resumed(run):
    target = mcmc.Target(normal, X, derived=plus(0))
    with pytest.raises(mcmc.errors.FingerprintError, match="got 4 chains x 5 draws; expected 4 x 8"):
        mcmc.resume(target, run.isel(draw=slice(0, 5)), 4, progress=False)


def root(p):
    x = p["x"]
    return -0.5 * x**2 - 0.1 * jnp.where(x > 0, jnp.sqrt(x), 0.0)


def safe_root(p):
    x = p["x"]
    return -0.5 * x**2 - 0.1 * jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def test_a_gradient_that_is_nan_at_a_finite_density_is_told_with_the_double_where():
    with pytest.warns(mcmc.ConvergenceWarning, match=r"(?s)gradient in x is NaN .*such as x = -.*jnp.where\(x > 0"):
        draws = mcmc.sample(mcmc.Target(root, X), mcmc.NUTS(), **SMALL)
    verdict = mcmc.diagnose(draws)  # kept with the draws, and said first
    assert verdict.next_step is not None
    assert verdict.next_step["check"] == "nan_gradient"
    assert verdict.next_step["call"] == ""
    assert not [check for check in verdict.failures if "until=" in check.call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        right = mcmc.sample(mcmc.Target(safe_root, X), mcmc.NUTS(), **SMALL)
    assert "nan_gradient" not in [check.code for check in mcmc.diagnose(right).checks]


def test_callbacks_get_64_bits_in_a_float64_run_and_the_flag_is_put_back():
    seen = set()

    def host(x):
        seen.add(np.asarray(x).dtype.name)
        return -0.5 * np.asarray(x) ** 2

    def density(p):
        like = jax.ShapeDtypeStruct((), p["x"].dtype)
        return jax.pure_callback(host, like, p["x"], vmap_method="sequential")

    draws = mcmc.sample(mcmc.Target(density, X), mcmc.RandomWalk(), dtype="float64", **SMALL)
    assert seen == {"float64"}
    assert draws.posterior["x"].dtype == np.float64
    assert jnp.zeros(1).dtype == np.float32


def test_a_callback_of_another_type_is_told_what_to_declare():
    def density(p):
        like = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(lambda x: -0.5 * np.asarray(x) ** 2, like, p["x"], vmap_method="sequential")

    with pytest.raises(mcmc.SamplingError, match=r"jax.pure_callback: .*ShapeDtypeStruct"):
        mcmc.sample(mcmc.Target(density, X), mcmc.RandomWalk(), dtype="float64", **SMALL)


def test_a_store_is_for_one_run_at_a_time(tmp_path):
    with (
        alone(tmp_path / "run.zarr"),
        pytest.raises(mcmc.errors.StoreError, match="another run writes now; expected a store for one run"),
    ):
        mcmc.sample(mcmc.Target(normal, X), store=tmp_path / "run.zarr", **SMALL)


def test_a_place_that_is_no_folder_can_hold_no_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(mcmc.errors.StoreError, match="a folder that can be written"):
        mcmc.sample(mcmc.Target(normal, X), store=tmp_path / "file" / "run.zarr", **SMALL)


# --- starts -----------------------------------------------------------------------------------------------


def test_a_start_in_part_leaves_the_rest_as_it_is_without():
    target = mcmc.Target(lambda p: -(p["x"] ** 2) - p["z"] ** 2, {"x": mcmc.real(), "z": mcmc.real()})
    draws = mcmc.sample(target, mcmc.RandomWalk(), init={"z": 50.0}, **{**SMALL, "warmup": 0})
    state = draws["run_state"]
    np.testing.assert_array_equal(state["start_z"], 50.0)
    assert np.ptp(state["start_x"].values) > 0.5
    with pytest.raises(ValueError, match=r"init: got .*names among x, z"):
        mcmc.sample(target, init={"y": 1.0}, **SMALL)


def test_an_exact_start_is_kept_and_recorded_and_survives_resume():
    target = mcmc.Target(normal, {"x": mcmc.positive()})
    draws = mcmc.sample(target, mcmc.RandomWalk(), init={"x": 3.0}, superchains=0, **{**SMALL, "warmup": 0})
    np.testing.assert_allclose(draws["run_state"]["start_x"], 3.0)
    np.testing.assert_allclose(mcmc.resume(target, draws, 4, progress=False)["run_state"]["start_x"], 3.0)


def occupancy(p, data):
    seen = jnp.where(p["z"], jnp.log(0.3), jnp.where(data > 0, -jnp.inf, jnp.log(0.7)))
    return jnp.sum(seen) - p["x"] ** 2


def test_what_was_seen_is_occupied_in_the_starts():
    target = mcmc.Target(occupancy, {"x": mcmc.real(), "z": mcmc.boolean(40)}, np.arange(40) % 2)
    draws = mcmc.sample(target, **SMALL)
    assert draws.posterior["z"].values[..., 1::2].all()


@pytest.mark.parametrize(
    ("density", "told"),
    [
        (
            lambda p, y: jnp.sum(jnp.log(p["x"] * 0 - 1)),
            r"log in test_sampling_checks.py, line \d+ .*gives nan",
        ),
        (lambda p, y: -jnp.sum(p["x"] ** 2) + jnp.sum(jnp.sqrt(0 * p["x"])), "got a gradient in x that is not finite"),
    ],
)
def test_no_start_is_one_sentence_with_the_operation_and_its_line(density, told):
    with pytest.raises(mcmc.InitializationError, match=told) as error:
        mcmc.sample(mcmc.Target(density, {"x": mcmc.real(80)}, np.ones(2)), **SMALL)
    assert len(str(error.value)) < 900
    assert "(80 values)" in str(error.value)


def test_nan_in_the_data_is_named_with_its_place():
    target = mcmc.Target(lambda p, data: -jnp.sum((data["y"] - p["x"]) ** 2), X, {"y": np.array([1.0, np.nan])})
    with pytest.raises(mcmc.InitializationError, match=r"The data are not finite: data\['y'\] is NaN at \[1\]"):
        mcmc.sample(target, **SMALL)
