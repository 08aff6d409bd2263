"""A discrete parameter that never changes in some chains is found; one that changes seldom is not."""

import numpy as np
import pytest

from mcmc.diagnostics import diagnose


def flips(rate, chains=4, draws=500, seed=0):
    """A boolean that changes with this probability from draw to draw."""
    rng = np.random.default_rng(seed)
    return (rng.integers(2, size=(chains, 1)) + (rng.random((chains, draws)) < rate).cumsum(axis=1)) % 2 == 1


def check(z):
    x = np.random.default_rng(9).normal(size=z.shape[:2])
    return diagnose({"posterior": {"z": z, "x": x}})["stuck_discrete"]


def test_a_chain_that_keeps_its_value_is_named():
    z = flips(0.3)
    z[2] = True
    found = check(z)
    assert found.failed
    assert (found.parameters, found.chains) == (("z",), (2,))
    assert "chain 2" in found.message


def test_chains_that_keep_different_values_are_stuck_all():
    found = check(np.repeat(np.array([[0], [1], [1], [0]]), 100, axis=1))
    assert found.chains == (0, 1, 2, 3)


@pytest.mark.parametrize("rate", [0.5, 0.05, 0.003, 0.0005])
def test_rare_changes_are_no_reason_unless_no_chain_changes_at_all(rate):
    runs = [flips(rate, seed=i) for i in range(40)]
    moving = [z for z in runs if (z[:, 1:] != z[:, :-1]).any()]
    assert len(moving) >= 20
    assert sum(check(z).failed for z in moving) <= 1


def test_only_the_element_that_is_stuck_is_named_among_many():
    z = np.random.default_rng(0).integers(0, 5, size=(4, 300, 50))
    z[1, :, 17] = 3
    found = check(z)
    assert found.parameters == ("z[17]",)
    assert found.chains == (1,)


def test_a_constant_is_not_stuck_and_continuous_runs_have_no_such_check():
    assert check(np.ones((4, 100), int)).passed
    codes = [c.code for c in diagnose({"posterior": {"x": np.random.default_rng(0).normal(size=(4, 100))}}).checks]
    assert "stuck_discrete" not in codes
    assert check(np.ones((1, 100), int)).made is False
