"""A run whose verdict lacks nothing but draws goes on at the default, and only there."""

import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.diagnostics.check import Check
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.sampling import longer as sampling_longer


def target():
    return mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(2)})


def diagnosis_of(*failed):
    """A diagnosis with these failed checks, as (code, value, threshold)."""
    checks = tuple(Check(code, "warning", False, code, value, threshold) for code, value, threshold in failed)
    found = object.__new__(Diagnosis)
    object.__setattr__(found, "checks", checks)
    return found


@pytest.mark.parametrize(
    ("failed", "times"),
    [
        ([], 0),
        ([("ess_bulk", 200.0, 400.0)], 2),
        ([("ess_bulk", 200.0, 400.0), ("rhat", 1.03, 1.01)], 3),
        ([("slow_tails", 3.0, 4.0)], 4 / 3),
        ([("ess_bulk", 20.0, 400.0)], 0),
        ([("ess_bulk", 200.0, 400.0), ("divergences", 30.0, 0.0)], 0),
        ([("ess_bulk", float("nan"), 400.0)], 0),
        ([("ess_bulk", float("nan"), 400.0), ("ess_tail", 200.0, 400.0)], 0),
    ],
)
def test_what_more_draws_would_mend(failed, times):
    assert sampling_longer.shortage(diagnosis_of(*failed)) == pytest.approx(times)


def lacking(monkeypatch, times):
    """Let diagnoses lack so many times the draws, one after the other, and then nothing."""
    left = iter(times)
    monkeypatch.setattr(sampling_longer, "shortage", lambda _: next(left, 0.0))


def test_the_draws_that_are_added_are_those_of_a_longer_run(monkeypatch):
    long = mcmc.sample(target(), draws=640, progress=False)
    lacking(monkeypatch, [1.2, 1.1])
    draws = mcmc.sample(target(), progress=False)
    made = draws.posterior.sizes["draw"]
    assert made == int(np.ceil(1.3 * 1.1 * np.ceil(1.3 * 1.2 * 320)))
    np.testing.assert_array_equal(
        draws.posterior["x"], mcmc.resume(target(), long, draws=made - 640, progress=False).posterior["x"]
    )
    assert draws["sample_stats"]["lp"].sizes["draw"] == made


def test_a_run_that_went_on_is_resumed_from_its_end(monkeypatch):
    lacking(monkeypatch, [1.2])
    draws = mcmc.sample(target(), progress=False)
    made = draws.posterior.sizes["draw"]
    more = mcmc.resume(target(), draws, draws=20, progress=False)
    whole = mcmc.sample(target(), draws=made + 20, progress=False)
    np.testing.assert_array_equal(more.posterior["x"], whole.posterior["x"])


def test_never_more_than_four_times_the_default(monkeypatch):
    lacking(monkeypatch, [4.0, 4.0, 4.0])
    assert mcmc.sample(target(), progress=False).posterior.sizes["draw"] == 4 * 320


@pytest.mark.parametrize("asked", [{"draws": 320}, {"kernel": mcmc.HMC()}, {"until": mcmc.Converged(ess=400)}])
def test_what_was_asked_for_is_what_is_drawn(monkeypatch, asked):
    lacking(monkeypatch, [2.0])
    plain = mcmc.sample(target(), progress=False, **asked)
    assert plain.posterior.sizes["draw"] <= 320
