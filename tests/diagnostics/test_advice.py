"""What to do next is said of the run at hand, and works."""

import warnings

import numpy as np
import pytest
from judged import ar, judge

import mcmc


@pytest.mark.parametrize(("lp", "says"), [(0.0, "constant"), (0.5, "rises without end")])
def test_an_improper_density_is_named(lp, says):
    steps = np.random.default_rng(0).normal(size=(64, 320)) + (lp > 0)
    x = steps.cumsum(axis=1)
    verdict = judge(x, sample_stats={"lp": lp * x})
    step = verdict.next_step
    assert step is not None
    assert "Possibly not a proper density in x" in step["cause"]
    assert says in step["cause"]
    settling = judge(x, sample_stats={"lp": -0.5 * (x / 5) ** 2}).next_step
    assert settling is not None
    assert "proper" not in settling["cause"]


def test_a_good_run_has_no_next_step():
    assert judge(ar(0.1, 4, 500)).next_step is None


def test_draws_of_other_tools_get_no_call():
    step = judge(ar(0.98, 4, 500)).next_step
    assert step is not None
    assert step["call"] == ""
    assert step["seen"]


def test_too_few_draws_are_resumed_as_said():
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = mcmc.sample(target, chains=4, draws=40, warmup=200, progress=False)
        verdict = mcmc.diagnose(draws, rhat=1.5)
        assert verdict.next_step is not None
        assert verdict.next_step["check"].startswith("ess")
        call = verdict.next_step["call"]
        assert call in str(verdict)
        more = eval(call.replace(")", ", progress=False)"), {"mcmc": mcmc, "target": target, "draws": draws})
    assert mcmc.diagnose(more, rhat=1.5).ok


def test_the_report_of_a_verdict_is_data():
    step = judge(ar(0.98, 4, 500)).to_dict()["next_step"]
    assert set(step) == {"check", "seen", "cause", "call"}
    with pytest.raises(KeyError):
        step["typo"]
