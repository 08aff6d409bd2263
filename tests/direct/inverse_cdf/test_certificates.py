"""The u-error that is claimed, where densities have tails heavier than powers, gaps and jumps: F from SciPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

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


def power(at, k):
    return lambda x: k * jnp.log(abs(x - at))


POLES = {  # the log normaliser in closed form
    "Kumaraswamy(0.3, 0.2)": (lambda x: -0.7 * jnp.log(x) - 0.8 * jnp.log1p(-(x**0.3)), (0, 1), (), -math.log(0.06)),
    "arcsine on (3, 5)": (lambda x: -0.5 * (jnp.log(x - 3) + jnp.log(5 - x)), (3, 5), (), math.log(math.pi)),
    "Beta(0.1, 0.1)": (
        lambda x: -0.9 * (jnp.log(x) + jnp.log1p(-x)),
        (0, 1),
        (),
        math.log(math.gamma(0.1) ** 2 / math.gamma(0.2)),
    ),
    "inside": (power(1, -0.5), (0, 2), (1.0,), math.log(4)),
    "inside, strong": (power(1, -0.95), (0, 2), (1.0,), math.log(40)),
    "at 0, inside": (power(0, -0.5), (-1, 2), (0.0,), math.log(2 + 2 * math.sqrt(2))),
    "of a logarithm": (lambda x: jnp.log(-jnp.log(abs(x - 0.5))), (0, 1), (0.5,), math.log(1 + math.log(2))),
}


@pytest.mark.parametrize("name", POLES)
def test_poles_at_either_end_and_at_breaks(name):
    log_density, ends, breaks, expected = POLES[name]
    s = InverseCDF.fit(log_density, ends, breaks=breaks)
    assert float(s.u_error) <= 1e-10
    assert abs(float(s.log_normalizer) - expected) < 2e-10


def test_quantiles_about_a_pole_inside():
    s = InverseCDF.fit(power(1, -0.5), (0, 2), breaks=(1.0,))
    apart = U[np.abs(U - 0.5) > 1e-7]  # there the floats about 1 are too coarse
    with jax.enable_x64(True):
        x = np.asarray(s.icdf(apart))
    cdf = 0.5 + 0.5 * np.sign(x - 1) * np.sqrt(np.abs(x - 1))
    rounding = np.spacing(1.0) / np.sqrt(np.maximum(np.abs(x - 1), 1e-300))
    assert np.all(np.abs(cdf - apart) <= 1e-10 + rounding)


def test_a_larger_tolerance_succeeds_where_the_message_says_so():
    def log_density(x):
        return -0.99 * (jnp.log(x) + jnp.log1p(-x))

    with pytest.raises(SamplingError, match=r"Allow a larger tol\. \(More: mcmc explain sampling\)$"):
        InverseCDF.fit(log_density, (0, 1))
    s = InverseCDF.fit(log_density, (0, 1), tol=1e-8)
    assert abs(float(s.log_normalizer) - math.log(math.gamma(0.01) ** 2 / math.gamma(0.02))) < 1e-8


def sinc(at):
    return lambda x: 2 * jnp.log(jnp.abs(jnp.sin(x - at) / (x - at)))


SINGULAR = {  # the log normaliser in closed form
    "0/0": (sinc(0.0), (-3, 3), math.log(2 * (special.sici(6)[0] - math.sin(3) ** 2 / 3))),
    "0/0, elsewhere": (sinc(0.5), (-2.5, 3.5), math.log(2 * (special.sici(6)[0] - math.sin(3) ** 2 / 3))),
    "a pole": (power(1, -0.5), (0, 2), math.log(4)),
    "a pole at 0": (lambda x: -0.5 * jnp.log(abs(x)) - x**2, (-INF, INF), special.gammaln(0.25)),
    "a pole between floats": (
        lambda x: -0.5 * jnp.log(jnp.abs(jnp.sin(x))),
        (0, 2 * math.pi),
        math.log(2 * special.beta(0.25, 0.5)),
    ),
    "two poles": (lambda x: -0.5 * jnp.log(jnp.abs(x**2 - 2)), (-math.sqrt(8), math.sqrt(8)), None),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_points_inside_need_no_breaks(name):
    log_density, ends, expected = SINGULAR[name]
    s = InverseCDF.fit(log_density, ends)
    assert s.u_error <= 1e-10
    if expected is None:  # arcsin to the poles and arcosh beyond, on both sides
        expected = math.log(2 * (math.pi / 2 + math.acosh(2)))
    assert abs(float(s.log_normalizer) - expected) < 2e-10


def test_numbers_too_coarse_for_the_density_are_no_error():
    """Of 1e7 floats: what two of them are apart is worth 1e-7 of the mass."""
    s = InverseCDF.fit(lambda x: 0 * x, (1e6, 1e6 + 1e-3))
    with jax.enable_x64(True):
        assert np.allclose((np.asarray(s.icdf(U)) - 1e6) / 1e-3, U, atol=5e-7)


DEEP = {
    "normal": (lambda x: -0.5 * x**2, (-INF, INF), stats.norm, (10.0, 20.0, 35.0)),
    "exponential": (lambda x: -x, (0, INF), stats.expon, (1e-200, 60.0, 600.0)),
    "gamma": (lambda x: 2 * jnp.log(x) - x, (0, INF), stats.gamma(3), (1e-80, 100.0, 600.0)),
    "lognormal": (lambda x: -jnp.log(x) - 0.5 * jnp.log(x) ** 2, (0, INF), stats.lognorm(1), (1e-10, 1e9, 1e14)),
    "t": (lambda x: -2.5 * jnp.log1p(x**2 / 4), (-INF, INF), stats.t(4), (1e8, 1e20, 1e40)),
    "Gumbel": (lambda x: -x - jnp.exp(-x), (-INF, INF), stats.gumbel_r, (-5.0, 100.0, 600.0)),
}


@pytest.mark.parametrize("name", DEEP)
def test_tails_out_of_reach_of_draws_keep_their_precision(name):
    log_density, ends, law, x = DEEP[name]
    s, q, x = InverseCDF.fit(log_density, ends), np.array([1e-250, 1e-100, 1e-30, 1e-19]), np.array(x)
    with jax.enable_x64(True):
        np.testing.assert_allclose(s.sf(x), law.sf(x), rtol=1e-10)
        np.testing.assert_allclose(s.cdf(x), law.cdf(x), rtol=1e-10)
        for found, expected in ((s.isf(q), law.isf(q)), (s.icdf(q), law.ppf(q))):
            known = np.isfinite(expected) & (expected != 0)  # where SciPy has an answer
            np.testing.assert_allclose(np.asarray(found)[known], expected[known], rtol=1e-10)


def normal(x):
    return -0.5 * x**2


def test_a_pole_that_floats_do_not_resolve_is_refused():
    """Breaks that crowd it leave no room for a power law: the next floats hold 3e-8 of the mass."""
    with pytest.raises(SamplingError, match=r"u-error of .*e-08"):
        InverseCDF.fit(power(1, -0.5), (0.5, 1.25), breaks=(1 - 2e-16, 1.0, 1 + 3e-16))


def test_survival_and_its_inverse_keep_their_precision():
    s, q = InverseCDF.fit(normal, (-INF, INF)), np.geomspace(1e-15, 0.9, 20)
    with jax.enable_x64(True):
        assert np.allclose(s.isf(q), stats.norm.isf(q), rtol=1e-8, atol=1e-9)
        x = stats.norm.isf(q)
        assert np.allclose(s.sf(x), q, rtol=1e-7)
        assert list(s.isf(np.array([0.0, 1.0]))) == [INF, -INF]
        assert list(s.sf(np.array([-INF, INF]))) == [1, 0]


@pytest.mark.parametrize(("low", "high"), [(-1, 2), (8, INF), (-INF, -30)])
def test_truncated_where_the_mass_is_tiny_too(low, high):
    s = InverseCDF.fit(normal, (-INF, INF)).truncated(low, high)
    law = stats.truncnorm(low, high)
    assert u_error(s, law.cdf) < 1e-9
    mass = stats.norm.logcdf(high) if low == -INF else math.log(stats.norm.sf(low) - stats.norm.sf(high))
    assert math.isclose(float(s.log_normalizer) - math.log(2 * math.pi) / 2, mass, abs_tol=1e-9)


def test_truncated_keeps_poles_and_narrow_modes():
    s = InverseCDF.fit(power(1, -0.5), (0, 2), breaks=(1.0,)).truncated(0.5, 1.25)
    assert abs(float(s.log_normalizer) - math.log(2 * math.sqrt(0.5) + 1)) < 1e-9
    narrow = InverseCDF.fit(lambda x: -0.5 * ((x - 0.123) / 1e-6) ** 2, (-INF, INF), breaks=(0.123,)).truncated(0, 1)
    assert abs(float(narrow.log_normalizer) - math.log(1e-6 * math.sqrt(2 * math.pi))) < 1e-9
    with pytest.raises(ValueError, match="low, high: got"):
        s.truncated(3, 4)
