"""One front door: functions in JAX, NumPy or SciPy, and of one number, for both direct samplers of one dimension."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcmc

INF = math.inf
KEY = jax.random.key(2)


def branching(x):
    """A normal's middle with exponential tails, of one number."""
    if abs(x) < 1:
        return -0.5 * x * x
    return 0.5 - abs(x)


def branching_cdf(x):
    """The same law's, in closed form."""
    top = math.sqrt(2 * math.pi) * (stats.norm.cdf(1) - stats.norm.cdf(-1))
    tail = math.exp(-0.5)
    middle = tail + math.sqrt(2 * math.pi) * (stats.norm.cdf(np.clip(x, -1, 1)) - stats.norm.cdf(-1))
    left, right = tail * np.exp(np.minimum(x, -1) + 1), top + 2 * tail - tail * np.exp(1 - np.maximum(x, 1))
    return np.where(x < -1, left, np.where(x > 1, right, middle)) / (top + 2 * tail)


def counted(x, rate):
    return 1.5 * np.log(x) - rate * x


GIVEN = {
    "scipy": (stats.gamma(2.5).logpdf, (0.0, INF), (), stats.gamma(2.5).cdf),
    "numpy": (counted, (0.0, INF), (2.0,), stats.gamma(2.5, scale=0.5).cdf),
    "branching": (branching, (-INF, INF), (), branching_cdf),
    "math": (lambda x: -math.log(math.cosh(x)) if abs(x) < 300 else 0.7 - abs(x), (-INF, INF), (), stats.hypsecant.cdf),
    "heavy": (stats.cauchy(1.0, 2.0).logpdf, (-INF, INF), (), stats.cauchy(1.0, 2.0).cdf),
}


@pytest.mark.parametrize("name", GIVEN)
def test_inverse_cdf_takes_it(name):
    f, support, params, cdf = GIVEN[name]
    s = mcmc.InverseCDF.fit(f, support, params=params)
    assert s.u_error <= 1e-10
    u = np.array([1e-6, 0.01, 0.3, 0.5, 0.8, 0.99, 1 - 1e-6])
    with jax.enable_x64(True):
        assert np.abs(cdf(np.asarray(s.icdf(u))) - u).max() < 1e-9
        assert np.allclose(s.cdf(s.icdf(u)), u, atol=1e-9)


@pytest.mark.parametrize("name", GIVEN)
def test_rejection_takes_it(name):
    f, support, params, cdf = GIVEN[name]
    r = mcmc.Rejection.fit(f, support, params=params)
    x, info = r.sample_with_info(KEY, (50_000,))
    assert info.violations == 0
    assert info.acceptance_rate > 0.98
    assert stats.kstest(np.asarray(x, float), cdf).pvalue > 1e-3
    if name in ("scipy", "numpy"):
        assert r.proof == "log-concave tangents"


def test_samplers_of_it_enter_compiled_code():
    r, s = mcmc.Rejection.fit(branching, (-INF, INF)), mcmc.InverseCDF.fit(branching, (-INF, INF))
    at = jnp.linspace(-3, 3, 7)
    exact = [branching(float(x)) for x in at]
    np.testing.assert_allclose(jax.jit(jax.vmap(r.log_prob))(at), exact, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(s.log_prob)(at) + s.log_normalizer, exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jax.jit(s.cdf)(at), branching_cdf(np.asarray(at)), atol=1e-6)
    np.testing.assert_array_equal(jax.jit(lambda k: r.sample(k, (64,)))(KEY), r.sample(KEY, (64,)))


def test_it_is_evaluated_where_its_support_is():
    def inside(x):
        assert 2.0 < x < 3.0
        return math.log(x - 2) + math.log(3 - x)

    s = mcmc.InverseCDF.fit(inside, (2.0, 3.0))
    assert np.allclose(s.icdf(0.25), 2 + stats.beta(2, 2).ppf(0.25), atol=1e-6)
    r = mcmc.Rejection.fit(inside, (2.0, 3.0))
    assert stats.kstest(np.asarray(r.sample(KEY, (5000,))) - 2.0, stats.beta(2, 2).cdf).pvalue > 1e-3


def test_what_none_of_them_takes_is_said():
    def own_mistake(x):
        raise KeyError("theta")

    for fit in (mcmc.InverseCDF.fit, mcmc.Rejection.fit):
        with pytest.raises(KeyError, match="theta"):
            fit(own_mistake, (0.0, 1.0))
        with pytest.raises(ValueError, match="shape"):
            fit(lambda x: np.atleast_1d(np.sum(x)), (0.0, 1.0))
        with pytest.raises(mcmc.SamplingError, match="NaN"):
            fit(lambda x: math.log(x - 0.5) if x else 0.0, (0.0, 1.0))
