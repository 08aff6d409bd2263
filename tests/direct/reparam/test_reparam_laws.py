"""Draws follow their laws and carry the gradients of their distribution functions, hard corners included.

A sampler's programs serve all its laws, in all these tests: as many draws, parameters as arguments.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from reparam_laws import (
    COMPOSED,
    GAMMA,
    INF,
    LAWS,
    LOGGAMMA,
    TRUNCATED,
    VON_MISES,
    implicit_gradient,
    key_of,
    kolmogorov,
)

from mcmc.direct import reparam

N = 20_000
LIMIT = 2.23  # of Kolmogorov's distribution: exceeded with probability 1e-4


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_follow_their_law(law, x64):
    with jax.enable_x64(x64):
        x = law.draw(n=N, seed=3)
    assert x.dtype == (jnp.float64 if x64 else jnp.float32)
    assert kolmogorov(x, law.scipy(*law.at)) < LIMIT


def slopes(law, n=N, numbers=None):
    """Draws, and their derivatives in each finite parameter by its number."""
    numbers = range(len(law.at)) if numbers is None else numbers
    f = lambda *at: (law.draw(*at, n=n, seed=1),) * 2  # noqa: E731
    jacobian, x = jax.jacfwd(f, tuple(numbers), has_aux=True)(*law.at)
    found = {i: np.asarray(g, float) for i, g in zip(numbers, jacobian, strict=True) if abs(law.at[i]) < INF}
    return np.asarray(x, float), found


@pytest.mark.parametrize("law", [law for law in LAWS if law.unique], ids=repr)
@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_gradients_are_those_of_the_distribution_function(law, x64):
    with jax.enable_x64(x64):
        x, found = slopes(law)
    if not x64:  # where the float32 parameters are
        law = dataclasses.replace(law, at=tuple(float(np.float32(v)) for v in law.at))
    x = x[:200]
    spread = np.ptp(x) / np.abs(x).max()  # what rounding x itself costs
    for i, slope in found.items():
        exact = implicit_gradient(law, x, i)
        size = np.abs(exact) + np.median(np.abs(exact)) + 1e-30
        np.testing.assert_array_less(np.abs(slope[:200] - exact) / size, 2e-6 if x64 else 2e-5 + 2e-6 / spread)


FUSED = ("kumaraswamy", "relaxed_bernoulli", "logit_normal", "continuous_bernoulli")  # last bits are XLA's
ONE_OF_EACH = list({law.name: law for law in reversed([*LAWS, VON_MISES])}.values())


@pytest.mark.slow
@pytest.mark.parametrize("law", ONE_OF_EACH, ids=repr)
def test_one_draw_whatever_is_around_it(law):
    """jit and vmap over keys and parameters, forward and reverse mode, and no differentiation give the same draws.

    A bad parameter, which compiled code cannot refuse, makes its own row NaN.
    """
    last = len(law.at) - 1
    close = partial(np.testing.assert_allclose, rtol=3e-6)
    same = close if law.name in FUSED else np.testing.assert_array_equal
    n, numbers = (50, [last]) if law.name == "beta" else (N, None)  # of thousands, a beta draw's last bit is XLA's
    x = np.asarray(law.draw(n=n, seed=1))
    forward, found = slopes(law, n, numbers)
    same(x, forward)
    backward, pull = jax.vjp(lambda last: law.draw(*law.at[:-1], last, n=n, seed=1), law.at[-1])
    same(x, backward)
    some = (np.arange(n) < 50).astype(np.float32)
    assert np.allclose(pull(some)[0], found[last][:50].sum(), rtol=1e-4, atol=1e-5)

    by_row = jax.vmap(lambda key, at, last: law.sampler(key, *at, last, shape=(n,)), (0, None, 0))
    keys, lasts = jnp.stack([key_of(1), key_of(2), key_of(3)]), jnp.array([law.at[-1], law.at[-1], -INF])
    rows = jax.jit(by_row)(keys, law.at[:-1], lasts)
    assert np.allclose(rows[0, :50], x[:50], rtol=3e-6)
    assert np.allclose(rows[1, :50], law.draw(n=n, seed=2)[:50], rtol=3e-6)
    assert np.isnan(rows[2]).all()


def moments(law, i, step=1e-4):
    """d E[x] / dθᵢ and d E[x²] / dθᵢ by SciPy's moments."""

    def at(change):
        law_at = law.scipy(*(v + change if j == i else v for j, v in enumerate(law.at)))
        return np.array([law_at.mean(), law_at.var() + law_at.mean() ** 2])

    h = step * max(abs(law.at[i]), 1e-3)
    return (at(h) - at(-h)) / (2 * h)


def has_moments(law):
    """Whether mean and variance are finite, and SciPy's to more than half of their digits."""
    if law.name == "truncated_normal":
        return np.ptp(law.at[2:]) > 0.01 and max(law.at[2], -law.at[3]) < 10
    heavy = law.name in ("cauchy", "pareto", "half_cauchy", "half_student_t")
    return not heavy and (law.name != "student_t" or law.at[0] > 8) and law.at[0] < 1e6


FINITE = [law for law in LAWS if has_moments(law)]


@pytest.mark.slow
@pytest.mark.parametrize("law", FINITE, ids=repr)
def test_mean_gradients_are_gradients_of_the_means(law):
    with jax.enable_x64(True):
        x, found = slopes(law)
    for i, slope in found.items():
        for estimate, exact in zip((slope, 2 * x * slope), moments(law, i), strict=True):
            error = estimate.std() / np.sqrt(len(x))
            assert abs(estimate.mean() - exact) < 4.5 * error + 1e-6 * abs(exact) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("law", TRUNCATED[::2], ids=repr)
def test_truncated_gradients_are_derivatives_of_the_draw(law):
    """A draw is the inverse of F at one uniform, so differences at one key are its gradients."""
    with jax.enable_x64(True):
        _, found = slopes(law)
        for i, slope in found.items():
            h = 1e-6
            ends = [law.draw(*law.at[:i], law.at[i] + d, *law.at[i + 1 :], n=N, seed=1) for d in (h, -h)]
            by_difference = np.asarray(ends[0] - ends[1]) / (2 * h)
            assert np.abs(slope - by_difference).max() < 1e-6 * max(1.0, np.abs(slope).max())


@pytest.mark.parametrize("law", COMPOSED, ids=repr)
def test_mean_gradients_of_composed_draws_given_their_value(law):
    """Averaged over draws of about one value they are the distribution function's: here by moments of a bounded g."""
    from scipy.integrate import quad

    def expectation(*at):
        frozen = law.scipy(*at)
        return quad(lambda u: np.tanh(frozen.ppf(u)), 0, 1, epsabs=1e-9, epsrel=1e-9, limit=500)[0]

    i, h = 0, 1e-3 * law.at[0]
    exact = (expectation(law.at[0] + h, *law.at[1:]) - expectation(law.at[0] - h, *law.at[1:])) / (2 * h)
    with jax.enable_x64(True):
        x, found = slopes(law)
    slope = found[i]
    estimate = np.where(np.abs(x) < 300, slope / np.cosh(np.clip(x, -300, 300)) ** 2, 0.0)
    assert abs(estimate.mean() - exact) < 4.5 * estimate.std() / np.sqrt(len(x)) + 1e-6


@pytest.mark.parametrize("law", TRUNCATED, ids=repr)
def test_truncated_draws_stay_inside(law):
    x = np.asarray(law.draw(n=N, seed=5))
    assert x.min() >= np.float32(law.at[2])
    assert x.max() <= np.float32(law.at[3])
    assert len(np.unique(x)) > 1000


def test_truncated_where_jax_returns_the_end():
    for low, high in ((6.0, 7.0), (8.0, INF)):
        x = reparam.truncated_normal(jax.random.key(0), 0.0, 1.0, low, high, shape=(N,))
        exact = st.truncnorm(low, high)
        assert abs(float(x.mean()) - exact.mean()) < 5 * exact.std() / N**0.5
        assert x.dtype == jnp.float32


@pytest.mark.parametrize("a", [1e-3, 0.01, 0.05])
def test_small_concentrations_keep_their_gradient_in_float32(a):
    """log x = (log u + log Γ(a + 1)) / a up to x, so d log x / da = (ψ(a + 1) − log x) / a."""
    from scipy.special import digamma

    x, found = slopes(dataclasses.replace(LOGGAMMA[0], at=(a,)))
    tiny = x < -30
    exact = (digamma(np.float32(a) + 1.0) - x[tiny]) / np.float32(a)
    assert np.allclose(found[0][tiny], exact, rtol=1e-5)
    assert tiny.sum() > 4_000
    assert np.isfinite(found[0]).all()


@pytest.mark.parametrize("law", [law for law in GAMMA if law.name == "gamma"], ids=repr)
def test_gamma_is_the_exponential_of_loggamma(law):
    a, rate = law.at
    log_x = np.asarray(LOGGAMMA[0].draw(a, n=N, seed=1))[:100]
    assert np.allclose(np.asarray(law.draw(n=N, seed=1))[:100] * rate, np.exp(log_x), rtol=3e-6)


@pytest.mark.parametrize("ab", [(0.01, 0.01), (1e-4, 1e-4), (0.01, 2.0)])
def test_beta_near_its_ends_is_finite_and_right(ab):
    f = lambda a, b: reparam.beta(jax.random.key(4), a, b, shape=(N,))  # noqa: E731
    x = np.asarray(f(*ab), float)
    assert np.isfinite(x).all()
    assert np.isfinite(jax.jacfwd(f, (0, 1))(*ab)).all()
    for edge in (1e-30, 1e-6, 0.3, 0.9):
        exact = st.beta(*ab).cdf(edge)
        assert abs(np.mean(x < edge) - exact) < 4.5 * np.sqrt(exact * (1 - exact) / len(x)) + 1e-6


@pytest.mark.parametrize("a", [1e-20, 1e-30])
def test_tiny_concentrations_have_finite_gradients_in_float32(a):
    """Draws are corners, and stay there; half of them in the first of three with concentrations a, a / 2, a / 2."""

    @jax.jit
    def draws(a):
        c = a * jnp.array([1.0, 0.5, 0.5], jnp.float32)
        return reparam.dirichlet(key_of(2), c, shape=(N,)), reparam.gamma(key_of(2), a), reparam.beta(key_of(2), a, a)

    (x, *_), slopes = jax.jvp(draws, (np.float32(a),), (np.float32(1.0),))
    assert np.abs(np.asarray(x).mean(0) - [0.5, 0.25, 0.25]).max() < 4.5 * 0.5 / np.sqrt(N)
    assert all(np.all(np.asarray(s) == 0) for s in slopes)


def test_beta_next_to_1_is_rounded_once():
    with jax.enable_x64(False):
        x = reparam.beta(key_of(3), 1e7, 2.0, shape=(N,))
    assert kolmogorov(x, st.beta(1e7, 2.0)) < LIMIT


def test_the_horseshoe_is_a_normal_of_half_cauchy_scale():
    from scipy.integrate import quad

    x = np.abs(np.asarray(reparam.horseshoe(key_of(5), 0.5, shape=(N,)), float))
    for at in (0.01, 0.1, 0.5, 2.0, 20.0):

        def given(angle, at=at):  # the scale is 0.5 tan(angle), the angle uniform
            return (2 * st.norm.cdf(at / (0.5 * np.tan(angle))) - 1) * 2 / np.pi

        p = quad(given, 0, np.pi / 2, limit=200)[0]
        assert abs(np.mean(x < at) - p) < 5 * np.sqrt(p * (1 - p) / N)
