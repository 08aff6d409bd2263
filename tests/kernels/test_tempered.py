"""Parallel tempering: exact laws of all replicas, the swap rule, tuning, invariance, resuming, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import Law
from proposals import LogNormalWalk
from runs import compilations, draw, follows, resume, same, same_state
from scipy import stats

import mcmc
from mcmc.kernels.metric import Metric
from mcmc.kernels.tempered import TemperedState, first_betas, swap
from mcmc.warmup.tempered import ByReplica, equalised, tempered_metric
from mcmc.warmup.tuners import prepare

SETTINGS = {"chains": 16, "draws": 4000, "warmup": 300, "seed": 1}


@functools.cache
def mixture():
    """Two normal modes in two dimensions, 16 standard deviations apart, with 0.3 and 0.7 of the mass."""

    def log_density(p):
        apart = jnp.array([8.0, 0.0])
        low, high = (-0.5 * jnp.sum((p["x"] - at) ** 2) for at in (-apart, apart))
        return jnp.logaddexp(jnp.log(0.3) + low, jnp.log(0.7) + high)

    return mcmc.Target(log_density, {"x": mcmc.real(2)})


STARTS = {"x": np.array([8.0, 0.0]) + np.random.default_rng(0).normal(size=(16, 2))}  # all in one mode
MIXTURE = Law("here", lambda p: 0.0, {}, {"x": np.array([3.2, 0.0])}, {"x": np.array([np.sqrt(64 * 0.84 + 1), 1.0])})


def test_modes_get_their_weights_from_starts_in_one_of_them():
    with compilations() as names:
        draws = draw(mixture(), mcmc.Tempered(mcmc.HMC()), init=STARTS, **SETTINGS)
    assert names.count("jit(advance)") == 1
    follows(draws, MIXTURE, rhat=1.01)
    low = (draws["posterior"]["x"].values[..., 0] < 0).astype(float)
    assert float(mcmc.mcse(low)) < 0.01
    assert abs(low.mean() - 0.3) < 4 * float(mcmc.mcse(low))
    assert float(draws["sample_stats"]["swap_rate"].mean()) > 0.6
    assert not draws["sample_stats"]["diverging"].values.any()


def test_without_temperatures_the_other_mode_is_never_seen():
    draws = draw(mixture(), mcmc.HMC(), init=STARTS, **{**SETTINGS, "draws": 1000})
    assert (draws["posterior"]["x"].values[..., 0] > 0).all()


@pytest.mark.parametrize(
    "kernel",
    [
        mcmc.RandomWalk(),
        pytest.param(mcmc.MALA(), marks=pytest.mark.slow),
        pytest.param(mcmc.HMC(step_size=0.2, num_steps=10), marks=pytest.mark.slow),
    ],
    ids=["walk", "mala", "fixed"],
)
def test_any_kernel_inside(kernel):
    draws = draw(mixture(), mcmc.Tempered(kernel, temperatures=9, reference_scale=[6.0, 2.0]), init=STARTS, **SETTINGS)
    follows(draws, MIXTURE)


def test_a_proposal_of_the_users_own():
    target = mcmc.Target(lambda p: 2 * jnp.log(p["x"]) - p["x"], {"x": mcmc.positive()})
    kernel = mcmc.Tempered(mcmc.MetropolisHastings(LogNormalWalk()), temperatures=3, reference_scale=2.0)
    follows(draw(target, kernel, **SETTINGS), Law("here", lambda p: 0.0, {}, {"x": 3.0}, {"x": np.sqrt(3.0)}))


# --- exactness -----------------------------------------------------------------------------------------

MEAN, SD, SCALE, BETAS = np.array([2.0, -1.0]), np.array([0.5, 1.5]), 3.0, np.array([1.0, 0.4, 0.1, 0.0])


def _laws():
    """Means and standard deviations (replica, dim) of the tempered normals."""
    precision = BETAS[:, None] / SD**2 + (1 - BETAS[:, None]) / SCALE**2
    return BETAS[:, None] * MEAN / SD**2 / precision, precision**-0.5


@pytest.mark.parametrize(
    "kernel", [mcmc.HMC(step_size=0.7, metric=1.0), mcmc.RandomWalk(1.0, 1.0)], ids=["hmc", "walk"]
)
def test_all_replicas_keep_their_laws(kernel):
    target = mcmc.Target(lambda p: -0.5 * jnp.sum(((p["x"] - MEAN) / SD) ** 2), {"x": mcmc.real(2)})
    bound = mcmc.Tempered(kernel, 4, SCALE, BETAS).bind(target, np.float32)
    kernel, tuner = prepare(bound, 2, np.float32)
    assert tuner is None
    n, (mean, sd) = 8000, _laws()
    positions = (mean + sd * np.random.default_rng(3).normal(size=(n, 4, 2))).astype(np.float32)

    def log_density(y):
        return -0.5 * jnp.sum(((y - MEAN) / SD) ** 2)

    def run(key, positions):
        lps = jax.vmap(log_density)(positions)
        state = TemperedState(positions[0], lps[0], positions, lps, jnp.int32(0))

        def one(t, carry):
            state, swaps = carry
            key_t = jax.random.fold_in(key, t)
            state, info = kernel.each_draw(key_t).step(key_t, state, log_density)
            return state, swaps + info.swap_rate

        return jax.lax.fori_loop(0, 15, one, (state, jnp.float32(0.0)))

    state, swaps = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(5), n), positions)
    assert 0.3 < float(swaps.mean()) / 15 < 0.9
    np.testing.assert_array_equal(state.position, state.positions[:, 0])
    np.testing.assert_allclose(state.lps, jax.vmap(jax.vmap(log_density))(state.positions), rtol=1e-5, atol=1e-5)
    z = (np.asarray(state.positions, float) - mean) / sd
    p_values = [stats.kstest(z[:, k, i], "norm").pvalue for k in range(4) for i in range(2)]
    assert min(p_values) > 1e-4, p_values


def test_swaps_keep_detailed_balance_and_only_pairs_of_one_parity_swap():
    betas, keys = jnp.array(BETAS), jax.random.split(jax.random.key(0), 4000)
    log_ratios = jnp.array([0.3, -1.0, 1.5, 2.0])
    weights = np.outer(BETAS, log_ratios)  # log π_k of each position, up to what all replicas share
    for parity in (0, 1):
        swaps = jax.jit(jax.vmap(lambda key, v, p=parity: swap(key, betas, v, p), (0, None)))
        order, outcome = swaps(keys, log_ratios)
        for i in range(3):
            swapped = np.asarray(order)[:, i] == i + 1
            back = log_ratios.at[jnp.array([i, i + 1])].set(log_ratios[jnp.array([i + 1, i])])
            forth, fro = (swaps(keys, v)[1].acceptance_rate[0, i] for v in (log_ratios, back))
            before, after = weights[i, i] + weights[i + 1, i + 1], weights[i, i + 1] + weights[i + 1, i]
            np.testing.assert_allclose(np.exp(before) * forth, np.exp(after) * fro, rtol=1e-5)
            rate = float(outcome.acceptance_rate[0, i]) if i % 2 == parity else 0.0
            assert abs(swapped.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / len(keys))
        assert (np.sort(order, 1) == np.arange(4)).all()


@pytest.mark.parametrize(
    "kernel", [mcmc.RandomWalk(), pytest.param(mcmc.HMC(length=0.5), marks=pytest.mark.slow)], ids=["walk", "hmc"]
)
def test_a_region_without_density_is_left_alone(kernel):
    target = mcmc.Target(lambda p: jnp.where(p["x"] > 0, -0.5 * p["x"] ** 2, -jnp.inf), {"x": mcmc.real()})
    draws = draw(target, mcmc.Tempered(kernel, temperatures=4), init={"x": np.full(16, 0.5)}, **SETTINGS)
    assert (draws["posterior"]["x"].values > 0).all()
    follows(draws, Law("here", lambda p: 0.0, {}, {"x": np.sqrt(2 / np.pi)}, {"x": np.sqrt(1 - 2 / np.pi)}))


def test_an_infinite_density_that_a_hot_replica_finds_is_an_error():
    target = mcmc.Target(lambda p: jnp.where(p["x"] > 7, jnp.inf, -0.5 * p["x"] ** 2), {"x": mcmc.real()})
    with pytest.raises(mcmc.SamplingError, match=r"inf at x ="):
        draw(target, mcmc.Tempered(mcmc.RandomWalk()), init={"x": np.zeros(8)}, draws=500, warmup=0)


# --- tuning --------------------------------------------------------------------------------------------


def test_inverse_temperatures_move_to_where_swaps_are_rejected():
    betas = first_betas(5)
    np.testing.assert_allclose(equalised(betas, np.full(4, 0.2)), betas, atol=1e-12)
    new = equalised(betas, np.array([0.9, 0.0, 0.0, 0.1]))
    assert new[0] == 1
    assert new[-1] == 0
    assert (np.diff(new) < 0).all()
    assert (new[1:4] > betas[1]).all()


def test_swaps_are_rejected_equally_often_after_warmup():
    seen, adjust = [], ByReplica.adjust
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ByReplica, "adjust", lambda self, *args: (seen.append(args[4]), adjust(self, *args))[1])
        draw(mixture(), mcmc.Tempered(mcmc.RandomWalk()), init=STARTS, **{**SETTINGS, "warmup": 1000, "draws": 10})
    swaps = np.mean([rate[7:] for rate in seen[-10:]], 0)
    assert swaps.shape == (7,)
    assert np.ptp(swaps) < 0.15
    kernels = np.mean([rate[:7] for rate in seen[-10:]], 0)
    np.testing.assert_allclose(kernels, 0.234, atol=0.06)


def test_the_metric_of_a_tempered_normal():
    covariance = np.array([[2.0, 0.9], [0.9, 1.0]])
    metric = Metric(np.linalg.cholesky(covariance))
    scale = np.array([3.0, 5.0])
    expected = np.linalg.inv(0.3 * np.linalg.inv(covariance) + 0.7 * np.diag(scale**-2))
    factor = tempered_metric(metric, 0.3, scale).factor
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-10)
    np.testing.assert_array_equal(np.triu(factor, 1), 0)
    np.testing.assert_allclose(tempered_metric(metric, 1.0, scale).factor, metric.factor, rtol=1e-10)


def test_the_metric_of_a_badly_scaled_tempered_normal():
    deviations = 10.0 ** np.arange(-8, 9, 4)
    factor = tempered_metric(Metric(np.diag(deviations)), 0.25, 1e3).factor
    expected = 1 / np.sqrt(0.25 / deviations**2 + 0.75 / 1e6)
    np.testing.assert_allclose(factor, np.diag(expected), rtol=1e-10)


# --- invariance and resuming ----------------------------------------------------------------------------

BASE = {"chains": 8, "lanes": 8, "draws": 30, "warmup": 0, "seed": 11, "superchains": 0}
TUNED = mcmc.Tempered(mcmc.HMC(step_size=0.3, metric=1.0), 4, inverse_temperatures=(1.0, 0.4, 0.1, 0.0))


@functools.cache
def base():
    return draw(mixture(), TUNED, **BASE)


@pytest.mark.parametrize(
    "change", [{"chains": 5, "chunk": 7}, pytest.param({"chains": 20}, marks=pytest.mark.slow)], ids=str
)
def test_chunks_and_chains_beside_do_not_enter(change):
    same(base(), draw(mixture(), TUNED, **{**BASE, **change}), slice(0, min(8, change.get("chains", 8))))


@pytest.mark.parametrize(
    ("inner", "given"),
    [
        pytest.param(mcmc.HMC(), None, marks=pytest.mark.slow),
        (mcmc.RandomWalk(), None),
        (mcmc.RandomWalk(), mcmc.Tempered(mcmc.RandomWalk(), 4)),
    ],
    ids=["hmc", "rebuilt", "given"],
)
def test_resumed_draws_are_those_of_an_unbroken_run(inner, given, tmp_path):
    kernel, settings = mcmc.Tempered(inner, 4), {**BASE, "warmup": 60}
    whole = draw(mixture(), kernel, **{**settings, "draws": 50})
    first = draw(mixture(), kernel, **{**settings, "draws": 20})
    first.to_netcdf(tmp_path / "first.nc", engine="h5netcdf")
    more = resume(mixture(), str(tmp_path / "first.nc"), 30, kernel=given)
    same(whole, more)
    same_state(whole, more)


def test_a_run_without_anything_tuned_goes_on_too():
    same(base(), resume(mixture(), draw(mixture(), TUNED, **{**BASE, "draws": 10}), 20))


def test_another_kernel_can_not_go_on():
    with pytest.raises(mcmc.FingerprintError, match=r"Tempered\(HMC, temperatures=4\)"):
        resume(mixture(), base(), 10, kernel=mcmc.Tempered(mcmc.HMC(), 5))


# --- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "match"),
    [
        (mcmc.Tempered(temperatures=1), "temperatures: got 1;.*2 or more"),
        (mcmc.Tempered(temperatures=2.5), "temperatures: got 2.5;"),
        (mcmc.Tempered(reference_scale=0.0), "reference_scale: got 0.0;.*positive"),
        (mcmc.Tempered(reference_scale=[1.0, 2.0, 3.0]), "reference_scale: .*2 of them"),
        (mcmc.Tempered(reference_scale="wide"), "reference_scale: got 'wide'"),
        (mcmc.Tempered(inverse_temperatures=[1.0, 0.0]), "inverse_temperatures: .*8 falling"),
        (mcmc.Tempered(temperatures=3, inverse_temperatures=[1.0, 1.0, 0.0]), "inverse_temperatures: .*3 falling"),
        (mcmc.Tempered(mcmc.Stretch()), "Tempered's kernel: got 'Stretch'"),
        (mcmc.Tempered(mcmc.Direct(None)), "Tempered's kernel: got 'Direct'"),
        (mcmc.Tempered(mcmc.Gibbs({"x": mcmc.HMC()})), "Tempered's kernel: got 'Gibbs'"),
        (mcmc.Tempered(mcmc.Tempered()), "Tempered's kernel: got 'Tempered'"),
        (mcmc.Tempered(mcmc.HMC(step_size=-1.0)), "step_size: got -1.0"),
        (mcmc.Gibbs({"x": mcmc.Tempered()}), "blocks: got 'Tempered'"),
    ],
)
def test_arguments_that_do_not_fit(kernel, match):
    with pytest.raises(ValueError, match=match):
        draw(mixture(), kernel, chains=8, draws=10, warmup=0)


def test_a_kernel_that_is_none_and_a_target_with_integers():
    with pytest.raises(TypeError, match="kernel"):
        draw(mixture(), mcmc.Tempered(mcmc.HMC), chains=8, draws=10)
    target = mcmc.Target(lambda p: -0.1 * p["n"], {"n": mcmc.integer(0, 5)})
    with pytest.raises(ValueError, match=r"kernel: got 'Tempered'.*discrete"):
        draw(target, mcmc.Tempered(mcmc.RandomWalk()), chains=8, draws=10)


def test_outside_of_sample_the_kernel_says_what_it_needs():
    kernel = mcmc.Tempered()

    def log_density(y):
        return -0.5 * jnp.sum(y**2)

    state = kernel.init(jnp.zeros(2), log_density)
    assert state.positions.shape == (8, 2)
    with pytest.raises(ValueError, match=r"Tempered.replicated.*mcmc.sample"):
        kernel.step(jax.random.key(0), state, log_density)
