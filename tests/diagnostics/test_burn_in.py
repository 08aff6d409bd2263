"""The check `burn_in`: chains that begin elsewhere are told, with how many draws to drop; slow chains are not."""

import numpy as np
import pytest

import mcmc

T = 1000


def chains(count, slow=0.5, seed=0):
    noise = np.random.default_rng(seed).normal(size=(count, T))
    x = noise.copy()
    for t in range(1, T):
        x[:, t] = slow * x[:, t - 1] + np.sqrt(1 - slow**2) * noise[:, t]
    return x


def judged(**groups):
    return mcmc.diagnose({"posterior": {"y": chains(4, seed=9)}} | groups)["burn_in"]


@pytest.mark.parametrize("count", [1, 4, 32])
@pytest.mark.parametrize("start", ["far away", "in a ball"])
def test_a_beginning_elsewhere_is_told_and_dropping_it_is_enough(count, start):
    x, gone = chains(count), np.exp(-np.arange(T) / 30)
    if start == "in a ball" and count < 32:
        pytest.skip("few chains in the middle show nothing")
    x = x + 20 * gone if start == "far away" else x * (1 - gone)
    check = mcmc.diagnose({"posterior": {"x": x, "y": chains(count, seed=1)}})["burn_in"]
    assert (check.failed, check.severity, check.parameters) == (True, "error", ("x",))
    assert 60 <= check.value <= 300
    assert f"burn={check.value:.0f}" in check.advice
    assert mcmc.diagnose({"posterior": {"x": x[:, int(check.value) :]}})["burn_in"].passed


@pytest.mark.parametrize(("count", "start"), [(1, 100), (4, 30), (32, 100)])
def test_a_start_far_out_that_is_left_within_few_draws_is_told(count, start):
    x = np.tile(chains(count), 8)  # 8,000 draws: a fiftieth of them hides the start
    x = x + start * 0.5 ** np.arange(8 * T)
    verdict = mcmc.diagnose({"posterior": {"x": x}})
    assert (verdict.ok, verdict["burn_in"].failed) == (False, True)
    assert 4 < verdict["burn_in"].value <= 40
    assert mcmc.diagnose({"posterior": {"x": x[:, int(verdict["burn_in"].value) :]}})["burn_in"].passed


def test_it_is_the_next_step_whatever_else_fails():
    verdict = mcmc.diagnose({"posterior": {"x": chains(4) + 20 * np.exp(-np.arange(T) / 30)}})
    assert verdict.next_step["check"] == "burn_in"
    assert verdict.next_step["call"].startswith("mcmc.read(files, burn=")


def test_what_follows_from_it_has_no_advice_of_its_own():
    x = chains(4) + 30 * np.exp(-np.arange(T) / 30)
    verdict = mcmc.diagnose({"posterior": {"x": x}})
    assert {"rhat", "ess_bulk", "heavy_tails"} <= {check.code for check in verdict.failures}
    for check in verdict.failures:
        assert check.code == "burn_in" or check.advice == "This follows from what burn_in says."


def test_the_log_density_tells_it_too():
    lp = chains(4) - 40 * np.exp(-np.arange(T) / 50)
    check = judged(sample_stats={"lp": lp})
    assert check.failed
    assert "the log density" in check.message


@pytest.mark.parametrize("law", [lambda x: x, np.exp, np.sinh])
@pytest.mark.parametrize("slow", [0.0, 0.9, 0.97])
def test_stationary_chains_are_not_accused(law, slow):
    for seed in range(20):
        assert mcmc.diagnose({"posterior": {"x": law(chains(4, slow, seed))}}, quick=True)["burn_in"].passed


def test_a_run_that_never_settles_is_told_to_run_longer():
    x = chains(4) + 40 * np.clip(1 - np.arange(T) / 600, 0, None)
    check = mcmc.diagnose({"posterior": {"x": x}})["burn_in"]
    assert not check.failed or "longer" in check.advice


def test_short_runs_and_runs_of_ours_have_no_such_check():
    x = chains(4)
    short = mcmc.diagnose({"posterior": {"x": x[:, :30]}})
    ours = mcmc.diagnose({"posterior": {"x": x}, "run_state": {"superchain": np.arange(4)}})
    for verdict in (short, ours):
        assert "burn_in" not in [check.code for check in verdict.checks]
