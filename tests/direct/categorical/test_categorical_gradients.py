"""Gradient estimators are unbiased within Monte Carlo error: compared with going through every state."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.direct import categorical

X = jnp.array([[0.5, -1.0, 1.2], [0.1, 0.0, -0.6]])
W = jnp.array([[1.0, -2.0, 0.5], [3.0, 0.2, -0.7]])
N = 40_000


def f(z):
    return jnp.sin(jnp.sum(z * W)) + jnp.sum(z[0] * z[1][::-1]) ** 2


def exact_gradient(f, x):
    return np.asarray(jax.jit(lambda x: categorical.exact_gradient(f, x))(x))


def keys(n):
    return jax.random.split(jax.random.key(0), n)


def spread(estimates):
    """The mean of independent estimates, and its error."""
    g = np.asarray(estimates, float)
    return g.mean(0), g.std(0) / np.sqrt(len(g))


def estimated(estimate, n=N):
    return spread(jax.jit(jax.vmap(estimate))(keys(n)))


def test_the_exact_gradient_is_that_of_the_sum_over_states():
    def expectation(x):
        p = jax.nn.softmax(x)
        eye = jnp.eye(3)
        return sum(p[0, i] * p[1, j] * f(jnp.stack([eye[i], eye[j]])) for i in range(3) for j in range(3))

    wanted = jax.jit(jax.grad(expectation))(X)
    np.testing.assert_allclose(exact_gradient(f, X), wanted, atol=1e-6)
    np.testing.assert_allclose(categorical.exact_gradient(f, X), wanted, atol=1e-6)


@pytest.mark.parametrize("samples", [2, 8])
def test_the_score_gradient_is_unbiased(samples):
    mean, error = estimated(lambda k: categorical.score_gradient(k, f, X, samples=samples))
    assert np.all(np.abs(mean - exact_gradient(f, X)) < 5 * error)


@jax.jit
@partial(jax.vmap, in_axes=(0, None, None))
def rebar(key, temperature, scale):
    return categorical.rebar_gradient(key, f, X, temperature=temperature, scale=scale)


@pytest.mark.parametrize(("temperature", "scale"), [(0.5, 1.0), (2.0, 0.6), (0.3, 0.0)])
def test_the_rebar_gradient_is_unbiased(temperature, scale):
    mean, error = spread(rebar(keys(N), temperature, scale))
    assert np.all(np.abs(mean - exact_gradient(f, X)) < 5 * error)


def test_rebar_has_less_variance_than_the_score_alone():
    def f(z):
        return jnp.sum((z - jnp.array([0.1, 0.5, 0.9])) ** 2) + 3

    estimate = jax.jit(jax.vmap(lambda k, scale: categorical.rebar_gradient(k, f, X[0], scale=scale), (0, None)))
    with_control, without = (spread(estimate(keys(5000), scale))[1].sum() for scale in (1.0, 0.0))
    assert with_control < 0.5 * without


def test_straight_through_is_biased_where_these_are_not():
    """What the comparison can see: the estimator that is known to be biased."""

    def slope(k):
        return jax.grad(lambda x: f(categorical.gumbel_softmax(k, x, hard=True)))(X)

    mean, error = estimated(slope)
    assert np.any(np.abs(mean - exact_gradient(f, X)) > 10 * error)


def test_masked_tokens_get_no_gradient():
    x = jnp.array([0.3, -jnp.inf, 1.0])
    cost = lambda z: jnp.sum(z * jnp.array([1.0, 5.0, 2.0])) ** 2  # noqa: E731
    exact = exact_gradient(cost, x)
    for estimate in (categorical.score_gradient, categorical.rebar_gradient):
        mean, error = estimated(lambda k, estimate=estimate: estimate(k, cost, x), 5000)
        assert mean[1] == exact[1] == 0
        assert np.all(np.abs(mean - exact) <= 5 * error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: categorical.exact_gradient(jnp.sum, jnp.zeros((20, 3))), "logits: got "),
        (lambda: categorical.exact_gradient(lambda z: z, X), "f: got "),
        (lambda: categorical.score_gradient(jax.random.key(0), f, X, samples=1), "samples: got 1"),
        (lambda: categorical.rebar_gradient(jax.random.key(0), f, X, temperature=0.0), "temperature: got 0.0"),
        (lambda: categorical.rebar_gradient(jax.random.key(0), f, X.at[0, 0].set(jnp.nan)), r"row \(0,\)"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_draw_refuses_to_be_differentiated():
    """As `reparam.bernoulli` does: its gradient would be a silent zero."""
    key = jax.random.key(0)
    with pytest.raises(TypeError, match="got a gradient asked for"):
        jax.grad(lambda x: categorical.sample(key, x).astype(float))(jnp.zeros(3))

    def log_prob(x):  # of a draw that is held fixed
        return categorical.log_prob(categorical.sample(key, jax.lax.stop_gradient(x)), x)

    gradient = jax.grad(log_prob)(jnp.zeros(3))
    index = int(categorical.sample(key, jnp.zeros(3)))
    np.testing.assert_allclose(gradient, np.eye(3)[index] - 1 / 3, atol=1e-6)
