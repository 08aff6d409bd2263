"""The step size by stochastic approximation."""

from statistics import NormalDist

import numpy as np
import pytest

from mcmc.warmup import step_size


def rate_at(log_step, shape):
    """Acceptance rates that fall with the step size: like HMC's near 1, or like a random walk's."""
    return np.exp(-np.exp(2 * log_step)) if shape == "hmc" else np.exp(-np.exp(log_step))


@pytest.mark.parametrize("shape", ["hmc", "walk"])
@pytest.mark.parametrize("target", [0.234, 0.44, 0.8, 0.97])
@pytest.mark.parametrize("begin", [1e-3, 1.0, 50.0])
def test_the_average_comes_to_the_target_rate(target, begin, shape):
    rng = np.random.default_rng(0)
    state = step_size.start(np.array(begin))
    assert state.log_step == np.log(begin)
    for _ in range(3000):
        rate = rate_at(float(state.log_step), shape)
        noise = 0.5 * min(rate, 1 - rate) * rng.normal()
        state = step_size.update(state, np.clip(rate + noise, 0, 1), target)
    found = rate_at(float(state.log_average), shape)
    assert abs(found - target) < 0.1 * min(target, 1 - target)


def test_near_a_rate_of_one_few_steps_are_enough():
    state = step_size.start(0.05)
    for _ in range(12):
        state = step_size.update(state, rate_at(state.log_step, "hmc"), 0.97)
    assert abs(rate_at(state.log_step, "hmc") - 0.97) < 0.02


@pytest.mark.parametrize("target", [0.8, 0.9, 0.97])
@pytest.mark.parametrize("begin", [0.4, 4.0])
def test_normal_errors_of_the_energy_have_the_target_rate_after_one_step(target, begin):
    wanted = np.sqrt(-NormalDist().inv_cdf(target / 2))  # the rate is 2 Φ(−ε²)
    rate = 2 * NormalDist().cdf(-((begin * wanted) ** 2))
    state = step_size.update(step_size.start(begin * wanted), rate, target)
    assert np.isclose(np.exp(state.log_step), wanted)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_it_goes_the_right_way_and_stays_finite(rate):
    state = step_size.start(np.array(1.0))
    for _ in range(300):
        state = step_size.update(state, rate, 0.5)
    assert np.isfinite(float(state.log_average))
    assert (float(state.log_average) > 0) == (rate == 1.0)
