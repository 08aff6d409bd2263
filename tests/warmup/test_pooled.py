"""Warmup: the schedule of windows, what a tuner makes of it, and what kernels get from it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED
from runs import draw, target_of, unconverged

import mcmc
from mcmc.warmup.pooled import EARLY_STEPS, LONG_CALLS, RANK, SHORT_CALLS, WINDOWS
from mcmc.warmup.tuners import prepare


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


# --- the schedule -------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [1, 2, 5, 20, 100, 400, 1000])
def test_windows_grow_and_the_last_look_ends_warmup(total):
    _, tuner = prepare(mcmc.HMC(), 5, np.dtype("float64"))
    steps = tuner.steps(total)
    assert steps == sorted(set(steps))
    assert steps[0] >= 1
    assert steps[-1] == total
    assert {int(f * total) for f in WINDOWS} - {0} <= set(steps)
    assert np.diff([0, *steps]).max() <= LONG_CALLS
    calls = np.diff([0, *steps])
    assert all(n <= 1 + t // SHORT_CALLS for t, n in zip([0, *steps], calls, strict=False))  # short at first
    assert np.all(np.diff(np.diff([0, *(f * total for f in WINDOWS)])) > -1e-9)
    assert max(WINDOWS) <= 0.9


def test_no_warmup_has_no_steps():
    _, tuner = prepare(mcmc.HMC(), 5, np.dtype("float64"))
    assert tuner.steps(0) == []


TOTAL, WIDTHS = 200, np.array([0.1, 1.0, 10.0])


def warmed(kernel, rate=lambda kernel, t: 0.9, dtype="float64"):
    """What every look of a warmup leaves, {iteration: (tuning, kernel)}; positions grow by the window they are in."""
    kernel, tuner = prepare(kernel, 3, np.dtype(dtype))
    rng, found, before = np.random.default_rng(4), {}, 0
    state, kernel = tuner.init(kernel)
    found[0] = state, kernel
    for t in tuner.steps(TOTAL):
        window = sum(int(f * TOTAL) < t for f in WINDOWS)
        positions = rng.normal(size=((t - before) * 500, 3)) * WIDTHS * 2.0**window
        state, kernel = tuner.adjust(state, kernel, t, TOTAL, rate(kernel, t), positions, None)
        found[t], before = (state, kernel), t
    return found


def test_a_window_gives_the_metric_of_its_own_positions_alone():
    found = warmed(mcmc.HMC())
    ends = [int(f * TOTAL) for f in WINDOWS]
    for window, end in enumerate(ends):
        factor = found[end][1].metric.factor
        np.testing.assert_allclose(np.sqrt(np.diag(factor @ factor.T)), WIDTHS * 2.0**window, rtol=0.12)
        assert len(found[end][0].positions) == 0
    changed = [t for (s, (_, a)), (t, (_, b)) in itertools.pairwise(found.items()) if a.metric is not b.metric]
    assert changed == ends


def test_the_first_guess_of_a_step_size_after_a_window_is_scaled_and_averaged_anew():
    found = warmed(mcmc.HMC())
    times = list(found)
    for end in (int(f * TOTAL) for f in WINDOWS):
        state, kernel = found[end]
        assert state.step.count == 0
        assert kernel.step_size == pytest.approx(np.exp(state.step.log_step))
        assert found[times[times.index(end) + 1]][0].step.count == 1


def rate_of(kernel, t=0):
    """An acceptance rate that falls with the length of a step in the positions."""
    return np.exp(-((float(kernel.step_size) * np.linalg.det(kernel.metric.factor) ** (1 / 3)) ** 2))


def test_sampling_gets_the_averaged_step_size():
    found = warmed(mcmc.HMC(target_acceptance=0.8), rate_of)
    state, kernel = found[TOTAL]
    assert kernel.step_size == np.exp(state.step.log_average)
    assert kernel.step_size != np.exp(state.step.log_step)
    assert abs(rate_of(kernel) - 0.8) < 0.05
    assert all(k.step_size == np.exp(s.step.log_step) for t, (s, k) in found.items() if t < TOTAL)


@pytest.mark.parametrize("rate", [np.nan, np.inf])
def test_a_rate_that_is_not_finite_makes_steps_smaller(rate):
    found = warmed(mcmc.HMC(), lambda kernel, t: rate)
    assert found[4][1].step_size < found[0][1].step_size
    assert all(0 < kernel.step_size < np.inf for _, kernel in found.values())


def test_steps_are_few_until_the_metric_is_known_a_little():
    found = warmed(mcmc.HMC(max_steps=300))
    caps = [int(kernel.max_steps) for _, kernel in found.values()]
    assert caps[0] == EARLY_STEPS
    assert caps == sorted(caps)
    assert set(caps) == {16, 32, 64, 128, 300}
    assert all(kernel.max_steps == 300 for t, (_, kernel) in found.items() if t >= WINDOWS[-2] * TOTAL)
    assert all(kernel.max_steps == 7 for _, kernel in warmed(mcmc.HMC(max_steps=7)).values())


def test_a_kernel_keeps_the_types_that_its_program_was_compiled_for():
    found = warmed(mcmc.HMC(), dtype="float32")
    types = [[(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(kernel)] for _, kernel in found.values()]
    assert all(kind == types[0] for kind in types)


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
    np.testing.assert_allclose(kernel.metric.factor @ kernel.metric.factor.T, CORRELATED)
    assert prepare(mcmc.Stretch(), 5, dtype)[1] is None
    wide = prepare(mcmc.RandomWalk(), 1000, dtype)[0].metric
    assert (wide.factor.shape, wide.directions.shape) == ((1000,), (1000, RANK))
    assert prepare(mcmc.RandomWalk(), 5, np.dtype("float32"))[0].metric.factor.dtype == np.float32


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


def test_without_warmup_the_most_steps_are_those_of_the_user():
    kernel = mcmc.HMC(step_size=0.02, max_steps=60)
    draws = draw(target_of("correlated_normal"), kernel, **{**SETTINGS, "chains": 4, "draws": 20, "warmup": 0})
    steps = draws["sample_stats"]["n_steps"].values
    assert 16 < steps.min() < steps.max() == 60


def test_in_hundreds_of_dimensions_a_wide_direction_is_found_and_sampled():
    """N(0, I) but for a variance of 400 along (1, ..., 1), which a diagonal metric takes 20 times the length for."""
    dim = 400

    def log_density(p):
        return -0.5 * (jnp.sum(p["x"] ** 2) - (1 - 1 / 400) * jnp.sum(p["x"]) ** 2 / dim)

    target = mcmc.Target(log_density, {"x": mcmc.real(dim)})
    with unconverged():
        draws = mcmc.sample(target, chains=32, draws=100, warmup=100, superchains=0, seed=4, progress=False)
    along = draws["posterior"]["x"].values.sum(-1) / np.sqrt(dim)
    effective = float(mcmc.ess(along))
    assert effective > 200  # with a diagonal metric about 5
    assert abs(along.var() / 400 - 1) < 5 * np.sqrt(2 / effective)
    assert draws["sample_stats"]["n_steps"].values.mean() < 40
