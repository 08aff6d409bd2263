"""Envelopes that are found: the table of densities, what they rest on, what is refused, and the pieces themselves."""

import math
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from densities import BY_NAME, DENSITIES
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import mcmc
from mcmc.direct.rejection import envelope
from mcmc.direct.rejection.rejection import Rejection, RejectionResult
from mcmc.errors import EnvelopeViolation, SamplingError
from mcmc.random import philox

KEY = jax.random.wrap_key_data(jnp.arange(4, dtype=jnp.uint32), impl=philox.implementation)
N = 100_000
REFUSED = {"beta(0.5, 0.5)": "pole at 1"}
IN_DOUBLE = {  # what float64 may change: an offset, a scale, a spike, logarithmic coordinates, tails, many pieces
    "normal",
    "normal(1e6, 1)",
    "normal(1, 1e-5)",
    "gamma(0.2)",
    "student t(0.5)",
    "levy",
    "normal(0, 1) on [38, inf]",
    "a spike on a plain",
    "waves",
}
PIECEWISE = {"lognormal(0, 2)", "von mises(20)", "generalised normal(0.5)", "waves"}


KEPT = [density for density in DENSITIES if density.name not in REFUSED]


@cache
def fit(density):
    return Rejection.fit(density.log_density, density.support, breaks=density.breaks)


def any_of_them(x, which):
    return jax.lax.switch(which, [density.log_density for density in KEPT], x)


def shared(density):
    """The fitted sampler under a log density that all have in common: a program draws from all tables of one size."""
    sampler = fit(density)
    which = np.int32(KEPT.index(density))
    return replace(sampler, log_density=any_of_them, log_bound=float(sampler.log_bound), params=(which,))


def far_from(density, x):
    """The largest distance of the empirical distribution from the density's, less what rounding x makes."""
    x = np.sort(np.asarray(x))
    half = np.spacing(np.abs(x)).astype(float) * 1.5
    x = x.astype(float)
    low, high = (
        density.cdf(np.maximum(x - half, density.support[0])),
        density.cdf(np.minimum(x + half, density.support[1])),
    )
    ranks = np.arange(len(x) + 1) / len(x)
    return max(np.max(low - ranks[1:]), np.max(ranks[:-1] - high))


@pytest.mark.parametrize("density", KEPT, ids=lambda d: d.name)
def test_the_law(density):
    sampler = shared(density)
    limit = stats.kstwo.isf(1e-4, N)
    for wide in (False, True) if density.name in IN_DOUBLE else (False,):
        with jax.enable_x64(wide):
            x, info = sampler.sample_with_info(jax.random.key(0), (N,))
        assert x.dtype == (jnp.float64 if wide else jnp.float32)
        assert far_from(density, x) < limit
        rate = sampler.acceptance_rate
        assert abs(info.acceptance_rate - rate) < 4 * math.sqrt(rate * (1 - rate) / info.proposed) + 2e-4
    assert rate > 0.95
    assert sampler.proof != "unproven bound"
    if density.log_concave:
        assert sampler.proof == "log-concave tangents"
    if density.name in PIECEWISE:
        assert sampler.proof == "piecewise T-concave"


@pytest.mark.parametrize("name", REFUSED)
def test_a_pole_that_floats_are_too_coarse_for_is_refused(name):
    with pytest.raises(SamplingError, match=REFUSED[name] + r".*InverseCDF"):
        fit(BY_NAME[name])


def test_heavy_tails_are_t_concave():
    assert fit(BY_NAME["cauchy"]).proof == "T-concave"


def test_the_envelope_is_above_the_density_between_the_nodes():
    @jax.jit
    def over(sampler, x):
        return jax.vmap(sampler.log_density)(x) - sampler.proposal.log_prob(x)

    for name in ("two normals", "gamma(0.2)", "cauchy", "normal"):
        density = BY_NAME[name]
        sampler = fit(density)
        x = np.linspace(-12, 12, 200_001)
        x = x[(x > density.support[0]) & (x < density.support[1])]
        with jax.enable_x64(True):
            assert np.all(np.asarray(over(sampler, x)) <= float(sampler.log_bound))


def test_the_proposals_follow_their_density():
    proposal = fit(BY_NAME["two normals"]).proposal
    draw, log_prob = jax.jit(lambda p, key: p.sample_and_log_prob(key, (N,))), jax.jit(lambda p, x: p.log_prob(x))
    x, log_g = draw(proposal, KEY)
    np.testing.assert_allclose(log_prob(proposal, x), log_g, atol=2e-3)  # up to the pieces at a rounded edge
    with jax.enable_x64(True):
        grid = np.linspace(-30, 30, 600_001)
        g = np.exp(np.asarray(log_prob(proposal, grid), float))
    cdf = np.concatenate([[0], np.cumsum((g[1:] + g[:-1]) / 2 * np.diff(grid))])
    assert stats.kstest(np.asarray(x, float), lambda x: np.interp(x, grid, cdf)).pvalue > 0.001


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40))
@settings(deadline=None, derandomize=True, max_examples=50)
def test_alias_slots_share_exactly(units):
    slots = 1 << max(2, (len(units) - 1).bit_length())
    capacity = -(-sum(units) // slots)
    units = [*units[:-1], units[-1] + slots * capacity - sum(units)]
    threshold, alias = envelope.alias_slots(units, slots, capacity)
    share = [0] * len(units)
    for i, (t, other) in enumerate(zip(threshold, alias, strict=True)):
        assert 0 <= t <= capacity
        share[min(i, len(units) - 1)] += t
        share[other] += capacity - t
    assert share == units


def log_mixture(x, log_heights, locs, scales, logistic):
    """Up to four normals or logistics: arguments, so that one program draws from all of them."""
    t = (x - locs) / scales
    return jax.scipy.special.logsumexp(log_heights + jnp.where(logistic, -t - 2 * jnp.logaddexp(0.0, -t), -0.5 * t * t))


@given(
    st.lists(st.tuples(st.floats(0.05, 1), st.floats(-8, 8), st.floats(0.1, 3)), min_size=2, max_size=4),
    st.booleans(),
)
@settings(deadline=None, derandomize=True, max_examples=4)
def test_random_mixtures(parts, logistic):
    weights, locs, scales = np.array(parts).T
    weights /= weights.sum()
    law = stats.logistic if logistic else stats.norm
    log_heights = np.full(4, -np.inf)
    log_heights[: len(parts)] = np.log(weights / scales)
    locs, scales = np.resize(locs, 4), np.resize(scales, 4)
    sampler = Rejection.fit(log_mixture, (-math.inf, math.inf), params=(log_heights, locs, scales, float(logistic)))
    x, info = sampler.sample_with_info(KEY, (N,))

    def cdf(x):
        return sum(w * law.cdf(x, m, s) for w, m, s in zip(weights, locs, scales, strict=False))

    assert stats.kstest(np.asarray(x, float), cdf).pvalue > 1e-4
    assert info.acceptance_rate > 0.9


def test_float32_tails():
    x = np.asarray(fit(BY_NAME["normal"]).sample(KEY, (4_000_000,)), float)
    for z in (3.0, 4.0, 4.5):
        expected = len(x) * 2 * stats.norm.sf(z)
        assert abs(np.sum(abs(x) > z) - expected) < 4.5 * math.sqrt(expected)
    gamma = np.asarray(fit(BY_NAME["gamma(0.2)"]).sample(KEY, (1_000_000,)), float)
    assert np.all(gamma > 0)
    small = stats.gamma(0.2).cdf(1e-20) * len(gamma)
    assert abs(np.sum(gamma < 1e-20) - small) < 4.5 * math.sqrt(small)


def test_jit_vmap_and_keys():
    sampler = fit(BY_NAME["gamma(2.5)"])
    x = sampler.sample(KEY, (30_000,))
    np.testing.assert_array_equal(x, jax.jit(lambda r, k: r.sample(k, (30_000,)))(sampler, KEY))
    y, info = jax.vmap(lambda k: sampler.sample_with_info(k, (10,)))(jax.random.split(jax.random.key(0), 200))
    assert np.all(info.result == RejectionResult.OK)
    assert stats.kstest(np.asarray(y, float).ravel(), stats.gamma(2.5).cdf).pvalue > 0.001


def test_params_and_log_prob():
    sampler = Rejection.fit(
        lambda x, a, b: (a - 1) * jnp.log(x) - b * x, (0.0, math.inf), params=(3.0, np.float64(2.0))
    )
    assert stats.kstest(np.asarray(sampler.sample(KEY, (N,)), float), stats.gamma(3, scale=0.5).cdf).pvalue > 0.001
    x = jnp.array([[0.5, 1.0], [-1.0, 2.0]])
    expected = np.where(x > 0, 2 * np.log(np.abs(x)) - 2 * x, -np.inf)
    np.testing.assert_allclose(sampler.log_prob(x), expected, rtol=1e-5)


# --- what is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_density", "support", "message"),
    [
        (lambda x: -jnp.log(x), (1.0, math.inf), "no integral"),
        (lambda x: 0.0 * x, (-math.inf, math.inf), "no integral"),
        (lambda x: -jnp.log(x), (0.0, 1.0), "no envelope"),
        (lambda x: jnp.full_like(x, -jnp.inf), (0.0, 1.0), "finite nowhere"),
        (lambda x: jnp.where(x > 0.5, jnp.nan, 0.0), (0.0, 1.0), "NaN at"),
        (lambda x: jnp.where(jnp.abs(x - 0.5) < 0.1, jnp.inf, 0.0), (0.0, 1.0), "inf at"),
    ],
)
def test_densities_that_have_no_envelope(log_density, support, message):
    with pytest.raises(SamplingError, match=message):
        Rejection.fit(log_density, support)


@pytest.mark.parametrize("support", [(1.0, 0.0), (0.0, 0.0), (0.0, math.nan), 3.0])
def test_a_bad_support_is_named(support):
    with pytest.raises(ValueError, match=r"support"):
        Rejection.fit(lambda x: -x, support)


def test_bad_breaks_and_traced_params_are_named():
    with pytest.raises(ValueError, match=r"breaks"):
        Rejection.fit(lambda x: -x, (0.0, 1.0), breaks=(2.0,))
    with pytest.raises(TypeError, match=r"params"):
        jax.jit(lambda a: Rejection.fit(lambda x, a: -a * x, (0.0, 1.0), params=(a,)).sample(KEY))(1.0)


def test_a_feature_that_the_search_missed_is_found_by_the_audit():
    def spike(x):
        return jnp.logaddexp(-0.5 * x**2, -0.5 * ((x - 0.7123) / 2e-5) ** 2 + 10)

    with pytest.raises((EnvelopeViolation, SamplingError)):
        Rejection.fit(spike, (-math.inf, math.inf)).sample(KEY, (4_000_000,))
    found = Rejection.fit(spike, (-math.inf, math.inf), breaks=(0.7123,))
    assert found.acceptance_rate > 0.9


def test_a_fitted_sampler_as_chains_and_as_a_proposal():
    density = BY_NAME["gamma(0.2)"]
    sampler = fit(density)
    draws = mcmc.sample(sampler, chains=8, draws=500, progress=False)
    assert stats.kstest(draws["posterior"]["x"].values.ravel(), density.cdf).pvalue > 0.001
    target = mcmc.Target(lambda p: density.log_density(p["x"]), {"x": mcmc.positive()})
    draws = mcmc.sample(target, mcmc.IndependentMetropolis(sampler), chains=8, draws=500, progress=False)
    assert float(draws["sample_stats"]["acceptance_rate"].mean()) > 0.999


SLIGHT = {  # far tails and troughs that matter to no draw
    "gamma(1e5)": (lambda x: (1e5 - 1) * jnp.log(x) - x, (0, math.inf), stats.gamma(1e5).cdf),
    "two spikes": (
        lambda x: jnp.logaddexp(-0.5 * ((x - 1) / 1e-3) ** 2, -0.5 * ((x - 4) / 1e-3) ** 2),
        (0, 5),
        lambda x: (stats.norm.cdf(x, 1, 1e-3) + stats.norm.cdf(x, 4, 1e-3)) / 2,
    ),
    "200 waves": (
        lambda x: jnp.log(1.0001 + jnp.sin(400 * jnp.pi * x)),
        (0, 1),
        lambda x: x + (1 - np.cos(400 * np.pi * x)) / (400 * np.pi * 1.0001),
    ),
}


@pytest.mark.parametrize("name", SLIGHT)
def test_tails_and_troughs_that_matter_to_nobody_are_no_reason_to_refuse(name):
    log_density, support, cdf = SLIGHT[name]
    sampler = Rejection.fit(log_density, support)
    assert float(sampler.proposal.acceptance_rate) > 0.7
    x = np.asarray(sampler.sample(KEY, (20_000,)), float)
    assert stats.kstest(x, cdf).pvalue > 1e-3


def test_rounding_in_float32_is_named_as_the_reason():
    def log_density(x):
        return (1e7 - 1) * jnp.log(x) - x

    with pytest.raises(SamplingError, match=r"which float32 rounds by .*enable_x64"):
        Rejection.fit(log_density, (0, math.inf))
    with jax.enable_x64(True):
        x = np.asarray(Rejection.fit(log_density, (0, math.inf)).sample(KEY, (20_000,)))
    assert stats.kstest(x, stats.gamma(1e7).cdf).pvalue > 1e-3
