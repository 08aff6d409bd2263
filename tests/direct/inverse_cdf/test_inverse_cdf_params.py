"""InverseCDF with parameters: inside jit, vmap and grad; and from a distribution or quantile function."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from densities import BY_NAME, INF
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mcmc.direct.inverse_cdf.inverse_cdf import InverseCDF
from mcmc.direct.inverse_cdf.solved import Solved

U = np.array([1e-9, 1e-4, 0.02, 0.3, 0.5, 0.8, 0.97, 0.99999])


def normal(x, loc, scale):
    return -0.5 * ((x - loc) / scale) ** 2


def weibull(x, k):
    return (k - 1) * jnp.log(x) - x**k


@jax.jit
def normal_quantiles(u, loc, scale):
    s = InverseCDF.fit(normal, (-INF, INF), params=(loc, scale))
    return s.icdf(u), s.u_error


@jax.jit
def normal_with_gradients(u, loc, scale):
    """Quantiles and their u-error; draws and the log normaliser, and the gradients of these two by loc and scale."""

    def outputs(loc, scale):
        s = InverseCDF.fit(normal, (-INF, INF), params=(loc, scale))
        draws = s.sample(jax.random.key(0), (200,))
        return (draws, s.log_normalizer), (s.icdf(u), s.u_error, draws)

    gradients, (x, u_error, draws) = jax.jacrev(outputs, (0, 1), has_aux=True)(loc, scale)
    return x, u_error, draws, gradients


def weibull_quantile(u, k):
    return InverseCDF.fit(weibull, (0.0, INF), params=(k,)).icdf(u)


@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (1.0, 2.0), (1e4, 0.01), (-3.0, 50.0)])
def test_traced_parameters_and_their_gradients(loc, scale):
    with jax.enable_x64(True):
        x, u_error, draws, gradients = jax.device_get(normal_with_gradients(U, loc, scale))
    assert u_error < 2e-9
    assert np.abs(stats.norm.cdf(x, loc, scale) - U).max() < 1e-8
    (by_loc, by_scale), (normalizer_by_loc, normalizer_by_scale) = gradients
    np.testing.assert_allclose(by_loc, 1.0, rtol=1e-10 if loc < 1e4 else 1e-9)
    np.testing.assert_allclose(by_scale, (draws - loc) / scale, rtol=1e-6, atol=1e-7)
    assert normalizer_by_loc * scale == pytest.approx(0, abs=1e-10)
    assert normalizer_by_scale * scale == pytest.approx(1, rel=1e-10)


def test_traced_parameters_in_float32():
    x, u_error = normal_quantiles(jnp.asarray(U, jnp.float32), 0.0, 1.0)
    assert x.dtype == jnp.float32
    assert np.abs(stats.norm.cdf(np.asarray(x, float)) - U).max() < 3e-6
    assert u_error < 1e-5


def test_many_densities_under_vmap_and_gradients_of_their_quantiles():
    shapes = np.array([0.8, 1.2, 1.7, 2.3, 3.0])
    gradient = jax.vmap(jax.vmap(jax.value_and_grad(weibull_quantile, 1), (0, None)), (None, 0))
    with jax.enable_x64(True):
        values, gradients = map(np.asarray, jax.jit(gradient)(U, shapes))
    for value, gradient, k in zip(values, gradients, shapes, strict=True):
        np.testing.assert_allclose(stats.weibull_min.cdf(value, k), U, rtol=1e-4, atol=1e-8)
        at_value = -value * np.log(value) / k  # the closed form's derivative, at the x that came out
        assert np.all(np.abs(gradient - at_value) < 1e-10 * (np.abs(at_value) + 1e-3))
        f, step = -np.log1p(-U), 1e-6
        difference = (f ** (1 / (k + step)) - f ** (1 / (k - step))) / (2 * step)
        assert np.all(np.abs(gradient - difference) < 1e-4 * (np.abs(difference) + 1e-3))


def test_gradients_with_respect_to_u():
    with jax.enable_x64(True):
        s = InverseCDF.fit(lambda x: normal(x, 0.0, 1.0), (-INF, INF))
        u = np.array([1e-10, 0.2, 0.9])
        gradients = jax.jit(jax.vmap(jax.grad(s.icdf)))(u)
        np.testing.assert_allclose(gradients, 1 / stats.norm.pdf(stats.norm.ppf(u)), rtol=1e-5)


def test_concrete_parameters_take_the_certified_setup():
    s = InverseCDF.fit(normal, (-INF, INF), params=(1.0, 2.0))
    assert isinstance(s.u_error, float)
    assert s.u_error <= 1e-10
    with jax.enable_x64(True):
        np.testing.assert_allclose(stats.norm.cdf(np.asarray(s.icdf(jnp.asarray(U))), 1, 2), U, rtol=2e-5)
    assert s.sample(jax.random.key(1), (5,)).shape == (5,)


def test_a_tolerance_is_refused_with_traced_parameters():
    with pytest.raises(ValueError, match="tol"):
        jax.jit(lambda a: InverseCDF.fit(normal, (-INF, INF), tol=1e-6, params=(a, 1.0)).icdf(0.5))(0.0)


@pytest.mark.parametrize("name", ["steps", "gap"])
def test_an_error_that_is_large_is_said(name):
    density = BY_NAME[name]
    with jax.enable_x64(True):
        u = jnp.linspace(0.001, 0.999, 999)

        def quantiles(shift):
            s = InverseCDF.fit(lambda x, a: density.log_density(x) + a, density.support, params=(shift,))
            return s.icdf(u), s.u_error

        x, u_error = map(np.asarray, jax.jit(quantiles)(0.0))
    error = np.abs(density.cdf(np.asarray(x)) - np.asarray(u)).max()
    assert error < 0.05
    assert u_error > 0.3 * error


@settings(deadline=None, derandomize=True, max_examples=12)
@given(st.lists(st.tuples(st.floats(0.05, 1.0), st.floats(-30.0, 30.0), st.floats(0.01, 5.0)), min_size=1, max_size=4))
def test_random_mixtures(parts):
    weights, locs, scales = (np.array(column) for column in zip(*parts, strict=True))
    weights = weights / weights.sum()

    def log_density(x):
        return jax.nn.logsumexp(jnp.log(weights / scales) - 0.5 * ((x[:, None] - locs) / scales) ** 2, axis=-1)

    s = InverseCDF.fit(log_density, (-INF, INF))
    u = np.concatenate([np.linspace(0, 1, 2001)[1:-1], np.logspace(-14, -3, 30)])
    with jax.enable_x64(True):
        x = np.asarray(s.icdf(jnp.asarray(u)))
    cdf = np.sum(weights * stats.norm.cdf(x[:, None], locs, scales), axis=-1)
    assert np.abs(cdf - u).max() < 1e-10
    assert np.all(np.diff(x[:1999]) >= 0)


# --- functions that are known ---------------------------------------------------------------------------


def exponential(x, rate=1.0):
    return -jnp.expm1(-rate * x)


def test_from_cdf():
    s = InverseCDF.from_cdf(exponential, (0.0, INF))
    with jax.enable_x64(True):
        np.testing.assert_allclose(s.icdf(jnp.asarray(U)), -np.log1p(-U), rtol=1e-10)
        assert s.log_prob(2.0) == pytest.approx(-2.0, abs=1e-9)
        assert s.cdf(2.0) == pytest.approx(-math.expm1(-2.0))
    np.testing.assert_allclose(s.icdf(U), -np.log1p(-U), rtol=1e-3)
    assert np.all(np.isnan(s.icdf(jnp.array([-1.0, 2.0, jnp.nan]))))
    np.testing.assert_array_equal(s.icdf(jnp.array([0.0, 1.0])), [0.0, INF])
    with jax.enable_x64(True):
        draws = np.asarray(s.sample(jax.random.key(0), (5000,)))
    assert stats.kstest(draws, stats.expon.cdf).pvalue > 1e-3


def test_from_cdf_on_the_whole_line_and_with_steps():
    with jax.enable_x64(True):
        s = InverseCDF.from_cdf(jax.scipy.stats.norm.cdf, (-INF, INF))
        np.testing.assert_allclose(s.icdf(jnp.asarray(U)), stats.norm.ppf(U), rtol=1e-9, atol=1e-12)
        gap = InverseCDF.from_cdf(lambda x: jnp.interp(x, *map(np.array, ([0, 1, 3, 4], [0, 0.5, 0.5, 1]))), (0.0, 4.0))
        np.testing.assert_allclose(gap.icdf(jnp.array([0.25, 0.75])), [0.5, 3.5])


def test_from_cdf_is_differentiable_in_its_parameters():
    def quantile(rate, u):
        return InverseCDF.from_cdf(exponential, (0.0, INF), params=(rate,)).icdf(u)

    with jax.enable_x64(True):
        by_rate, by_u = jax.jit(jax.grad(quantile, (0, 1)))(2.0, 0.3)
        assert by_rate == pytest.approx(math.log(0.7) / 4, rel=1e-9)
        assert by_u == pytest.approx(1 / (2 * 0.7), rel=1e-9)


def test_from_icdf():
    s = InverseCDF.from_icdf(lambda u: -jnp.log1p(-u))
    assert isinstance(s, Solved)
    assert s.support == (0.0, INF)
    with jax.enable_x64(True):
        x = jnp.array([0.01, 0.5, 3.0])
        np.testing.assert_allclose(s.cdf(x), -np.expm1(-np.asarray(x)), rtol=1e-9)
        np.testing.assert_allclose(s.log_prob(x), -np.asarray(x), atol=1e-9)
        assert s.log_prob(-1.0) == -INF
        draws = np.asarray(s.sample(jax.random.key(0), (5000,)))
    assert stats.kstest(draws, stats.expon.cdf).pvalue > 1e-3


def test_functions_that_can_not_be():
    with pytest.raises(ValueError, match="at the ends"):
        InverseCDF.from_cdf(lambda x: 0.5 * exponential(x), (0.0, INF))
    with pytest.raises(ValueError, match="does not fall"):
        InverseCDF.from_cdf(lambda x: x + 0.3 * jnp.sin(2 * jnp.pi * x), (0.0, 1.0))
    with pytest.raises(ValueError, match="does not fall"):
        InverseCDF.from_icdf(lambda u: -u)
    with pytest.raises(ValueError, match="NaN"):
        InverseCDF.from_icdf(lambda u: u * jnp.nan)
    with pytest.raises(TypeError, match="cdf"):
        InverseCDF.from_cdf(1.0, (0.0, 1.0))
    with pytest.raises(ValueError, match="support"):
        InverseCDF.from_cdf(exponential, (1.0, 0.0))
