"""R-hat convicts many chains that stay apart, at any number of them, and acquits those that are only short."""

import numpy as np
import pytest

from mcmc.diagnostics import diagnose
from mcmc.diagnostics.modes import valleys

RNG = np.random.default_rng(0)


def judged(x, groups=True):
    run = {"posterior": {"x": x}}
    if groups:
        run["run_state"] = {"superchain": np.arange(len(x)) % 16}
    return diagnose(run)


@pytest.mark.parametrize("chains", [17, 64, 512, 2048])
@pytest.mark.parametrize("apart", [0.5, 3.0])
@pytest.mark.parametrize("groups", [True, False])
def test_chains_that_stay_apart_fail_at_any_number(chains, apart, groups):
    x = apart * RNG.normal(size=(chains, 1)) + RNG.normal(size=(chains, 200))
    verdict = judged(x, groups and chains >= 32)
    assert verdict["rhat"].failed
    assert verdict["rhat"].severity == "error"
    assert not verdict.ok
    if apart > 1:  # what chains keep does not average out: the ESS that is judged does not grow with their number
        assert verdict["ess_bulk"].value < 100


def test_chains_of_other_spreads_fail():
    x = RNG.normal(size=(64, 300)) * np.where(np.arange(64) % 2, 1.0, 3.0)[:, None]
    assert judged(x)["rhat"].failed


def test_chains_that_never_move_fail_without_a_warning():
    assert judged(np.repeat(RNG.normal(size=(64, 1)), 200, 1))["rhat"].failed
    some = RNG.normal(size=(64, 200))
    some[::2] = some[::2, :1]
    assert judged(some)["rhat"].failed


@pytest.mark.parametrize(("chains", "draws"), [(64, 200), (512, 200), (1024, 100)])
def test_short_chains_that_move_do_not(chains, draws):
    x = np.empty((chains, draws))
    x[:, 0] = RNG.normal(size=chains)
    for t in range(1, draws):
        x[:, t] = 0.95 * x[:, t - 1] + (1 - 0.95**2) ** 0.5 * RNG.normal(size=chains)
    check = judged(x)["rhat"]
    assert check.value > 1.15
    assert not check.failed


def test_few_draws_have_no_valleys():
    assert all(valleys(RNG.normal(size=(4, draws))) is None for draws in (5, 20, 50, 100, 300) for _ in range(20))
    both = RNG.normal(size=(4, 100)) + 20 * RNG.integers(2, size=(4, 100))
    assert valleys(both) is not None
