"""Target: names, nesting, data and captured arrays, derived values, predictions, errors with names."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from proposals import Flip
from runs import compilations, draw

import mcmc
from mcmc.engine.program_cache import PROGRAMS

FEW = {"chains": 4, "draws": 20, "warmup": 0, "lanes": 8}
WALK = mcmc.RandomWalk(step_size=0.5, metric=1.0)
RNG = np.random.default_rng(0)


def normal(p):
    return -0.5 * sum(jnp.sum(x**2) for x in jax.tree.leaves(p))


# --- names --------------------------------------------------------------------------------------------

NESTED = {"a": {"b": mcmc.real(2), "c": {"d": mcmc.positive()}}, "e": mcmc.simplex(3)}


def test_nested_names_are_joined_by_dots():
    seen = []

    def log_density(p):
        seen.append(jax.tree.map(jnp.shape, p))
        return normal(p)

    target = mcmc.Target(log_density, NESTED)
    assert target.names == ("a.b", "a.c.d", "e")
    assert target.dim == 5
    draws = draw(target, WALK, **FEW)
    assert seen[0] == {"a": {"b": (2,), "c": {"d": ()}}, "e": (3,)}
    assert set(draws["posterior"].data_vars) == {"a.b", "a.c.d", "e"}
    assert draws["posterior"]["a.b"].dims == ("chain", "draw", "a.b_dim_0")


def test_a_position_goes_there_and_back():
    target = mcmc.Target(normal, NESTED)
    with jax.enable_x64(True):
        position = jnp.asarray(RNG.normal(size=5))
        p, log_jacobian = target.constrain(position)
        np.testing.assert_allclose(target.unconstrain(p), position, rtol=1e-12)
        assert bool(target.inside(p))
        expected = normal(p) + log_jacobian
        np.testing.assert_allclose(target.value(position, None), expected)
        assert log_jacobian != 0


def test_repr_shows_names_and_dimensions():
    assert "a.b: real(shape=(2,))" in repr(mcmc.Target(normal, NESTED))
    assert "5 dimensions" in repr(mcmc.Target(normal, NESTED))


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({}, ValueError, "parameters"),
        ({"a": {}}, ValueError, "parameters"),
        ([mcmc.real()], TypeError, "parameters"),
        (None, TypeError, "parameters"),
        ({"x": 3}, TypeError, r"parameters\['x'\]"),
        ({"x": mcmc.real}, TypeError, r"parameters\['x'\].*called"),
        ({"a": {"b": "real"}}, TypeError, r"parameters\['a.b'\]"),
        ({1: mcmc.real()}, TypeError, "names that are strings"),
        ({"": mcmc.real()}, TypeError, "names that are strings"),
        ({"chain": mcmc.real()}, ValueError, "chain"),
        ({"draw": mcmc.real()}, ValueError, "draw"),
        ({"a/b": mcmc.real()}, ValueError, "a/b"),
        ({"a.b": mcmc.real(), "a": {"b": mcmc.real()}}, ValueError, "a.b"),
    ],
)
def test_parameters_that_are_none(parameters, error, text):
    with pytest.raises(error, match=text):
        mcmc.Target(normal, parameters)


@pytest.mark.parametrize("argument", ["log_density", "derived", "log_likelihood", "predictive"])
@pytest.mark.parametrize("value", [3.0, "f", jnp.zeros(2)])
def test_a_target_that_is_no_function(argument, value):
    functions = {"log_density": normal, argument: value}
    with pytest.raises(TypeError, match=f"{argument}: .*function"):
        mcmc.Target(functions.pop("log_density"), {"x": mcmc.real()}, **functions)


def test_no_log_density_at_all():
    with pytest.raises(TypeError, match="log_density"):
        mcmc.Target(None, {"x": mcmc.real()})


# --- what the log density may return -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (lambda p: p["x"].reshape(1), ValueError, r"\(1,\).*scalar"),
        (lambda p: jnp.zeros((2, 3)), ValueError, r"\(2, 3\).*scalar"),
        (lambda p: p["x"] + 1j, TypeError, "log_density.*complex"),
        (lambda p: p["y"], ValueError, "unknown parameter 'y'.*x"),
        (lambda p, data: p["x"], TypeError, "log_density.*data"),
        (lambda: 0.0, TypeError, "log_density"),
    ],
)
def test_a_log_density_that_is_none(value, error, text):
    with pytest.raises(error, match=text):
        draw(mcmc.Target(value, {"x": mcmc.real()}), **FEW)


def test_a_log_density_without_data_where_data_are_given():
    with pytest.raises(TypeError, match=r"log_density.*\(p, data\)"):
        draw(mcmc.Target(lambda p: p["x"], {"x": mcmc.real()}, data={"y": 1.0}), **FEW)


def test_an_error_of_the_users_own_comes_through():
    def log_density(p):
        return {}["my own key"] if p["x"].shape == () else 0.0

    def broken(p):
        raise TypeError("my own fault")

    with pytest.raises((KeyError, ValueError), match="my own key"):
        draw(mcmc.Target(log_density, {"x": mcmc.real()}), **FEW)
    with pytest.raises(TypeError, match="my own fault"):
        draw(mcmc.Target(broken, {"x": mcmc.real()}), **FEW)


def test_a_python_number_and_an_integer_are_log_densities():
    draws = draw(mcmc.Target(lambda p: 0, {"x": mcmc.interval(0.0, 1.0)}), WALK, **FEW)
    assert draws["sample_stats"]["lp"].dtype == np.float64


# --- data ---------------------------------------------------------------------------------------------


def likelihood(p, data):
    return -0.5 * jnp.sum((data["y"] - p["mu"]) ** 2) - 0.5 * p["mu"] ** 2


def with_y(y):
    return mcmc.Target(likelihood, {"mu": mcmc.real()}, data={"y": y})


LONG = {**FEW, "chains": 8, "draws": 2000, "superchains": 0}


@pytest.mark.usefixtures("no_kept_programs")
def test_new_data_need_no_new_program_and_are_used():
    first = with_y(np.zeros(3))
    a = draw(first, WALK, **LONG)
    second = first.with_data({"y": np.full(3, 8.0)})
    with compilations() as names:
        b = draw(second, WALK, **LONG)
    assert names == []
    for draws, mean in ((a, 0.0), (b, 6.0)):
        x = draws["posterior"]["mu"].values[:, 200:]
        assert abs(x.mean() - mean) < 5 * mcmc.mcse(x)
    np.testing.assert_array_equal(b["observed_data"]["y"].values, 8.0)
    np.testing.assert_array_equal(first.data["y"], 0.0)


def test_new_data_of_another_shape_are_used_too():
    target = with_y(np.zeros(3)).with_data({"y": np.full(8, 9.0)})
    x = draw(target, WALK, **LONG)["posterior"]["mu"].values[:, 200:]
    assert abs(x.mean() - 8.0) < 5 * mcmc.mcse(x)


def test_with_data_needs_data_first():
    with pytest.raises(ValueError, match="data"):
        mcmc.Target(normal, {"x": mcmc.real()}).with_data({"y": 1.0})


@pytest.mark.parametrize("data", [{"y": "text"}, {"y": ["a", "b"]}, {"y": object()}, {"y": np.array([None])}])
def test_data_that_are_no_numbers(data):
    with pytest.raises(TypeError, match="data"):
        draw(mcmc.Target(lambda p, d: -0.5 * p["x"] ** 2, {"x": mcmc.real()}, data=data), WALK, **FEW)


@pytest.mark.parametrize(
    "data",
    [
        np.ones(3),
        [np.ones(3), 2.0],
        {"y": np.arange(3), "on": np.array([True, False]), "n": 3, "deep": {"z": np.ones(2, np.float32)}},
        (jnp.ones(3), {"k": 1}),
    ],
    ids=["array", "list", "dict", "tuple"],
)
def test_any_pytree_is_data(data):
    def log_density(p, data):
        return -0.5 * (p["x"] - sum(jnp.sum(leaf) for leaf in jax.tree.leaves(data))) ** 2

    draws = draw(mcmc.Target(log_density, {"x": mcmc.real()}, data=data), WALK, **FEW)
    assert np.isfinite(draws["posterior"]["x"].values).all()


def test_data_follow_the_precision_of_the_run():
    kinds = []

    def log_density(p, data):
        kinds.append((data["y"].dtype, data["n"].dtype, p["x"].dtype))
        return -0.5 * p["x"] ** 2 + 0 * jnp.sum(data["y"])

    data = {"y": np.ones(2), "n": np.arange(2, dtype=np.int32)}
    target = mcmc.Target(log_density, {"x": mcmc.real()}, data=data)
    draw(target, WALK, **FEW)
    draw(target, WALK, **FEW, dtype="float32")
    assert {tuple(map(str, k)) for k in kinds} == {
        ("float64", "int32", "float64"),
        ("float32", "int32", "float32"),
    }


# --- captured arrays ----------------------------------------------------------------------------------


def capturing(y):
    return mcmc.Target(lambda p: -0.5 * jnp.sum((y - p["mu"]) ** 2) / y.size, {"mu": mcmc.real()})


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray], ids=["numpy", "jax"])
def test_a_captured_array_is_an_argument_and_no_constant_of_the_program(kind):
    with jax.enable_x64(True):
        traced = capturing(kind(RNG.normal(size=5000))).trace(np.dtype("float64"))
        assert any(a.shape == (5000,) for a in traced.arrays)
        program = jax.jit(traced.log_density).lower(traced.arrays, jnp.zeros(1)).as_text()
        assert len(program) < 20_000
        other = capturing(kind(RNG.normal(size=5000))).trace(np.dtype("float64"))
        assert program == jax.jit(other.log_density).lower(other.arrays, jnp.zeros(1)).as_text()
        assert traced.fingerprint == other.fingerprint


@pytest.mark.usefixtures("no_kept_programs")
def test_captured_arrays_of_another_target_need_no_other_program():
    compiled = []

    def listener(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(seconds)

    settings = {**FEW, "draws": 2000, "chains": 8, "superchains": 0}
    draw(capturing(np.zeros(50)), WALK, **settings)
    PROGRAMS.clear()  # as in a new process: what is on disk is loaded
    jax.monitoring.register_event_duration_secs_listener(listener)
    draws = draw(capturing(np.full(50, 4.0)), WALK, **settings)
    assert compiled == []
    x = draws["posterior"]["mu"].values[:, 200:]
    assert abs(x.mean() - 4.0) < 5 * mcmc.mcse(x)


# --- derived values, dims and coords -------------------------------------------------------------------

SCHOOLS = ["a", "b", "c"]


def test_derived_values_stand_beside_the_parameters():
    def derived(p):
        return {"square": p["x"] ** 2, "count": jnp.sum(p["x"] > 0), "any": p["x"][0] > 0}

    target = mcmc.Target(
        normal,
        {"x": mcmc.real(3)},
        derived=derived,
        dims={"x": ["school"], "square": ["school"]},
        coords={"school": SCHOOLS},
    )
    draws = draw(target, WALK, **FEW)["posterior"]
    np.testing.assert_allclose(draws["square"].values, draws["x"].values ** 2)
    np.testing.assert_array_equal(draws["count"].values, (draws["x"].values > 0).sum(-1))
    np.testing.assert_array_equal(draws["any"].values, draws["x"].values[..., 0] > 0)
    assert draws["count"].dtype.kind == "i"
    assert draws["any"].dtype == np.bool_
    for name in ("x", "square"):
        assert draws[name].dims == ("chain", "draw", "school")
    assert draws["school"].values.tolist() == SCHOOLS


@pytest.mark.parametrize(
    ("derived", "error", "text"),
    [
        (lambda p: {"x": p["x"]}, ValueError, "derived.*x"),
        (lambda p: p["x"], TypeError, "derived.*dict"),
        (lambda p: {"z": p["zz"]}, ValueError, "derived.*zz"),
        (lambda p, d: {}, TypeError, "derived"),
    ],
)
def test_derived_values_that_are_none(derived, error, text):
    with pytest.raises(error, match=text):
        draw(mcmc.Target(normal, {"x": mcmc.real()}, derived=derived), WALK, **FEW)


@pytest.mark.parametrize(
    ("dims", "coords", "text"),
    [
        ({"x": ["a", "b"]}, {}, r"dims\['x'\]"),
        ({"x": []}, {}, r"dims\['x'\]"),
        ({"x": ["school"]}, {"school": ["a", "b"]}, r"coords\['school'\]"),
    ],
)
def test_dims_and_coords_that_do_not_fit(dims, coords, text):
    with pytest.raises(ValueError, match=text):
        mcmc.Target(normal, {"x": mcmc.real(3)}, dims=dims, coords=coords)


def test_dims_of_a_name_that_is_none():
    with pytest.raises(ValueError, match=r"dims.*thetta"):
        draw(mcmc.Target(normal, {"theta": mcmc.real(3)}, dims={"thetta": ["school"]}), WALK, **FEW)


def test_dims_of_a_derived_value_that_do_not_fit():
    target = mcmc.Target(normal, {"x": mcmc.real()}, derived=lambda p: {"z": p["x"]}, dims={"z": ["a", "b"]})
    with pytest.raises(ValueError, match=r"dims\['z'\]"):
        draw(target, WALK, **FEW)


# --- supports -----------------------------------------------------------------------------------------


def test_bounds_may_be_functions_of_earlier_parameters():
    parameters = {"a": mcmc.interval(0.0, 1.0), "b": mcmc.interval(0.0, lambda p: 1 - p["a"])}
    p = draw(mcmc.Target(lambda p: 0.0, parameters), WALK, **LONG)["posterior"]
    a, b = p["a"].values, p["b"].values
    assert np.all((a > 0) & (b > 0) & (a + b < 1))
    assert abs(a.mean() - 1 / 3) < 5 * mcmc.mcse(a)  # uniform on the triangle


def test_a_bound_that_asks_for_a_later_parameter():
    parameters = {"b": mcmc.interval(0.0, lambda p: 1 - p["a"]), "a": mcmc.interval(0.0, 1.0)}
    with pytest.raises(ValueError, match=r"'a'.*earlier"):
        draw(mcmc.Target(lambda p: 0.0, parameters), WALK, **FEW)


def test_discrete_parameters_have_their_types_in_the_log_density_too():
    kinds = []

    def log_density(p):
        kinds.append(p["up"].dtype)
        return jnp.sum(p["up"]) * 0.5

    draws = draw(mcmc.Target(log_density, {"up": mcmc.boolean(4)}), mcmc.MetropolisHastings(Flip()), **FEW)
    assert set(map(str, kinds)) == {"bool"}
    assert draws["posterior"]["up"].dtype == np.bool_


# --- predictions --------------------------------------------------------------------------------------


def predictive(key, p, data):
    return {"y": p["mu"] + jax.random.normal(key, data["y"].shape)}


def pointwise(p, data):
    return {"y": -0.5 * (data["y"] - p["mu"]) ** 2}


Y = np.arange(3.0)


@pytest.fixture(scope="module")
def model():
    return mcmc.Target(
        likelihood,
        {"mu": mcmc.real()},
        data={"y": Y},
        log_likelihood=pointwise,
        predictive=predictive,
        dims={"y": ["school"]},
        coords={"school": SCHOOLS},
    )


@pytest.fixture(scope="module")
def run(model):
    return draw(model, WALK, **LONG)


def test_the_groups_of_a_run(run):
    assert {"observed_data", "log_likelihood", "posterior_predictive"} <= set(run.children)
    mu = run["posterior"]["mu"].values
    np.testing.assert_allclose(run["log_likelihood"]["y"].values, -0.5 * (Y - mu[..., None]) ** 2, rtol=1e-12)
    noise = run["posterior_predictive"]["y"].values - mu[..., None]
    assert abs(noise.mean()) < 5 / np.sqrt(noise.size)
    assert abs(noise.var() - 1) < 5 * np.sqrt(2 / noise.size)
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 5 / np.sqrt(noise.size)
    for group in ("log_likelihood", "posterior_predictive"):
        assert run[group]["y"].dims == ("chain", "draw", "school")
        assert run[group]["school"].values.tolist() == SCHOOLS
    np.testing.assert_array_equal(run["observed_data"]["y"].values, Y)
    assert run["observed_data"]["y"].dims == ("school",)


def test_predict_again_is_the_same_and_another_seed_is_not(model, run):
    again = mcmc.predict(model, run)
    np.testing.assert_array_equal(again["posterior_predictive"]["y"].values, run["posterior_predictive"]["y"].values)
    other = mcmc.predict(model, run, seed=1)["posterior_predictive"]["y"].values
    assert np.all(other != again["posterior_predictive"]["y"].values)


def test_predict_on_new_data(model, run):
    found = mcmc.predict(model, run, data={"y": np.zeros(5)}, seed=2)
    assert found["predictions"]["y"].shape == (8, 2000, 5)
    assert "posterior_predictive" not in found.children


def test_a_prediction_depends_on_the_seed_the_chain_and_the_draw_alone(model, run):
    few = mcmc.predict(model, run.isel(chain=slice(0, 3), draw=slice(0, 7)))
    np.testing.assert_array_equal(
        few["posterior_predictive"]["y"].values, run["posterior_predictive"]["y"].values[:3, :7]
    )


def test_predict_without_functions_or_parameters(model, run):
    with pytest.raises(ValueError, match="predictive"):
        mcmc.predict(with_y(Y), run)
    other = mcmc.Target(likelihood, {"nu": mcmc.real()}, data={"y": Y}, predictive=predictive)
    with pytest.raises(ValueError, match="nu"):
        mcmc.predict(other, run)


def test_predictive_that_returns_no_dict(run):
    target = mcmc.Target(likelihood, {"mu": mcmc.real()}, data={"y": Y}, predictive=lambda k, p, d: p["mu"])
    with pytest.raises(TypeError, match=r"predictive.*dict"):
        mcmc.predict(target, run)


def test_predictions_that_do_not_fit_are_refused_and_the_draws_are_kept(model, run, monkeypatch):
    monkeypatch.setattr(sys.modules["mcmc.target.predict"], "SHARE", 1e-9)
    with pytest.raises(mcmc.MemoryLimitError, match="every tenth draw"):
        mcmc.predict(model, run)
    with pytest.warns(RuntimeWarning, match="every tenth draw"):
        kept = draw(model, WALK, **LONG)
    assert "log_likelihood" not in kept.children
    assert kept["posterior"].sizes == run["posterior"].sizes
