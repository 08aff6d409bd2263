"""Warmup: dual averaging, the pooled covariance, the schedule of windows, and what kernels get from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED
from runs import draw, target_of

import mcmc
from mcmc.kernels.metric import Metric
from mcmc.warmup import moments, step_size
from mcmc.warmup.pooled import WINDOWS, prepare


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


# --- the step size ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.234, 0.44, 0.8])
@pytest.mark.parametrize("begin", [1e-3, 1.0, 50.0])
def test_dual_averaging_converges_to_its_target(target, begin):
    rng = np.random.default_rng(0)
    state = step_size.start(np.array(begin))
    assert state.log_step == np.log(begin)
    update = jax.jit(step_size.update)
    for _ in range(2000):
        rate = np.exp(-np.exp(float(state.log_step)))  # larger steps, fewer acceptances
        state = update(state, np.clip(rate + 0.1 * rng.normal(), 0, 1), target)
    found = np.exp(-np.exp(float(state.log_average)))
    assert abs(found - target) < 0.02


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_dual_averaging_goes_the_right_way_and_stays_finite(rate):
    state = step_size.start(np.array(1.0))
    for _ in range(300):
        state = step_size.update(state, jnp.asarray(rate), jnp.asarray(0.5))
    assert np.isfinite(float(state.log_average))
    assert (float(state.log_average) > 0) == (rate == 1.0)


# --- the covariance -----------------------------------------------------------------------------------


def gathered(batches, factor):
    held = moments.empty(np.asarray(factor))
    for batch in batches:
        held = moments.add(held, jnp.asarray(batch))
    return jax.tree.map(np.asarray, held)


BATCHES = [np.random.default_rng(i).normal(size=(16, 5)) @ np.linalg.cholesky(CORRELATED).T + 1e4 for i in range(40)]
ALL = np.concatenate(BATCHES)


@pytest.mark.parametrize("shape", ["diagonal", "dense"])
def test_moments_are_those_of_numpy(shape):
    factor = np.eye(5) if shape == "dense" else np.ones(5)
    held = gathered(BATCHES, factor)
    assert held.count == 640
    np.testing.assert_allclose(held.mean, ALL.mean(0), rtol=1e-12)
    covariance = np.cov(ALL.T)
    expected = covariance if shape == "dense" else np.diag(covariance)
    np.testing.assert_allclose(held.deviations / 639, expected, rtol=1e-7)


def test_the_factor_is_that_of_the_shrunk_covariance():
    factor = moments.factor_of(gathered(BATCHES, np.eye(5)), np.eye(5))
    covariance, weight = np.cov(ALL.T), 128 / (128 + 5)
    expected = weight * covariance + (1 - weight) * np.diag(np.diag(covariance))
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-7)
    np.testing.assert_array_equal(np.triu(factor, 1), 0)
    diagonal = moments.factor_of(gathered(BATCHES, np.ones(5)), np.ones(5))
    np.testing.assert_allclose(diagonal**2, np.diag(covariance), rtol=1e-7)


@pytest.mark.parametrize("shape", ["diagonal", "dense"])
@pytest.mark.parametrize("fault", ["frozen", "nan", "inf", "nothing"])
def test_where_there_is_no_covariance_the_fallback_stays(shape, fault):
    fallback = 3.0 * (np.eye(5) if shape == "dense" else np.ones(5))
    x = ALL.copy()
    x[:, 2] = {"frozen": 1.5, "nan": np.nan, "inf": np.inf, "nothing": 0.0}[fault]
    batches = [] if fault == "nothing" else [x]
    np.testing.assert_array_equal(moments.factor_of(gathered(batches, fallback), fallback), fallback)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_fewer_positions_than_dimensions_give_a_covariance(n):
    factor = moments.factor_of(gathered([np.random.default_rng(1).normal(size=(n, 20))], np.eye(20)), np.eye(20))
    assert np.linalg.eigvalsh(factor @ factor.T)[0] > 0
    assert not np.array_equal(factor, np.eye(20))


# --- the schedule -------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, 2, 5, 20, 100, 400, 1000])
def test_windows_grow_and_the_last_event_ends_warmup(total):
    _, tuner = prepare(mcmc.HMC(), 5, np.dtype("float64"))
    events = tuner.events(total)
    assert events == sorted(set(events))
    assert events[-1] == total
    assert {int(f * total) for f in WINDOWS} <= set(events)
    assert np.all(np.diff(np.diff([0, *(f * total for f in WINDOWS)])) > -1e-9)
    assert max(WINDOWS) <= 0.9


def test_prepare_tunes_what_was_left_none():
    dtype = np.dtype("float64")
    kernel, tuner = prepare(mcmc.HMC(), 5, dtype)
    assert (tuner.tunes_step_size, tuner.tunes_metric) == (True, True)
    assert kernel.metric.factor.shape == (5, 5)
    kernel, tuner = prepare(mcmc.HMC(step_size=0.5), 5, dtype)
    assert (tuner.tunes_step_size, tuner.tunes_metric) == (False, True)
    kernel, tuner = prepare(mcmc.RandomWalk(metric=[1.0, 4.0]), 2, dtype)
    assert (tuner.tunes_step_size, tuner.tunes_metric) == (True, False)
    np.testing.assert_array_equal(kernel.metric.factor, [1.0, 2.0])
    kernel, tuner = prepare(mcmc.HMC(step_size=0.5, metric=CORRELATED), 5, dtype)
    assert tuner is None
    np.testing.assert_allclose(kernel.metric.covariance, CORRELATED)
    assert prepare(mcmc.Stretch(), 5, dtype)[1] is None
    assert prepare(mcmc.RandomWalk(), 1000, dtype)[0].metric.factor.shape == (1000,)
    assert prepare(mcmc.RandomWalk(), 5, np.dtype("float32"))[0].metric.factor.dtype == np.float32


@pytest.mark.parametrize("factor", [[2.0, 3.0], [[2.0, 0.0], [1.0, 3.0]]], ids=["diagonal", "dense"])
def test_a_metric_is_its_factor(factor):
    metric = Metric(jnp.asarray(factor))
    matrix = np.diag(factor) if np.ndim(factor) == 1 else np.asarray(factor)
    full = matrix @ matrix.T
    np.testing.assert_allclose(metric.covariance, np.diag(full) if np.ndim(factor) == 1 else full)
    z = np.array([1.0, -2.0])
    np.testing.assert_allclose(metric.scale(jnp.asarray(z)), matrix @ z)
    np.testing.assert_allclose(metric.scale_gradient(jnp.asarray(z)), matrix.T @ z)


# --- kernels after warmup ------------------------------------------------------------------------------

SETTINGS = {"chains": 32, "draws": 500, "warmup": 600, "superchains": 0, "seed": 2}


@pytest.mark.parametrize(("law", "rate"), [("correlated_normal", 0.234), ("mixture", 0.44), ("normal", 0.234)])
def test_a_random_walk_reaches_its_acceptance_rate(law, rate):
    draws = draw(target_of(law), mcmc.RandomWalk(), **SETTINGS)
    assert abs(draws["sample_stats"]["acceptance_rate"].values.mean() - rate) < 0.05


@pytest.mark.parametrize("kernel", [mcmc.HMC(), mcmc.RandomWalk()], ids=["hmc", "random_walk"])
def test_the_tuned_metric_is_close_to_the_covariance(kernel):
    state = draw(target_of("correlated_normal"), kernel, **SETTINGS)["run_state"]
    factor = next(v.values for v in state.data_vars.values() if v.name.startswith("kernel_") and v.shape == (5, 5))
    np.testing.assert_allclose(factor @ factor.T, CORRELATED, atol=0.2)
    assert np.linalg.cond(np.linalg.solve(factor, np.linalg.cholesky(CORRELATED))) < 1.7


def test_scales_that_differ_by_a_hundred_are_found():
    state = draw(target_of("normal"), mcmc.HMC(), **SETTINGS)["run_state"]
    factor = next(v.values for v in state.data_vars.values() if v.name.startswith("kernel_") and v.shape == (3, 3))
    np.testing.assert_allclose(np.sqrt(np.diag(factor @ factor.T)), [0.1, 1.0, 10.0], rtol=0.15)


def test_what_the_user_set_is_kept():
    draws = draw(target_of("correlated_normal"), mcmc.HMC(step_size=0.37, num_steps=5), **{**SETTINGS, "draws": 20})
    assert np.all(draws["sample_stats"]["step_size"].values == 0.37)
    assert np.all(draws["sample_stats"]["n_steps"].values == 5)


@pytest.mark.parametrize("warmup", [0, 1, 2, 7, 19])
def test_a_short_warmup_works(warmup):
    draws = draw(target_of("correlated_normal"), mcmc.HMC(), **{**SETTINGS, "draws": 20, "warmup": warmup})
    assert np.isfinite(draws["posterior"]["x"].values).all()
    assert np.all(draws["sample_stats"]["step_size"].values > 0)
