"""Discrete: the alias table to the last bit, laws beside SciPy's, tails that are bounded, chains and proposals."""

import math
import re
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln
from runs import draw
from scipy import stats

import mcmc
from mcmc.direct.discrete.alias import BLOCK, alias_table, law_of, whole_weights
from mcmc.random import philox

INF = math.inf
LAWS = {
    "binomial": (stats.binom(1000, 0.3), (0, 1000), None),
    "negative binomial": (stats.nbinom(2.5, 0.01), (0, INF), None),
    "geometric": (stats.geom(1e-3), (1, INF), None),
    "hypergeometric": (stats.hypergeom(1000, 300, 50), (0, 50), None),
    "zipf, steep": (stats.zipf(4.0), (1, INF), None),
    "zipf, heavy": (stats.zipf(2.2), (1, INF), 1e-6),
    "Poisson": (stats.poisson(3.5), (0, INF), None),
    "Poisson, huge": (stats.poisson(1e8), (0, INF), None),
    "Skellam": (stats.skellam(15, 10), (-INF, INF), None),
    "binomial, endless": (stats.binom(40, 0.5), (-INF, INF), None),
}
U = np.array([1e-3, 0.1, 0.5, 0.9, 0.999])


@pytest.fixture(scope="module")
def fitted():
    return {name: mcmc.Discrete.fit(d.logpmf, support, tol=tol) for name, (d, support, tol) in LAWS.items()}


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", philox.implementation])
def test_many_draws_in_blocks_follow_the_law_and_are_independent(impl):
    p = np.array([0.1, 0.4, 0.05, 0.3, 0.15])
    n = 3 * BLOCK + 5
    x = np.asarray(mcmc.Discrete(np.log(p)).sample(jax.random.key(3, impl=impl), (n,)))
    assert stats.chisquare(np.bincount(x, minlength=5), p * n).pvalue > 1e-4
    for lag in (1, BLOCK // 2, BLOCK):  # neighbours, halves of a block, blocks
        pairs = np.bincount(5 * x[:-lag] + x[lag:], minlength=25)
        assert stats.chisquare(pairs, np.outer(p, p).ravel() * (n - lag)).pvalue > 1e-4


# --- the table --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 100, 1000])
@pytest.mark.parametrize("concentration", [0.05, 1.0, 30.0])
def test_the_table_has_the_law_to_the_last_bit(n, concentration):
    p = np.random.default_rng(n).dirichlet(np.full(n, concentration))
    weights = whole_weights(p)
    law = law_of(alias_table(weights))
    assert sum(law) == 2**63
    assert law == [int(w) for w in weights] + [0] * (len(law) - n)
    np.testing.assert_allclose(np.array(law[:n]) / 2.0**63, p, atol=n * 2.0**-53)


@pytest.mark.parametrize("p", [[1, 1, 1, 1, 1, 3], [4, 0, 0, 4], [1, 1], [0, 0, 1], [2, 1, 1, 0, 0, 4], [8, 1, 7]])
def test_columns_that_are_full_give_nothing(p):
    weights = whole_weights(np.array(p) / sum(p))
    law = law_of(alias_table(weights))
    assert law == [int(w) for w in weights] + [0] * (len(law) - len(p))


def test_draws_are_distributed_so():
    p = np.array([0.5, 0.0, 0.2, 0.3, 1e-4])
    s = mcmc.Discrete(np.log(np.maximum(p, 1e-300)) + np.where(p > 0, 3.0, -np.inf))
    x = np.asarray(s.sample(jax.random.key(1), (1_000_000,)))
    assert x.dtype == np.int32
    counts = np.bincount(x, minlength=5)
    assert counts[1] == 0
    keep = p > 0
    assert stats.chisquare(counts[keep], len(x) * p[keep] / p.sum()).pvalue > 1e-4


def test_equal_weights_and_one_value():
    assert np.asarray(mcmc.Discrete([2.0]).sample(jax.random.key(0), (5,))).tolist() == [0] * 5
    x = np.asarray(mcmc.Discrete(np.zeros(1000)).sample(jax.random.key(2), (200_000,)))
    assert stats.chisquare(np.bincount(x, minlength=1000)).pvalue > 1e-4


# --- laws beside SciPy's ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_distribution_functions_and_quantiles(fitted, name):
    law, (low, high), tol = LAWS[name]
    s = fitted[name]
    assert s.u_error <= (tol or 1e-12)
    assert abs(s.log_normalizer) < max(1e-6, 2 * (tol or 0))  # SciPy's pmf is rounded where its rate is huge
    with jax.enable_x64(True):
        q = law.ppf(U)
        np.testing.assert_array_equal(np.asarray(s.icdf(U)), q)
        np.testing.assert_allclose(np.asarray(s.cdf(q)), law.cdf(q), atol=1e-9 + (tol or 0))
        np.testing.assert_allclose(np.asarray(s.sf(q)), law.sf(q), rtol=1e-6 + 1e4 * (tol or 0))
        np.testing.assert_allclose(np.asarray(s.log_prob(q)), law.logpmf(q), atol=1e-6)
        assert float(s.cdf(s.support[0] - 1)) == 0
        assert float(s.cdf(s.support[1] + 5)) == 1
    assert low <= s.support[0]
    assert s.support[1] <= high


@pytest.mark.parametrize("name", ["negative binomial", "zipf, heavy", "Poisson, huge", "Skellam"])
def test_draws_have_scipys_law(fitted, name):
    law, s = LAWS[name][0], fitted[name]
    x = np.asarray(s.sample(jax.random.key(7), (200_000,)))
    edges = np.unique(law.ppf(np.linspace(0.02, 0.98, 30)))
    p = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))
    counts = np.bincount(np.searchsorted(edges, x), minlength=len(p))
    assert stats.chisquare(counts, len(x) * p).pvalue > 1e-4


def test_functions_in_jax_and_of_one_number():
    in_jax = mcmc.Discrete.fit(lambda k: k * jnp.log(3.0) - gammaln(k + 1))
    scalar = mcmc.Discrete.fit(lambda k: k * math.log(3.0) - math.lgamma(k + 1) if k >= 0 else -math.inf, (0, 60))
    np.testing.assert_allclose(in_jax.log_normalizer, 3.0, rtol=1e-12)
    np.testing.assert_allclose(scalar.log_normalizer, 3.0, rtol=1e-12)


def test_the_bound_on_the_tail_holds():
    """A law of k⁻³: what is left out is at most what is said."""
    with pytest.raises(mcmc.SamplingError, match=r"got a law of whose mass .* Allow a larger tol"):
        mcmc.Discrete.fit(lambda k: -1.5 * np.log(k), (1, INF))
    s = mcmc.Discrete.fit(lambda k: -3.0 * np.log(k), (1, INF), tol=1e-8)
    left_out = 1 - np.exp(s.log_normalizer) / 1.2020569031595942
    assert 0 < left_out <= s.u_error <= 1e-8


def test_no_law_at_all():
    with pytest.raises(mcmc.SamplingError, match="may lie beyond"):
        mcmc.Discrete.fit(lambda k: 0.0 * k)
    with pytest.raises(mcmc.SamplingError, match="got nan at k = "):
        mcmc.Discrete.fit(lambda k: np.where(k > 5, np.nan, 0.0), (0, 9))


def test_values_between_and_beyond_integers():
    s = mcmc.Discrete([0.0, 0.0])
    assert np.asarray(s.log_prob(jnp.array([-1.0, 0.5, 2.0]))).tolist() == [-INF] * 3
    np.testing.assert_allclose(np.asarray(s.cdf(jnp.array([-0.5, 0.5, 1.0, jnp.nan]))), [0, 0.5, 1, np.nan])
    np.testing.assert_allclose(np.asarray(s.icdf(jnp.array([0.0, 0.5, 0.6, 1.0, 1.1]))), [0, 0, 1, 1, np.nan])
    some = mcmc.Discrete([-INF, 0.0, -INF])
    assert np.asarray(some.icdf(jnp.array([0.0, 1.0]))).tolist() == [1, 1]


def test_values_beyond_32_bits():
    s = mcmc.Discrete.fit(lambda k: -0.5 * ((k - 1e12) / 50) ** 2, (-INF, INF))
    with pytest.raises(ValueError, match=r"dtype: got values up to 1,000,000,000,\d+ in 32 bits"):
        s.sample(jax.random.key(0), (3,))
    with jax.enable_x64(True):
        x = np.asarray(s.sample(jax.random.key(0), (20_000,)))
    assert x.dtype == np.int64
    assert abs(x.mean() - 1e12) < 5 * 50 / np.sqrt(x.size)


# --- in programs, as chains, as proposals -----------------------------------------------------------------


def test_it_enters_jit_and_vmap(fitted):
    s, keys = fitted["Poisson"], jax.random.split(jax.random.key(3), 4)
    together = jax.jit(jax.vmap(lambda s, key: s.sample(key, (5,)), (None, 0)))(s, keys)
    for one, key in zip(np.asarray(together), keys, strict=True):
        np.testing.assert_array_equal(one, np.asarray(s.sample(key, (5,))))


def test_as_chains(fitted):
    draws = mcmc.sample(fitted["binomial"], chains=4, draws=500, progress=False)
    x = draws["posterior"]["x"].values
    assert np.issubdtype(x.dtype, np.integer)
    assert abs(x.mean() - 300) < 5 * mcmc.mcse(x)


def of_branches(k):
    if k % 2:
        return -math.inf
    return math.log(math.comb(20, k // 2)) if k <= 40 else -math.inf


FUNCTIONS = {  # the values with mass, their weights, the function and its support
    "integers of Python": (of_branches, (0, INF), np.arange(0, 41, 2), stats.binom(20, 0.5).pmf(np.arange(21))),
    "factorials": (
        lambda k: -math.log(math.factorial(k)),
        (0, INF),
        np.arange(30),
        stats.poisson(1).pmf(np.arange(30)),
    ),
    "an index": (lambda k: jnp.log(jnp.array([1.0, 2.0, 5.0]))[k], (0, 2), np.arange(3), np.array([1, 2, 5]) / 8),
    "lax.cond": (
        lambda k: jax.lax.cond(k < 3, lambda: 0.0 * k, lambda: -jnp.inf * k),
        (0, INF),
        np.arange(3),
        np.full(3, 1 / 3),
    ),
    "every seventh": (
        lambda k: jnp.where(k % 7 == 3, -0.1 * k, -jnp.inf),
        (0, INF),
        3 + 7 * np.arange(40),
        -np.expm1(-0.7) * np.exp(-0.7 * np.arange(40)),
    ),
    "far, every fifth": (
        lambda k: np.where(k % 5 == 2, -0.5 * ((k - 30_002) / 20) ** 2, -np.inf),
        (-INF, INF),
        30_002 + 5 * np.arange(-30, 31),
        np.exp(-0.5 * np.arange(-30, 31) ** 2 / 16) / np.exp(-0.5 * np.arange(-30, 31) ** 2 / 16).sum(),
    ),
    "two islands": (
        lambda k: np.where(((k >= 100) & (k < 103)) | ((k >= 5000) & (k < 5005)), 0.0, -np.inf),
        (0, INF),
        np.r_[100:103, 5000:5005],
        np.full(8, 1 / 8),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_as_people_have_them(name):
    function, support, values, p = FUNCTIONS[name]
    s = mcmc.Discrete.fit(function, support)
    assert s.u_error <= 1e-12
    with jax.enable_x64(True):
        np.testing.assert_allclose(np.exp(np.asarray(s.log_prob(values))), p, atol=1e-12)


def test_a_log_probability_may_be_rounded():
    """Of a rate of 10^11 SciPy's is good to 1e-3, more than it falls from one value to the next."""
    s = mcmc.Discrete.fit(stats.poisson(1e11).logpmf, tol=1e-6)
    assert s.u_error <= 1e-6
    reach = np.array(s.support) - 1e11
    assert np.all((np.abs(reach) > 4.5e5 * np.array([3.2, 3.2])) & (np.abs(reach) < 3e6))


def test_parameters_of_a_log_probability():
    s = mcmc.Discrete.fit(lambda k, rate: k * jnp.log(rate) - gammaln(k + 1.0), params=(3.0,))
    np.testing.assert_allclose(s.cdf(2), stats.poisson(3).cdf(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda k: 1j * k, TypeError, "log_pmf: got values of type complex128; expected real numbers"),
        (lambda k: "a" if k > 1 else "b", TypeError, "log_pmf: got 'b' at 0; expected a real number"),
        (lambda k: 2 * math.log(k) - k, mcmc.SamplingError, "log_pmf: got nan at k = 0"),
        (lambda k: -theta * k, NameError, "theta"),  # noqa: F821
    ],
)
def test_what_is_no_log_probability_is_said(function, error, text):
    with pytest.raises(error, match=text):
        mcmc.Discrete.fit(function)


def test_as_a_proposal():
    proposal = mcmc.Discrete.fit(stats.nbinom(5, 0.4).logpmf)
    target = mcmc.Target(lambda p: p["k"] * jnp.log(4.0) - gammaln(p["k"] + 1.0), {"k": mcmc.integer(0)})
    draws = draw(target, mcmc.IndependentMetropolis(proposal), chains=8, draws=1000, warmup=0)
    k = draws["posterior"]["k"].values
    assert abs(k.mean() - 4) < 5 * mcmc.mcse(k)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: mcmc.Discrete(np.zeros((2, 2))), ValueError, r"log_weights: got shape \(2, 2\)"),
        (lambda: mcmc.Discrete([0.0, np.nan]), ValueError, r"log_weights\[1\]: got nan"),
        (lambda: mcmc.Discrete([-INF, -INF]), ValueError, "log_weights: got -inf throughout"),
        (lambda: jax.jit(lambda w: mcmc.Discrete(w).log_p)(np.zeros(2)), TypeError, "a traced array"),
        (lambda: mcmc.Discrete.fit(3), TypeError, "log_pmf: got 3"),
        (lambda: mcmc.Discrete.fit(np.log, (0.5, 3)), ValueError, "support: got .0.5, 3.0.; expected whole numbers"),
        (lambda: mcmc.Discrete.fit(np.log, 3), TypeError, "support: got 3; expected a pair"),
        (lambda: mcmc.Discrete.fit(np.log, tol=0.5), ValueError, "tol: got 0.5"),
        (lambda: mcmc.Discrete.fit(np.sum), ValueError, "log_pmf: got shape"),
    ],
)
def test_arguments(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_table_of_a_million_is_made_at_once():
    began = time.process_time()
    s = mcmc.Discrete(np.random.default_rng(0).normal(size=2**20))
    assert time.process_time() - began < 5
    assert s.support == (0, 2**20 - 1)


def test_the_page_runs():
    page = (Path(__file__).parents[3] / "docs" / "discrete.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    share = np.mean(np.asarray(names["rolls"]) == 5)
    assert abs(share - 3 / 8) < 5 * np.sqrt(3 / 8 * 5 / 8 / 10_000)
    assert abs(np.mean(np.asarray(names["counts"])) - 247.5) < 5 * np.sqrt(24750 / 10_000)
