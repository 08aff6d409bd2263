"""The u-error that is claimed, where densities have tails heavier than powers, gaps and jumps: F from SciPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcmc import InverseCDF
from mcmc.errors import SamplingError

U = np.concatenate([np.geomspace(1e-9, 0.1, 40), np.linspace(0.1, 0.9, 41)[1:-1], 1 - np.geomspace(0.1, 1e-9, 40)])
INF = math.inf


def exp_t(df):
    """The exponential of a t: its tails are heavier than any power."""
    return lambda x: -jnp.log(x) - (df + 1) / 2 * jnp.log1p(jnp.log(x) ** 2 / df)


def log_normalizer_t(df):
    return -stats.t(df).logpdf(0)


def u_error(s, cdf):
    """The largest |F(Q(u)) - u|."""
    with jax.enable_x64(True):
        return np.max(np.abs(cdf(np.asarray(s.icdf(U))) - U))


@pytest.mark.parametrize(("df", "tol"), [(30, 1e-10), (3, 1e-6)])
def test_tails_heavier_than_any_power_are_certified(df, tol):
    s = InverseCDF.fit(exp_t(df), (0, INF), tol=tol)
    assert u_error(s, lambda x: stats.t(df).cdf(np.log(x))) <= float(s.u_error) + 1e-14 <= tol
    assert abs(float(s.log_normalizer) - log_normalizer_t(df)) < 2 * tol


@pytest.mark.parametrize(("df", "ends"), [(3, (0, INF)), (1, (0, INF)), (3, (0, 1)), (3, (1, INF))])
def test_mass_out_of_reach_is_refused_with_its_size(df, ends):
    with pytest.raises(SamplingError, match=r"of the mass lies (nearer than 1e-299|beyond 1e299).*larger tol"):
        InverseCDF.fit(exp_t(df), ends)


def pieces(*ends):
    """The distribution function of a uniform on some intervals."""
    low, high = np.array(ends).T
    return lambda x: np.sum(np.clip(x[:, None] - low, 0, high - low), 1) / np.sum(high - low)


GAPS = {
    "mirrored": (lambda x: jnp.where((abs(x) > 1) & (abs(x) < 2), 0.0, -jnp.inf), (-3, 3), [(-2, -1), (1, 2)]),
    "inside": (lambda x: jnp.where((x < 1) | (x > 3), 0.0, -jnp.inf), (0, 4), [(0, 1), (3, 4)]),
    "on the line": (
        lambda x: jnp.where(((x > 0) & (x < 1)) | ((x > 3) & (x < 4)), 0.0, -jnp.inf),
        (-INF, INF),
        [(0, 1), (3, 4)],
    ),
    "three": (
        lambda x: jnp.where((x % 1 > 0.3) & (x % 1 < 0.7), 0.0, -jnp.inf),
        (0, 3),
        [(0.3, 0.7), (1.3, 1.7), (2.3, 2.7)],
    ),
}


@pytest.mark.parametrize("name", GAPS)
def test_gaps_need_no_breaks(name):
    log_density, ends, intervals = GAPS[name]
    s = InverseCDF.fit(log_density, ends)
    assert u_error(s, pieces(*intervals)) <= 1e-10
    assert abs(float(s.log_normalizer) - math.log(sum(b - a for a, b in intervals))) < 1e-10


def test_zero_regions_with_kinks_need_no_breaks():
    s = InverseCDF.fit(lambda x: jnp.log(jnp.maximum(jnp.sin(2 * jnp.pi * x), 0)), (0, 3))

    def cdf(x):
        whole, part = np.floor(x), np.minimum(x % 1, 0.5)
        return (whole + (1 - np.cos(2 * np.pi * part)) / 2) / 3

    assert u_error(s, cdf) <= 1e-10
    assert abs(float(s.log_normalizer) - math.log(3 / math.pi)) < 1e-10
