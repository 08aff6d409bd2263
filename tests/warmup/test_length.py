"""The length of trajectories that pays."""

import numpy as np
import pytest

from mcmc.warmup.length import GROWTH, MOST, Length, slowest, update


def lengths(correlation_at, calls=12):
    """The factors that calls lead to, where the slowest coordinate has this autocorrelation at a factor."""
    state, found = Length(), []
    for _ in range(calls):
        state = update(state, correlation_at(float(state.factor)), 0.1)
        found.append(float(state.factor))
    return found


def test_where_chains_diffuse_trajectories_grow_as_long_as_that_pays():
    """A normal coordinate of 4 times the width that the metric knows: cos(t/4), t uniform from half the length on."""

    def correlation(factor):
        low, high = 0.25 * factor * np.pi / 4, 0.25 * factor * 3 * np.pi / 4
        return (np.sin(high) - np.sin(low)) / (high - low)

    found = lengths(correlation)
    assert found[-1] == found[-2]
    assert 2 <= found[-1] <= MOST * 1.01


def test_where_chains_wait_for_momentum_a_longer_trajectory_is_taken_back():
    assert lengths(lambda _: 0.95)[-1] == pytest.approx(1.0)


def test_where_nothing_is_slow_nothing_changes():
    assert set(lengths(lambda _: 0.1)) == {1.0}
    assert set(lengths(lambda _: np.nan)) == {1.0}


def test_one_step_is_a_factor_of_root_two():
    assert update(Length(), 0.9, 0.1).factor == pytest.approx(GROWTH)
    assert update(Length(), 0.45, 0.1).factor == 1.0  # noise may have made that


def test_the_slowest_coordinate_is_found_among_many():
    rng, decay = np.random.default_rng(0), np.full(500, 0.2)
    decay[7] = 0.9
    x = np.empty((64, 8, 500))
    x[:, 0] = rng.normal(size=(64, 500))
    for t in range(1, 8):
        x[:, t] = decay * x[:, t - 1] + np.sqrt(1 - decay**2) * rng.normal(size=(64, 500))
    correlation, noise = slowest(x)
    assert correlation == pytest.approx(0.9, abs=0.05)
    other, _ = slowest(np.delete(x, 7, 2))
    assert 0.2 < other < 0.2 + noise + 0.05


def test_of_too_few_pairs_nothing_is_said():
    assert np.isnan(slowest(np.zeros((8, 2, 3)))).all()
    assert np.isnan(slowest(np.ones((64, 4, 3)))).all()
