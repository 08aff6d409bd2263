"""Functions whose own arithmetic overflows where the density has long vanished, and those that are wrong nearer."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcmc

INF = math.inf
KEY = jax.random.key(4)


def planck(x):  # x³ / (exp(x) - 1), of which exp overflows at 709
    return 3 * jnp.log(x) - jnp.log(jnp.expm1(x))


def planck_by_math(x):
    return 3 * math.log(x) - math.log(math.expm1(x))


def hyperbolic(x):  # cosh(x) exp(-x²): two normals
    return jnp.log(jnp.cosh(x)) - x * x


def planck_cdf(x):
    at = np.linspace(1e-9, 60, 60_001)
    mass = np.concatenate(
        [[0.0], np.cumsum(np.diff(at) * (at[1:] ** 3 / np.expm1(at[1:]) + at[:-1] ** 3 / np.expm1(at[:-1])) / 2)]
    )
    return np.interp(x, at, mass / mass[-1])


def hyperbolic_cdf(x):
    return (stats.norm.cdf(x, -0.5, math.sqrt(0.5)) + stats.norm.cdf(x, 0.5, math.sqrt(0.5))) / 2


CASES = {
    "planck": (planck, (0.0, INF), planck_cdf),
    "math": (planck_by_math, (0.0, INF), planck_cdf),
    "cosh": (hyperbolic, (-INF, INF), hyperbolic_cdf),
}


@pytest.mark.parametrize("name", CASES)
def test_what_overflows_far_out_is_no_mass(name):
    f, support, cdf = CASES[name]
    s, r = mcmc.InverseCDF.fit(f, support), mcmc.Rejection.fit(f, support)
    u = np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    with jax.enable_x64(True):
        assert np.abs(cdf(np.asarray(s.icdf(u))) - u).max() < 1e-6
    assert stats.kstest(np.asarray(r.sample(KEY, (20_000,)), float), cdf).pvalue > 1e-3


def test_what_is_nan_before_the_density_has_vanished_is_an_error():
    for fit in (mcmc.InverseCDF.fit, mcmc.Rejection.fit):
        with pytest.raises(mcmc.SamplingError, match="NaN"):
            fit(lambda x: jnp.where(x > 20, jnp.nan, -x), (0.0, INF))
        with pytest.raises(mcmc.SamplingError, match="inf"):
            fit(lambda x: jnp.where(x > 20, jnp.inf, -x), (0.0, INF))
