"""What a user's function can't do under JAX: said at its line, before anything is compiled, with the ways out."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import sparse, stats

import mcmc

X = {"x": mcmc.real()}
SERIES, ARRAY, LIST = pd.Series([1.0, 2.0]), xr.DataArray([1.0, 2.0]), [1.0, 2.0]
FRAME = pd.DataFrame({"y": [1.0, 2.0]})
MASKED = np.ma.masked_array([1.0, 2.0], [False, True])


def normal(p):
    return -0.5 * p["x"] ** 2


def branch(p):
    if p["x"] > 0:
        return -p["x"]
    return p["x"]


def loop(p):
    return sum(range(jnp.int32(p["x"])))


CASES = [
    (lambda p: -np.exp(p["x"]), r'np.exp\(p\["x"\]\)', "jax.numpy"),
    (lambda p: -math.log(p["x"]), r'math.log\(p\["x"\]\)', "jnp.log for math.log"),
    (lambda p: -float(p["x"]), r'float\(p\["x"\]\)', "jax.numpy"),
    (lambda p: stats.norm.logpdf(p["x"]), "stats.norm.logpdf", "jax.scipy"),
    (branch, r'p\["x"\] > 0 \(test_user_code.py, line \d+, in branch\)', "jnp.where"),
    (loop, "range", "jax.lax.fori_loop"),
    (lambda p: -jnp.sum(SERIES - p["x"]), "SERIES - p", "to_numpy"),
    (lambda p: -jnp.sum(jnp.asarray(ARRAY - p["x"])), "ARRAY - p", "y.values"),
    (lambda p: -jnp.sum(LIST - p["x"]), "LIST - p", "jnp.array"),
    (lambda p: -jnp.sum(jnp.asarray(MASKED) - p["x"]), "MASKED", "compressed"),
]


CASES += [
    (lambda p: -jnp.ones(5)[0] * sum(range(p["x"])), "range", "jax.lax.fori_loop"),
    (lambda p: -[1.0, 2.0][p["x"]], r'\[1.0, 2.0\]\[p\["x"\]\]', "index a jnp.array"),
    (lambda p: -((FRAME - p["x"]) ** 2).sum().sum(), "FRAME - p", "to_numpy"),
    (lambda p: -((ARRAY - p["x"]) ** 2).sum(), "DataArray", "y.values"),
]


def filled(p):
    rows = np.zeros(3)
    rows[0] = p["x"]
    return -np.sum(rows**2)


def changed(p):
    rows = jnp.zeros(3)
    rows[0] = p["x"]
    return -jnp.sum(rows**2)


CASES += [
    (filled, r"rows\[0\]", r"jnp.stack.*x.at\[i\].set"),
    (changed, r"rows\[0\]", r"x.at\[i\].set\(v\) in place of"),
]


@pytest.mark.parametrize(("density", "expression", "instead"), CASES)
def test_a_log_density_that_is_not_jax_is_told_at_its_line(density, expression, instead):
    with pytest.raises(TypeError, match=rf"(?s)log_density: got .*{expression}.*{instead}.*mcmc.Target.black_box"):
        mcmc.sample(mcmc.Target(density, X), progress=False)


@pytest.mark.parametrize("argument", ["derived", "log_likelihood", "predictive"])
def test_other_functions_are_told_before_the_run(argument):
    def function(*args):
        return {"y": float(args[-1]["x"])}

    target = mcmc.Target(normal, X, **{argument: function})
    with pytest.raises(TypeError, match=rf'{argument}: got float\(args\[-1\]\["x"\]\).*after the run'):
        mcmc.sample(target, progress=False)


def test_the_line_is_the_users_where_a_compiled_library_fails():
    target = mcmc.Target(lambda p: -(p["x"] ** 2), {"x": mcmc.real()}, predictive=lambda k, p: {"y": draw(p["x"])})

    def draw(x):
        return np.random.normal(x)  # noqa: NPY002

    with pytest.raises(TypeError, match=r"got np.random.normal\(x\) \(test_user_code.py, line \d+, in draw") as caught:
        mcmc.sample(target, draws=10, warmup=10, chains=2, progress=False)
    assert (caught.value.code, "mcmc explain traced" in str(caught.value)) == ("traced", True)


def test_the_line_is_the_users_where_scipy_makes_a_function_of_text():
    def predictive(key, p):
        return {"y": stats.norm.rvs(p["x"])}

    with pytest.raises(TypeError, match=r"stats.norm.rvs\(p\[\"x\"\]\) \(test_user_code.py, line"):
        mcmc.sample(mcmc.Target(normal, X, predictive=predictive), progress=False)


def test_a_callback_that_no_one_may_call_for_many_chains_is_told_before_the_run():
    def log_density(p):
        shape = jax.ShapeDtypeStruct((), p["x"].dtype)
        return jax.pure_callback(lambda x: -0.5 * x**2, shape, p["x"])

    with pytest.raises(ValueError, match=r"no vmap_method; .*vmap_method=.sequential."):
        mcmc.sample(mcmc.Target(log_density, X), mcmc.RandomWalk(), progress=False)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"y": np.array([1.0, np.inf])}, r"data\['y'\] is inf at \[1\]"),
        ({"y": np.array([[1.0, 2.0], [np.nan, 0.0]])}, r"data\['y'\] is NaN at \[1, 0\]"),
        (None, r"an array of shape \(2,\) is NaN at \[1\]"),
    ],
)
def test_data_that_are_not_finite_are_named_where_no_start_is(data, told):
    outside = np.array([1.0, np.nan])

    def log_density(p, data=None):
        return -jnp.sum((p["x"] - (outside if data is None else data["y"])) ** 2)

    with pytest.raises(mcmc.InitializationError, match=told):
        mcmc.sample(mcmc.Target(log_density, X, data=data), mcmc.RandomWalk(), chains=2, progress=False)


def test_of_many_parameters_a_start_names_a_few():
    many = {f"p{i}": mcmc.real() for i in range(80)}
    with pytest.raises(mcmc.InitializationError, match=r"p5 = [-0-9.]+ and 74 more;"):
        mcmc.sample(mcmc.Target(lambda p: -jnp.inf * jnp.exp(p["p0"]), many), mcmc.RandomWalk(), progress=False)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (sparse.eye(3), "x.toarray"),
        (2**70, "an integer of 64 bits"),
        (np.array([(1.0, 2.0)], [("a", float), ("b", float)]), r"x\[name\] for name in \('a', 'b'\)"),
    ],
)
def test_arrays_of_other_kinds_are_told_how_to_pass_them(data, told):
    with pytest.raises((TypeError, ValueError), match=told):
        mcmc.Target(lambda p, data: -(p["x"] ** 2), X, data=data)


@pytest.mark.parametrize("density", [lambda x, a: -a * math.exp(x), lambda x, a: -a * x if x > 0 else a * x])
def test_the_inverse_cdf_names_its_way_out_of_traced_parameters(density):
    with pytest.raises(TypeError, match=r"(?s)test_user_code.py, line .*parameters that are known"):
        jax.jit(lambda a: mcmc.InverseCDF.fit(density, (-1.0, 1.0), params=(a,)).icdf(0.5))(1.0)
    assert np.isfinite(mcmc.InverseCDF.fit(density, (-1.0, 1.0), params=(1.0,)).icdf(0.5))


def fit(p, data):
    return -jnp.sum((data["y"] - p["x"]) ** 2)


@pytest.mark.parametrize(
    ("density", "error", "told"),
    [
        (lambda p, data: p["sigma"], ValueError, "unknown parameter 'sigma'.*Add it to parameters="),
        (lambda p, data: p["y"], ValueError, r"It is in data: write data\['y'\]"),
        (lambda p, data: data["yy"], ValueError, r"no data 'yy'.*one of the data y"),
        (lambda p, data: data["x"], ValueError, r"It is a parameter: write p\['x'\]"),
        (lambda p, data: {}["k"], KeyError, "^'k'"),
    ],
)
def test_a_missing_name_is_a_parameter_or_data_or_the_users_own(density, error, told):
    with pytest.raises(error, match=told):
        mcmc.sample(mcmc.Target(density, X, {"y": np.ones(2)}), progress=False)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("num_samples", "Did you mean draws="),
        ("tune", "Did you mean warmup="),
        ("nchains", "Did you mean chains="),
        ("rng_key", "Did you mean seed="),
        ("target_accept", r"mcmc.NUTS\(target_acceptance=0.9\)"),
        ("sed", "Did you mean seed="),
        ("frobnicate", "Leave it out"),
    ],
)
def test_words_of_other_tools_are_told_what_they_mean(word, told):
    with pytest.raises(TypeError, match=f"no argument '{word}'. .*{told}"):
        mcmc.sample(mcmc.Target(normal, X), **{word: 1})


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: mcmc.Target(logp=normal, parameters=X), r"Target: .*'logp'. Did you mean log_density="),
        (lambda: mcmc.Target(normal, X, observed=[1.0]), "Did you mean data="),
        (lambda: mcmc.Converged(min_ess=100), r"Converged: .*Did you mean ess="),
        (lambda: mcmc.summary(None, var_names=["x"]), r"Did you mean draws.posterior\[\["),
        (lambda: mcmc.sample(None, n_sampels=3), r"Did you mean draws="),
        (lambda: mcmc.sample(None, initial_valeus=3), r"Did you mean init="),
        (lambda: mcmc.sample(None, zzz=3), r"Leave it out"),
    ],
)
def test_words_are_told_wherever_arguments_are(call, told):
    with pytest.raises(TypeError, match=told):
        call()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"chains": 2**40}, mcmc.errors.MemoryLimitError),
        ({"thin": 10**30}, ValueError),
        ({"warmup": 2**40}, ValueError),
        ({"chains": 4, "superchains": 7}, ValueError),
    ],
)
def test_numbers_that_no_run_can_have_are_refused(settings, error):
    with pytest.raises(error) as caught:
        mcmc.sample(mcmc.Target(normal, X), progress=False, **settings)
    assert "superchains=16" not in str(caught.value)
    if error is mcmc.errors.MemoryLimitError:
        assert " chains=" in str(caught.value)
        assert "thin=" not in str(caught.value)


def test_models_of_other_libraries_are_told_how_to_become_a_target():
    with pytest.raises(TypeError, match=r"mcmc\.from_numpyro"):
        mcmc.sample(lambda: None)  # pyright: ignore[reportArgumentType]


def test_a_parameter_that_is_asked_for_as_an_attribute_is_told():
    with pytest.raises(TypeError, match=r'log_density: got p.x \(test_user_code.*write p\["x"\]|write p\[.x.\]'):
        mcmc.sample(mcmc.Target(lambda p: -(p.x**2), X), progress=False)


def test_a_condition_is_no_log_density():
    with pytest.raises(TypeError, match="log_density: got 'bool'; expected a real number"):
        mcmc.sample(mcmc.Target(lambda p: p["x"] > 0, X), progress=False)


def test_numbers_of_numpy_are_shown_as_numbers_and_paths_are_sent_to_read():
    with pytest.raises(ValueError, match=r"init\['x'\]: got -1.0; expected"):
        mcmc.sample(mcmc.Target(lambda p: -p["x"], {"x": mcmc.positive()}), init={"x": -1.0}, progress=False)
    with pytest.raises(TypeError, match=r"Read them: mcmc.read\('draws.nc'\)"):
        mcmc.diagnose("draws.nc")
