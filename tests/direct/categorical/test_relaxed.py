"""Gumbel-softmax, straight-through and Gumbel-Rao: laws, values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from mcmc.direct import categorical
from mcmc.random import philox

KEY = jax.random.key(0)
X = jnp.array([0.5, -1.0, 1.2, 0.0])
COST = jnp.array([1.0, -2.0, 0.5, 3.0])


gumbel_softmax = jax.jit(categorical.gumbel_softmax)


def keys(n, impl=None):
    return jax.random.split(jax.random.key(0, impl=impl), n)


@pytest.mark.parametrize("t", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_greatest_component_is_an_exact_draw(t, dtype):
    n = 100_000
    x = X.astype(dtype)
    soft = gumbel_softmax(KEY, jnp.broadcast_to(x, (n, 4)), temperature=t)
    assert soft.dtype == jnp.float32
    np.testing.assert_allclose(np.asarray(soft).sum(-1), 1, rtol=1e-5)
    p = np.asarray(jax.nn.softmax(x.astype(jnp.float32)))
    counts = np.bincount(np.argmax(soft, -1), minlength=4)
    assert np.all(np.abs(counts - n * p) < 5 * np.sqrt(n * p * (1 - p)))


def test_hard_draws_have_exactly_the_soft_gradient():
    @partial(jax.jit, static_argnums=2)
    def drawn(x, t, hard):
        draw = lambda x, t: categorical.gumbel_softmax(KEY, jnp.stack([x] * 50), temperature=t, hard=hard)  # noqa: E731
        return draw(x, t), jax.jacrev(lambda x, t: draw(x, t) @ COST, (0, 1))(x, t)

    (hard, found), (soft, expected) = (jax.device_get(drawn(X, 0.7, hard)) for hard in (True, False))
    assert set(np.unique(hard)) == {0.0, 1.0}
    np.testing.assert_array_equal(hard.argmax(-1), soft.argmax(-1))
    for slope, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(slope, wanted)
        assert np.any(slope != 0)


def test_masked_rows_temperatures_axes_and_keys():
    x = jnp.stack([X.at[1].set(-jnp.inf)] * 3)
    t = jnp.array([1e-6, 0.5, 50.0])
    soft = categorical.gumbel_softmax(keys(3), x, temperature=t)
    assert np.all(np.asarray(soft[:, 1]) == 0)
    assert np.max(soft[0]) == 1.0
    assert np.max(soft[2]) < 0.5
    alone = categorical.gumbel_softmax(keys(3)[1], x[1], temperature=0.5)
    np.testing.assert_array_equal(soft[1], alone)
    turned = categorical.gumbel_softmax(keys(3), x.T, temperature=t, axis=0)
    np.testing.assert_array_equal(turned, soft.T)
    square = lambda x, t: jnp.sum(categorical.gumbel_softmax(KEY, x, temperature=t)[:, 0] ** 2)  # noqa: E731
    assert all(np.all(np.isfinite(s)) for s in jax.jit(jax.grad(square, (0, 1)))(x, t))
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="temperature: got "):
            categorical.gumbel_softmax(KEY, X, temperature=bad)
    bad = jnp.array([[0.0, jnp.inf], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"logits: .*row \(0,\)"):
        categorical.gumbel_softmax(KEY, bad)
    under_jit = gumbel_softmax(KEY, bad)
    np.testing.assert_array_equal(np.isnan(under_jit), [[True, True], [False, False]])


@pytest.mark.parametrize("t", [0.7, 1.0, 2.0])
def test_the_relaxed_density_integrates_to_1(t):
    """In y = logit x for two tokens, and against draws: the mean of x by quadrature and by drawing."""
    x = jnp.array([0.8, -0.3])

    def density(y):
        first = 1 / (1 + np.exp(-y))
        point = jnp.array([first, 1 - first], jnp.float32)
        return float(jnp.exp(f(point))) * first * (1 - first)

    f = jax.jit(lambda point: categorical.relaxed_log_prob(point, x, t))
    total = integrate.quad(density, -15, 12, epsabs=1e-5, limit=100)[0]
    assert total == pytest.approx(1, abs=1e-3)
    mean = integrate.quad(lambda y: density(y) / (1 + np.exp(-y)), -15, 12, epsabs=1e-5, limit=100)[0]
    draws = np.asarray(gumbel_softmax(KEY, jnp.broadcast_to(x, (50_000, 2)), temperature=t))[:, 0]
    assert abs(draws.mean() - mean) < 5 * draws.std() / np.sqrt(50_000) + 1e-3


def test_the_relaxed_density_of_three_tokens_by_importance_sampling():
    """E[uniform density / density] = 1 over draws, as the density has the simplex as its support."""
    log_prob = jax.jit(categorical.relaxed_log_prob)
    draws = gumbel_softmax(KEY, jnp.broadcast_to(X[:3], (50_000, 3)), temperature=1.5)
    ratio = np.exp(np.log(2.0) - np.asarray(log_prob(draws, X[:3], 1.5), float))
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / np.sqrt(50_000)
    masked = jnp.array([X[0], -jnp.inf, X[1], X[2]])
    padded = np.insert(np.asarray(draws[:5]), 1, 0.0, axis=1)
    plain = categorical.relaxed_log_prob(draws[:5], X[:3], 1.5)
    np.testing.assert_allclose(categorical.relaxed_log_prob(padded, masked, 1.5), plain, rtol=1e-6)


@pytest.mark.parametrize("x", [[0.5, 0.5, 0.1], [1.0, 0.0, 0.0], [0.7, 0.5, -0.2], [np.nan, 0.5, 0.5]])
def test_points_outside_the_simplex_are_refused(x):
    with pytest.raises(ValueError, match="x: got a point outside"):
        categorical.relaxed_log_prob(x, X[:3], 1.0)
    assert np.isnan(jax.jit(categorical.relaxed_log_prob)(jnp.array(x), X[:3], 1.0))


def test_gumbel_rao_has_the_straight_through_mean_and_less_variance():
    def f(z):
        return jnp.sum(z * COST) ** 2

    def slopes(draw, n=20_000):
        slope = jax.jit(jax.vmap(jax.grad(lambda x, k: f(draw(k, x))), (None, 0)))
        return np.asarray(slope(X, keys(n, philox.implementation)))

    through = slopes(lambda k, x: categorical.gumbel_softmax(k, x, temperature=0.5, hard=True))
    rao = slopes(lambda k, x: categorical.gumbel_rao(k, x, temperature=0.5, samples=20))
    error = np.hypot(through.std(0), rao.std(0)) / np.sqrt(len(rao))
    assert np.all(np.abs(through.mean(0) - rao.mean(0)) < 5 * error)
    assert np.all(rao.var(0) < 0.8 * through.var(0))
    hot = np.asarray(jax.jit(lambda x: categorical.gumbel_rao(KEY, x, samples=1))(jnp.broadcast_to(X, (50_000, 4))))
    assert set(np.unique(hot)) == {0.0, 1.0}
    p = np.asarray(jax.nn.softmax(X))
    assert np.all(np.abs(hot.mean(0) - p) < 5 * np.sqrt(p * (1 - p) / 50_000))
    with pytest.raises(ValueError, match="samples: got 0"):
        categorical.gumbel_rao(KEY, X, samples=0)
