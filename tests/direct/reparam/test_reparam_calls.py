"""How reparameterised samplers are called: shapes, dtypes, keys, transformations, errors; implicit and discrete."""

import dataclasses
import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from jax.scipy.special import gammainc, ndtr
from reparam_laws import Law, implicit_gradient

import mcmc
from mcmc.direct import reparam
from mcmc.random import philox

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
MOVING = {
    "loggamma": Law("loggamma", reparam.loggamma, SAMPLERS["loggamma"], st.loggamma),
    "chi_square": Law("chi_square", reparam.chi_square, SAMPLERS["chi_square"], st.chi2),
    "inverse_gaussian": Law(
        "inverse_gaussian",
        reparam.inverse_gaussian,
        SAMPLERS["inverse_gaussian"],
        lambda m, c: st.invgauss(m / c, scale=c),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_second_derivatives_are_those_of_the_first(name):
    """In the last parameter, of one draw at a time; both derivatives come from one program."""
    f, at, h = getattr(reparam, name), SAMPLERS[name], 1e-5
    with jax.enable_x64(True):
        first = lambda key, last: jax.jvp(lambda last: f(key, *at[:-1], last), (last,), (1.0,))  # noqa: E731
        both = jax.jit(lambda key, last: jax.jvp(lambda last: first(key, last), (last,), (1.0,)))
        keys = jax.random.split(KEY, 20)
        (x, slope), (_, second) = np.array([both(key, at[-1]) for key in keys]).transpose(1, 2, 0)
        ends = [np.array([both(key, at[-1] + d)[0][1] for key in keys]) for d in (h, -h)]
    assert np.isfinite(second).all()
    if name in ("beta", "von_mises"):
        return
    if name in MOVING:  # the draw that a key gives is no smooth function: follow the one that the gradients are of
        law, h = MOVING[name], 1e-3 * at[-1]
        moved = [dataclasses.replace(law, at=(*at[:-1], at[-1] + d)) for d in (h, -h)]
        ends = [implicit_gradient(law, x + d * slope, len(at) - 1) for law, d in zip(moved, (h, -h), strict=True)]
    exact = (ends[0] - ends[1]) / (2 * h)
    assert np.allclose(second, exact, rtol=1e-4, atol=1e-4 * max(1e-6, float(np.abs(exact).max())))


@pytest.mark.parametrize("name", SAMPLERS)
def test_any_key_dtype_and_shape(name):
    f, at = getattr(reparam, name), SAMPLERS[name]

    def of(*at, key=KEY, **settings):
        made = jax.eval_shape(lambda: f(key, *at, **settings))
        return made.shape, made.dtype

    rbg, raw = jax.random.key(1, impl="rbg"), jax.random.PRNGKey(1)
    assert of(*at, key=raw, dtype=jnp.bfloat16) == ((), jnp.bfloat16)
    assert of(np.full((2, 1), at[0]), *at[1:], key=rbg, shape=(5, 2, 3)) == ((5, 2, 3), jnp.float32)
    assert of(jnp.full((2, 1), at[0], jnp.float16), *at[1:]) == ((2, 1), jnp.float32)
    with jax.enable_x64(True):
        assert of(*at) == ((), jnp.float64)
        assert of(*(jnp.float32(a) for a in at)) == ((), jnp.float32)


@pytest.mark.parametrize("name", ["uniform", "gamma", "von_mises"])
def test_draws_of_other_keys(name):
    """Of each kind of noise; the laws are tried with threefry and philox keys."""
    f, at = getattr(reparam, name), SAMPLERS[name]
    x = f(jax.random.key(1, impl="rbg"), *at, shape=(4, 3))
    assert np.isfinite(x).all()
    assert len(np.unique(x)) == 12
    np.testing.assert_array_equal(f(jax.random.PRNGKey(1), *at, shape=(4, 3)), f(jax.random.key(1), *at, shape=(4, 3)))


@pytest.mark.parametrize("name", [*SAMPLERS, "dirichlet", "bernoulli", "poisson"])
def test_a_tuple_is_no_parameter(name):
    at = list(SAMPLERS.get(name, (0.5,)))
    for i in range(len(at)):
        with pytest.raises(TypeError, match=r"not a tuple\. A shape goes by name, shape=\(3,\)"):
            getattr(reparam, name)(KEY, *at[:i], (3,), *at[i + 1 :])


def test_a_tuple_is_no_size_and_no_logits():
    with pytest.raises(TypeError, match=r"dimension: got \(3,\)"):
        reparam.lkj(KEY, 1.0, (3,))
    with pytest.raises(TypeError, match=r"logits: got \(3,\)"):
        reparam.gumbel_softmax(KEY, (3,))


def test_shape_is_the_batch_shape_as_in_jax_random():
    def shape(f, *at, **more):
        return jax.eval_shape(lambda: f(KEY, *at, **more)).shape

    ones, eye = np.ones((2, 3)), np.eye(3)
    for of in ((5, 2), (2,), None):
        assert shape(reparam.dirichlet, ones, shape=of) == shape(jax.random.dirichlet, ones, shape=of)
        wanted = shape(jax.random.multivariate_normal, ones, eye, shape=of)
        for spread in ({"scale_tril": eye}, {"covariance": eye}, {"factor": eye, "diagonal": np.ones(3)}):
            assert shape(reparam.multivariate_normal, ones, **spread, shape=of) == wanted
        batch = (2,) if of is None else of
        assert shape(reparam.log_dirichlet, ones, shape=of) == (*batch, 3)
        assert shape(reparam.wishart, np.full(2, 5.0), scale=eye, shape=of) == (*batch, 3, 3)
        assert shape(reparam.lkj, np.ones(2), 3, shape=of) == (*batch, 3, 3)
        assert shape(reparam.lkj_cholesky, np.ones(2), 3, shape=of) == (*batch, 3, 3)


BAD = [
    (lambda: reparam.normal(KEY, 0.0, -1.0), "scale: got"),
    (lambda: reparam.normal(KEY, np.nan, 1.0), "loc: got"),
    (lambda: reparam.uniform(KEY, 2.0, 1.0), "high: got"),
    (lambda: reparam.truncated_normal(KEY, 0.0, 1.0, 3.0, 3.0), "high: got"),
    (lambda: reparam.gamma(KEY, 0.0), "concentration: got"),
    (lambda: reparam.dirichlet(KEY, np.array([1.0, -1.0])), "concentration: got"),
    (lambda: reparam.dirichlet(KEY, np.ones((4, 3)), shape=(10,)), "shape: got"),
    (lambda: reparam.poisson(KEY, 1e12), "rate: got.*int32"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2), covariance=np.diag([1.0, -1.0]), method="svd"), "semidef"),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2), covariance=np.diag([1.0, 0.0])), 'method="eigh"'),
    (lambda: reparam.multivariate_normal(KEY, np.zeros(2), scale_tril=np.eye(2), method="eigh"), "method: got"),
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
    """See also `test_one_draw_whatever_is_around_it`, for every sampler."""

    @jax.jit
    def draws(scale, high, covariance, concentration, p, rate):
        return (
            reparam.normal(KEY, 0.0, scale),
            reparam.uniform(KEY, 2.0, high),
            reparam.multivariate_normal(KEY, jnp.zeros(2), covariance=covariance),
            reparam.dirichlet(KEY, concentration),
            reparam.bernoulli(KEY, p),
            reparam.poisson(KEY, rate),
        )

    *bad, simplex, coin, count = draws(-1.0, 1.0, -np.eye(2), np.array([[1.0, 1.0], [1.0, 0.0]]), 2.0, -2.0)
    assert all(np.isnan(x).all() for x in bad)
    np.testing.assert_array_equal(np.isnan(simplex), [[False, False], [True, True]])
    assert coin == count == -1
    gamma = lambda a: reparam.gamma(KEY, a)  # noqa: E731
    for values in jax.jit(jax.vmap(jax.value_and_grad(gamma)))(jnp.array([1.0, -1.0, jnp.nan])):
        np.testing.assert_array_equal(np.isnan(values), [False, True, True])
    with pytest.raises(ValueError, match="concentration: got"):
        jax.grad(gamma)(-1.0)


# --- implicit and discrete ----------------------------------------------------------------------------


def test_implicit_agrees_with_closed_forms():
    with jax.enable_x64(True):
        noise = jax.random.normal(KEY, (100,))
        cdf = lambda x, loc, scale: ndtr((x - loc) / scale)  # noqa: E731
        draw = lambda loc, scale: loc + scale * noise  # noqa: E731
        both = jax.jit(lambda loc, scale: (draw(loc, scale), reparam.implicit(draw(loc, scale), cdf, loc, scale)))
        (given, x), (_, slope) = jax.jvp(both, (1.0, 2.0), (0.0, 1.0))
        np.testing.assert_array_equal(x, given)
        assert np.allclose(x, 1.0 + 2.0 * np.asarray(noise), rtol=1e-15)
        assert np.allclose(slope, noise)
        draw = lambda a: reparam.implicit(jax.random.gamma(KEY, a, (100,)), lambda x, a: gammainc(a, x), a)  # noqa: E731
        x, slope = jax.jit(lambda a: jax.jvp(draw, (a,), (1.0,)))(2.5)
        gamma = Law("gamma", reparam.gamma, (2.5,), st.gamma)
        assert np.allclose(slope, implicit_gradient(gamma, x, 0), rtol=1e-6)


def test_implicit_takes_survival_functions_log_densities_closures_and_trees():
    with jax.enable_x64(True):
        noise = jax.random.exponential(KEY, (50,))
        exact = -np.asarray(noise) / 4.0
        survival = lambda x, p: jnp.exp(-p["rate"] * x)  # noqa: E731
        log_prob = lambda x, r: jnp.log(r) - r * x  # noqa: E731
        by_tree = lambda r: reparam.implicit(noise / r, survival, {"rate": r})  # noqa: E731
        by_log_prob = lambda r: reparam.implicit(noise / r, lambda x, r: -jnp.expm1(-r * x), r, log_prob=log_prob)  # noqa: E731
        by_closure = lambda r: reparam.implicit(noise / r, lambda x: -jnp.expm1(-r * x))  # noqa: E731
        assert np.allclose(jax.jacrev(by_closure)(2.0), exact)  # outside of jit; the others within
        reverse = jax.jit(lambda r: [jax.jacrev(f)(r) for f in (by_tree, by_log_prob, by_closure)])
        forward = jax.jit(lambda r: (jax.jacfwd(by_closure)(r), jax.jacfwd(jax.jacfwd(by_tree))(r)))
        assert np.allclose(reverse(2.0), exact)
        assert np.allclose(forward(2.0)[0], exact)
        assert np.allclose(forward(2.0)[1], 2 * np.asarray(noise) / 8.0)


def test_what_can_carry_no_gradient_says_so():
    with pytest.raises(TypeError, match="carries no gradient"):
        reparam.implicit(jnp.arange(3), lambda x, p: x * p, 1.0)
    with pytest.raises(ValueError, match="cdf: got"):
        reparam.implicit(jnp.zeros(3), lambda x, p: jnp.sum(x * p), 1.0)
    for f, at in ((reparam.bernoulli, 0.3), (reparam.poisson, 3.0)):
        loss = lambda p, f=f: jnp.sum(2.0 * f(KEY, p, shape=(5,)))  # noqa: E731
        by_row = lambda p, loss=loss: jax.vmap(jax.grad(loss))(jnp.full(2, p))  # noqa: E731
        for attempt in (jax.grad(loss), jax.jit(jax.grad(loss)), jax.jit(jax.jacfwd(loss)), jax.jit(by_row)):
            with pytest.raises(TypeError, match="carries no gradient"):
                attempt(at)
        kept = jax.jit(jax.grad(lambda p, loss=loss: p**2 + loss(jax.lax.stop_gradient(p))))(at)
        assert np.isclose(kept, 2 * at)


def test_discrete_draws_follow_their_laws():
    x = reparam.bernoulli(KEY, 0.3, shape=(20_000,))
    assert abs(float(x.mean()) - 0.3) < 5 * np.sqrt(0.21 / 20_000)
    x = reparam.poisson(jax.random.key(1, impl=philox.implementation), 3.0, shape=(20_000,))
    assert abs(float(x.mean()) - 3) < 5 * np.sqrt(3 / 20_000)
    assert x.dtype == jnp.int32


FILES = (
    "basic",
    "circular",
    "gamma",
    "implicit",
    "inverse_gaussian",
    "matrix",
    "mixtures",
    "more",
    "multivariate",
    "poisson",
)


@pytest.mark.parametrize("file", [*FILES, "simplex", "truncated", "normal_arrays", "directions"])
def test_examples(file, monkeypatch):
    monkeypatch.setattr(mcmc, "reparam", reparam, raising=False)
    found = doctest.testmod(
        importlib.import_module(f"mcmc.direct.reparam.{file}"),
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert found.attempted > 0
    assert found.failed == 0
