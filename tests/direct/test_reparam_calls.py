"""How reparameterised samplers are called: shapes, dtypes, keys, transformations, errors; implicit and discrete."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import random_gamma_grad
from jax.scipy.special import gammainc, ndtr

import mcmc
from mcmc import philox
from mcmc.direct import reparam

KEY = jax.random.key(0)
SAMPLERS = {
    "uniform": (2.0, 5.0),
    "normal": (1.0, 2.0),
    "lognormal": (0.0, 1.0),
    "exponential": (3.0,),
    "laplace": (1.0, 2.0),
    "logistic": (1.0, 2.0),
    "gumbel": (1.0, 2.0),
    "cauchy": (1.0, 2.0),
    "weibull": (0.7, 2.0),
    "pareto": (0.7, 2.0),
    "truncated_normal": (0.0, 1.0, 6.0, 7.0),
    "gamma": (0.3, 2.0),
    "loggamma": (0.3,),
    "chi_square": (3.0,),
    "inverse_gamma": (3.0, 2.0),
    "student_t": (3.0, 1.0, 2.0),
    "beta": (0.3, 2.0),
    "inverse_gaussian": (1.0, 2.0),
    "von_mises": (0.5, 2.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_one_draw_whatever_is_around_it(name):
    """jit, vmap over parameters, forward and reverse mode, and no differentiation at all give the same draws."""
    f, at = getattr(reparam, name), SAMPLERS[name]
    draw = lambda *at: f(KEY, *at, shape=(50,))  # noqa: E731
    x = np.asarray(draw(*at))
    forward, slope = jax.jvp(lambda last: draw(*at[:-1], last), (at[-1],), (1.0,))
    np.testing.assert_array_equal(x, forward)
    backward, pull = jax.vjp(lambda last: draw(*at[:-1], last), at[-1])
    np.testing.assert_array_equal(x, backward)
    assert np.allclose(pull(jnp.ones(50))[0], slope.sum(), rtol=1e-4, atol=1e-5)
    keys, lasts = jax.random.split(KEY, 4), jnp.full(4, at[-1])
    by_row = jax.vmap(lambda k, last: f(k, *at[:-1], last, shape=(50,)))
    compiled, rows = jax.jit(lambda *at: (draw(*at), by_row(keys, lasts)))(*at)
    assert np.allclose(compiled, x, rtol=3e-6)
    assert np.allclose(rows[2], f(keys[2], *at, shape=(50,)), rtol=3e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_second_derivatives_are_slopes_of_the_first(name):
    f, at = getattr(reparam, name), SAMPLERS[name]
    with jax.enable_x64(True):
        first = jax.jacfwd(lambda last: f(KEY, *at[:-1], last, shape=(20,)))
        second, h = jax.jacfwd(first)(at[-1]), 1e-5
        if name in ("gamma", "loggamma", "chi_square", "beta"):  # the draw moves with the parameter: of x(θ)
            return np.testing.assert_array_equal(np.isfinite(second), True)
        exact = (first(at[-1] + h) - first(at[-1] - h)) / (2 * h)
    if name == "inverse_gaussian":  # not a function of one uniform at a fixed key
        return np.testing.assert_array_equal(np.isfinite(second), True)
    if name == "von_mises":
        return np.testing.assert_array_equal(np.isfinite(second), True)
    assert np.allclose(second, exact, rtol=1e-4, atol=1e-4 * max(1e-6, float(np.abs(exact).max())))


@pytest.mark.parametrize("name", SAMPLERS)
def test_any_key_dtype_and_shape(name):
    f, at = getattr(reparam, name), SAMPLERS[name]
    keys = [jax.random.key(1, impl=impl) for impl in ("threefry2x32", "rbg", philox.implementation)]
    for key in [*keys, jax.random.PRNGKey(1)]:
        x = f(key, *at, shape=(4, 3))
        assert x.shape == (4, 3)
        assert x.dtype == jnp.float32
        assert np.isfinite(x).all()

    def of(*at, **settings):
        made = jax.eval_shape(lambda: f(KEY, *at, **settings))
        return made.shape, made.dtype

    assert of(*at, dtype=jnp.bfloat16) == ((), jnp.bfloat16)
    assert of(np.full((2, 1), at[0]), *at[1:], shape=(5, 2, 3)) == ((5, 2, 3), jnp.float32)
    assert of(jnp.full((2, 1), at[0], jnp.float16), *at[1:]) == ((2, 1), jnp.float32)
    with jax.enable_x64(True):
        assert of(*at) == ((), jnp.float64)
        assert of(*(jnp.float32(a) for a in at)) == ((), jnp.float32)


BAD = [
    (lambda: reparam.normal(KEY, 0.0, -1.0), "scale: got"),
    (lambda: reparam.normal(KEY, np.nan, 1.0), "loc: got"),
    (lambda: reparam.uniform(KEY, 2.0, 1.0), "high: got"),
    (lambda: reparam.truncated_normal(KEY, 0.0, 1.0, 3.0, 3.0), "high: got"),
    (lambda: reparam.gamma(KEY, 0.0), "concentration: got"),
    (lambda: reparam.dirichlet(KEY, np.array([1.0, -1.0])), "concentration: got"),
    (lambda: reparam.dirichlet(KEY, np.ones(3), shape=(10,)), "shape: got"),
    (lambda: reparam.normal(KEY, np.zeros(3), shape=(2,)), "shape: got"),
    (lambda: reparam.normal(KEY, np.zeros(3), np.ones(2)), "loc, scale: got"),
    (lambda: reparam.normal(jax.random.split(KEY, 3), 0.0), "key: got"),
    (lambda: reparam.normal(KEY, dtype=int), "dtype: got"),
    (lambda: reparam.normal(KEY, dtype=np.float64), "dtype: got"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2)), "one of scale_tril"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2), covariance=-np.eye(2)), "covariance: got"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2), covariance=np.array([[1, 0.5], [0, 1]])), "symmetric"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2), scale_tril=np.ones((2, 2))), "lower triangular"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(3), scale_tril=np.eye(2)), "loc: got"),
    (lambda: reparam.wishart(KEY, 1.0, scale=np.eye(3)), "df: got"),
    (lambda: reparam.lkj(KEY, 1.0, 1), "dimension: got"),
    (lambda: reparam.normal_mixture(KEY, np.full(2, -np.inf), np.zeros(2), np.ones(2)), "finite logit"),
    (lambda: reparam.von_mises(KEY, 0.0, -1.0), "concentration: got"),
    (lambda: reparam.bernoulli(KEY, 1.5), "probs: got"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_values_give_nan_in_compiled_code():
    assert np.isnan(jax.jit(lambda s: reparam.normal(KEY, 0.0, s))(-1.0))
    x = jax.jit(lambda a: reparam.gamma(KEY, a))(jnp.array([1.0, -1.0, jnp.nan]))
    np.testing.assert_array_equal(np.isnan(x), [False, True, True])
    assert np.isnan(jax.jit(jax.grad(lambda a: reparam.gamma(KEY, a)))(-1.0))
    with pytest.raises(ValueError, match="concentration: got"):
        jax.grad(lambda a: reparam.gamma(KEY, a))(-1.0)
    assert np.isnan(jax.jit(lambda h: reparam.truncated_normal(KEY, 0.0, 1.0, 2.0, h))(1.0))
    x = jax.jit(lambda c: reparam.multivariate_normal(KEY, jnp.zeros(2), covariance=c))(-jnp.eye(2))
    assert np.isnan(x).all()
    x = jax.jit(lambda a: reparam.dirichlet(KEY, a))(jnp.array([[1.0, 1.0], [1.0, 0.0]]))
    np.testing.assert_array_equal(np.isnan(x), [[False, False], [True, True]])
    assert jax.jit(lambda p: reparam.bernoulli(KEY, p))(2.0) == -1
    assert jax.jit(lambda p: reparam.poisson(KEY, p))(-2.0) == -1


# --- implicit and discrete ----------------------------------------------------------------------------


def test_implicit_agrees_with_closed_forms():
    with jax.enable_x64(True):
        noise = jax.random.normal(KEY, (100,))
        cdf = lambda x, loc, scale: ndtr((x - loc) / scale)  # noqa: E731
        draw = lambda loc, scale: reparam.implicit(loc + scale * noise, cdf, loc, scale)  # noqa: E731
        x, slope = jax.jvp(draw, (1.0, 2.0), (0.0, 1.0))
        np.testing.assert_array_equal(x, 1.0 + 2.0 * noise)
        assert np.allclose(slope, noise)
        gammas = lambda a: reparam.implicit(jax.random.gamma(KEY, a, (100,)), lambda x, a: gammainc(a, x), a)  # noqa: E731
        x, slope = jax.jvp(gammas, (2.5,), (1.0,))
        assert np.allclose(slope, random_gamma_grad(jnp.full(100, 2.5), x), rtol=1e-6)


def test_implicit_takes_survival_functions_log_densities_closures_and_trees():
    with jax.enable_x64(True):
        noise = jax.random.exponential(KEY, (50,))
        exact = -noise / 4.0
        survival = lambda x, p: jnp.exp(-p["rate"] * x)  # noqa: E731
        f = lambda r: reparam.implicit(noise / r, survival, {"rate": r})  # noqa: E731
        assert np.allclose(jax.jacrev(f)(2.0), exact)
        log_prob = lambda x, r: jnp.log(r) - r * x  # noqa: E731
        f = lambda r: reparam.implicit(noise / r, lambda x, r: -jnp.expm1(-r * x), r, log_prob=log_prob)  # noqa: E731
        assert np.allclose(jax.jacrev(f)(2.0), exact)
        f = lambda r: reparam.implicit(noise / r, lambda x: -jnp.expm1(-r * x))  # noqa: E731
        assert np.allclose(jax.jacrev(f)(2.0), exact)
        assert np.allclose(jax.jit(jax.jacfwd(f))(2.0), exact)
        second = jax.jacfwd(jax.jacfwd(lambda r: reparam.implicit(noise / r, survival, {"rate": r})))(2.0)
        assert np.allclose(second, 2 * noise / 8.0)


def test_what_can_carry_no_gradient_says_so():
    with pytest.raises(TypeError, match="carries no gradient"):
        reparam.implicit(jnp.arange(3), lambda x, p: x * p, 1.0)
    with pytest.raises(ValueError, match="cdf: got"):
        reparam.implicit(jnp.zeros(3), lambda x, p: jnp.sum(x * p), 1.0)
    for f, at in ((reparam.bernoulli, 0.3), (reparam.poisson, 3.0)):
        loss = lambda p: jnp.sum(2.0 * f(KEY, p, shape=(5,)))  # noqa: E731
        for attempt in (jax.grad(loss), jax.jit(jax.grad(loss)), jax.jacfwd(loss)):
            with pytest.raises(TypeError, match="carries no gradient"):
                attempt(at)
        with pytest.raises(TypeError, match="carries no gradient"):
            jax.vmap(jax.grad(loss))(jnp.full(2, at))
        kept = jax.grad(lambda p: p**2 + jnp.sum(2.0 * f(KEY, jax.lax.stop_gradient(p), shape=(5,))))(at)
        assert np.isclose(kept, 2 * at)


def test_discrete_draws_follow_their_laws():
    x = reparam.bernoulli(KEY, 0.3, shape=(20_000,))
    assert abs(float(x.mean()) - 0.3) < 5 * np.sqrt(0.21 / 20_000)
    x = reparam.poisson(jax.random.key(1, impl=philox.implementation), 3.0, shape=(20_000,))
    assert abs(float(x.mean()) - 3) < 5 * np.sqrt(3 / 20_000)
    assert x.dtype == jnp.int32


FILES = ("basic", "circular", "gamma", "implicit", "inverse_gaussian", "matrix", "mixture", "multivariate", "simplex")


@pytest.mark.parametrize("file", [*FILES, "truncated"])
def test_examples(file, monkeypatch):
    monkeypatch.setattr(mcmc, "reparam", reparam, raising=False)
    found = doctest.testmod(
        importlib.import_module(f"mcmc.direct.reparam_{file}"),
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert found.attempted > 0
    assert found.failed == 0
