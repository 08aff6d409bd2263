"""Rejection with a proposal of one's own: the law, the audit, the budget, keys, jit and vmap."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcmc
from mcmc.direct.rejection import rounds
from mcmc.direct.rejection.rejection import Rejection, RejectionResult
from mcmc.errors import BudgetExhausted, EnvelopeViolation, SamplingError
from mcmc.random import philox
from mcmc.random.draws import uniform_open

KEY = jax.random.wrap_key_data(jnp.arange(4, dtype=jnp.uint32), impl=philox.implementation)
DEFAULT = jax.random.key(1)


class Exponential:
    """Mean 2.5, by any key."""

    def sample(self, key, shape=()):
        return -2.5 * jnp.log(uniform_open(key, shape))

    def log_prob(self, x):
        return -x / 2.5 - math.log(2.5)


class Uniform:
    def sample(self, key, shape=()):
        return uniform_open(key, shape)

    def log_prob(self, x):
        return 0.0 * x


class Cube:
    """Uniform on (-1, 1)³."""

    def sample(self, key, shape=()):
        return 2 * uniform_open(key, (*shape, 3)) - 1

    def log_prob(self, x):
        return 0.0 * x[0] - 3 * math.log(2)


class Coins:
    """Pairs by name: a number in 0..9 and a uniform."""

    def sample(self, key, shape=()):
        u = uniform_open(key, shape)
        return {"k": (10 * u).astype(jnp.int32), "u": uniform_open(key, shape, stream=1)}

    def log_prob(self, x):
        return -math.log(10) + 0.0 * x["u"]


def log_gamma(x):
    return 1.5 * jnp.log(x) - x - math.lgamma(2.5)


BOUND = 2.5 * math.log(2.5) - 1.5 - math.lgamma(2.5)
GAMMA = Rejection(log_gamma, Exponential(), BOUND)
BETA = Rejection(lambda x: jnp.log(6 * x * (1 - x)), Uniform(), math.log(1.5))
BALL = Rejection(lambda x: jnp.where(jnp.sum(x**2) < 1, 0.0, -jnp.inf), Cube(), 3 * math.log(2))


@pytest.mark.parametrize(
    ("sampler", "rate", "cdf", "key"),
    [
        (GAMMA, math.exp(-BOUND), stats.gamma(2.5).cdf, KEY),
        (GAMMA, math.exp(-BOUND), stats.gamma(2.5).cdf, DEFAULT),
        (BETA, 2 / 3, stats.beta(2, 2).cdf, KEY),
    ],
    ids=["gamma-philox", "gamma-threefry", "beta-philox"],
)
def test_the_law_and_the_acceptance_rate_are_those_of_the_textbook(sampler, rate, cdf, key):
    x, info = sampler.sample_with_info(key, (100_000,))
    assert stats.kstest(np.asarray(x, float), cdf).pvalue > 0.001
    assert abs(info.acceptance_rate - rate) < 4 * math.sqrt(rate * (1 - rate) / info.proposed)
    assert info.violations == 0
    assert info.result == RejectionResult.OK
    assert info.mass_bound == pytest.approx(3 / info.proposed)
    assert math.isclose(info.log_bound_needed, sampler.log_bound, rel_tol=1e-6)


def test_several_dimensions():
    x, info = BALL.sample_with_info(KEY, (50, 400))
    assert x.shape == (50, 400, 3)
    rate = math.pi / 6
    assert abs(info.acceptance_rate - rate) < 4 * math.sqrt(rate * (1 - rate) / info.proposed)
    r = np.linalg.norm(np.asarray(x).reshape(-1, 3), axis=1)
    assert stats.kstest(r**3, "uniform").pvalue > 0.001
    assert BALL.log_prob(x).shape == (50, 400)


def test_draws_by_name_and_integers():
    sampler = Rejection(lambda p: jnp.log(p["k"] + 0.0), Coins(), math.log(9) + math.log(10))
    p = sampler.sample(KEY, (20_000,))
    counts = np.bincount(np.asarray(p["k"]), minlength=10)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:], 20_000 * np.arange(1, 10) / 45).pvalue > 0.001
    assert p["u"].shape == (20_000,)


def test_a_numpyro_distribution_is_a_proposal():
    dist = pytest.importorskip("numpyro.distributions")
    sampler = Rejection(log_gamma, dist.Exponential(0.4), BOUND)
    assert stats.kstest(np.asarray(sampler.sample(KEY, (20_000,)), float), stats.gamma(2.5).cdf).pvalue > 0.001
    wide = Rejection(lambda x: -0.5 * jnp.sum(x**2), dist.Normal(jnp.zeros(2), 2.0).to_event(1), 3.3)
    x = np.asarray(wide.sample(KEY, (20_000,)), float)
    assert stats.kstest((x**2).sum(1), stats.chi2(2).cdf).pvalue > 0.001
    with pytest.raises(ValueError, match=r"to_event"):
        Rejection(lambda x: jnp.sum(x), dist.Normal(jnp.zeros(2), 2.0), 3.3).sample(KEY, (5,))


def test_draws_depend_on_key_and_shape_alone():
    x = np.asarray(GAMMA.sample(KEY, (100_000,)))
    np.testing.assert_array_equal(x, GAMMA.sample(KEY, (100_000,)))
    np.testing.assert_array_equal(x, jax.jit(lambda k: GAMMA.sample(k, (100_000,)))(KEY))
    np.testing.assert_array_equal(x, GAMMA.sample(KEY, (1000, 100)).reshape(-1))
    np.testing.assert_array_equal(x[:20_000], GAMMA.sample(KEY, (20_000,)))  # of as large a block
    assert not np.array_equal(x, GAMMA.sample(jax.random.fold_in(KEY, 1), (100_000,)))
    one = GAMMA.sample(KEY)
    assert one.shape == ()
    for shape in (3, (0, 3)):
        assert jax.eval_shape(lambda k, n=shape: GAMMA.sample(k, n), KEY).shape == np.empty(shape).shape


def test_several_blocks_a_round_give_the_same_draws():
    x = GAMMA.sample(KEY, (100_000,))
    sizes = rounds.sizes_of(100_000, 10**8)._replace(blocks=4)
    end = rounds.run_rounds(KEY, lambda k: GAMMA._propose(sizes.block, k), GAMMA._ratio, jnp.int32(100_000), sizes)
    np.testing.assert_allclose(x, end.draws[:100_000], rtol=1e-6)  # a logarithm's last bit is XLA's


def test_vmap_is_a_loop():
    keys = jax.random.split(KEY, 500)
    x = jax.vmap(GAMMA.sample)(keys)
    np.testing.assert_allclose(x[:10], [GAMMA.sample(k) for k in keys[:10]], rtol=1e-6)
    assert stats.kstest(np.asarray(x, float), stats.gamma(2.5).cdf).pvalue > 0.001


def test_the_first_n_accepted_are_kept_in_order():
    @jax.jit
    def first_block(key):
        proposals, _ = GAMMA._propose(32_768, jax.random.fold_in(key, 0))
        return proposals, rounds._one_block(key, lambda k: GAMMA._propose(32_768, k), GAMMA._ratio, jnp.int32(0))[1]

    proposals, accepted = map(np.asarray, first_block(KEY))
    np.testing.assert_array_equal(proposals[accepted][:16_385], GAMMA.sample(KEY, (16_385,)))


def test_one_program_serves_a_class_of_sizes():
    from mcmc.direct.rejection.rejection import _draw

    sampler = Rejection(lambda x: log_gamma(x) + 0.0, Exponential(), BOUND)
    before = _draw._cache_size()
    for n in (33_000, 40_000, 65_536):
        sampler.sample(KEY, (n,))
    assert _draw._cache_size() == before + 1


def test_params_are_arguments():
    from mcmc.direct.rejection.rejection import _draw

    def density(x, a):
        return (a - 1) * jnp.log(x) - x

    proposal = Exponential()
    before = _draw._cache_size()
    draws = [Rejection(density, proposal, 2.0, params=(a,)).sample(KEY, (1000,)) for a in (2.5, 2.0)]
    assert _draw._cache_size() == before + 1
    assert not np.array_equal(*draws)


# --- what goes wrong ------------------------------------------------------------------------------------------


def test_a_violation_is_an_error_with_the_point_and_the_bound():
    low = Rejection(log_gamma, Exponential(), BOUND - 0.1)
    with pytest.raises(EnvelopeViolation, match=r"log_bound") as caught:
        low.sample(KEY, (100_000,))
    error = caught.value
    assert 0 < error.excess <= 0.1 + 1e-5
    assert error.log_bound_needed == pytest.approx(BOUND - 0.1 + error.excess, abs=1e-5)
    assert abs(error.point - 2.5) < 2
    assert isinstance(error, SamplingError)


def test_an_exact_bound_and_its_rounding_are_no_violation():
    def parabola(x, shift):
        return jnp.log(6 * x * (1 - x)) + shift

    uniform = Uniform()
    for shift in (0.0, 3000.0, -3000.0):
        exact = Rejection(parabola, uniform, math.log(1.5) + shift, params=(shift,))
        assert exact.sample_with_info(KEY, (200_000,))[1].violations == 0
    above = Rejection(parabola, uniform, math.log(1.5), params=(1e-4,))
    with pytest.raises(EnvelopeViolation):
        above.sample(KEY, (200_000,))


def test_an_infinite_density_is_a_violation():
    with pytest.raises(EnvelopeViolation) as caught:
        Rejection(lambda x: jnp.where(x < 0.5, 0.0, jnp.inf), Uniform(), 1.0).sample(KEY, (100,))
    assert caught.value.excess == math.inf


def test_nan_is_an_error_with_the_point():
    broken = Rejection(lambda x: jnp.where(x > 0.999, jnp.nan, 0.0), Uniform(), 0.0)
    with pytest.raises(SamplingError, match=r"NaN at 0\.999"):
        broken.sample(KEY, (100_000,))


def test_no_mass_is_accepted_where_there_is_none():
    half = Rejection(lambda x: jnp.where(x < 0.5, 0.0, -jnp.inf), Uniform(), 0.0)
    assert float(jnp.max(half.sample(KEY, (300_000,)))) < 0.5
    nothing = Rejection(lambda x: jnp.full_like(x, -jnp.inf), Uniform(), 0.0, max_proposals=200_000)
    with pytest.raises(BudgetExhausted) as caught:
        nothing.sample(KEY, (10,))
    assert caught.value.drawn == 0
    assert caught.value.needed == math.inf


def test_the_budget_is_kept_and_said():
    loose = Rejection(log_gamma, Exponential(), BOUND + 5, max_proposals=100_000)
    with pytest.raises(BudgetExhausted, match=r"max_proposals") as caught:
        loose.sample(KEY, (10_000,))
    rate = math.exp(-BOUND - 5)
    made = 98_304  # whole blocks
    assert abs(caught.value.acceptance_rate - rate) < 4 * math.sqrt(rate / made)
    assert caught.value.drawn == round(caught.value.acceptance_rate * made)
    assert caught.value.needed == pytest.approx(10_000 / caught.value.acceptance_rate)


def test_in_compiled_code_codes_say_it_and_places_are_nan():
    loose = Rejection(log_gamma, Exponential(), BOUND + 5, max_proposals=100_000)
    (x, info), nothing = jax.jit(lambda k: (loose.sample_with_info(k, (10_000,)), loose.sample(k, (10_000,))))(KEY)
    assert info.result == RejectionResult.EXHAUSTED
    assert int(np.isfinite(x).sum()) == int(info.drawn)
    assert np.isfinite(x[: int(info.drawn)]).all()
    assert np.isnan(nothing).all()
    low = Rejection(log_gamma, Exponential(), BOUND - 0.1)
    (x, info), nothing = jax.jit(lambda k: (low.sample_with_info(k, (1000,)), low.sample(k, (1000,))))(KEY)
    assert info.result == RejectionResult.VIOLATION
    assert int(info.violations) > 0
    assert float(info.log_bound_needed) > BOUND - 0.1
    assert np.isnan(nothing).all()
    assert all(len(code.remedy) > 10 for code in RejectionResult)


def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match=r"log_density"):
        Rejection(3.0, Uniform(), 0.0)
    with pytest.raises(TypeError, match=r"proposal"):
        Rejection(log_gamma, object(), 0.0)
    with pytest.raises(ValueError, match=r"log_bound"):
        Rejection(log_gamma, Uniform(), math.inf)
    with pytest.raises(ValueError, match=r"max_proposals"):
        Rejection(log_gamma, Uniform(), 1.0, max_proposals=0)
    with pytest.raises(ValueError, match=r"log_density.*scalar"):
        Rejection(lambda x: x, Cube(), 1.0).sample(KEY, (3,))


# --- the comparison ---------------------------------------------------------------------------------------------


LEAST = float(np.nextafter(np.float32(math.log(2.0**-32)), np.float32(-100)))


def test_the_least_uniform_is_above_what_is_never_accepted():
    ends = jnp.log(jnp.array([2.0**-32, 1 - 2.0**-24], jnp.float32))
    assert not bool(ends[0] < LEAST)
    assert bool(ends[1] < 0)  # a ratio of 1 is always accepted
    with jax.enable_x64(False):
        u = uniform_open(KEY, (10**6,))
    assert float(u.min()) >= 2.0**-32
    assert float(u.max()) < 1


def falsely_accepted(total):
    """Proposals accepted with log f − log g − log c one ulp below the least log u, or far below."""
    least = LEAST
    tried = Rejection(lambda x: jnp.where(x < 0.5, least, -1e4), Uniform(), 0.0, max_proposals=total)
    with jax.enable_x64(False), pytest.raises(BudgetExhausted) as caught:
        tried.sample(KEY, (total,))
    return caught.value.drawn


def test_nothing_is_falsely_accepted():
    assert falsely_accepted(2**22) == 0


@pytest.mark.slow
def test_none_of_a_hundred_million_is_falsely_accepted():
    assert falsely_accepted(2**27) == 0


# --- as chains and as a proposal ---------------------------------------------------------------------------------


def test_chains_of_independent_draws():
    draws = mcmc.sample(GAMMA, chains=8, draws=500, progress=False)
    x = draws["posterior"]["x"].values
    assert stats.kstest(x.ravel(), stats.gamma(2.5).cdf).pvalue > 0.001
    np.testing.assert_allclose(draws["sample_stats"]["lp"], log_gamma(x), rtol=1e-6, atol=1e-6)


def test_a_violation_in_a_chain_is_not_silent():
    low = Rejection(log_gamma, Exponential(), BOUND - 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SamplingError):
            mcmc.sample(low, chains=16, draws=500, progress=False)


def test_independent_metropolis_takes_it_as_a_proposal():
    target = mcmc.Target(lambda p: log_gamma(p["x"]), {"x": mcmc.positive()})
    draws = mcmc.sample(target, mcmc.IndependentMetropolis(GAMMA), chains=8, draws=500, progress=False)
    assert float(draws["sample_stats"]["acceptance_rate"].mean()) > 0.999
    assert stats.kstest(draws["posterior"]["x"].values.ravel(), stats.gamma(2.5).cdf).pvalue > 0.001
