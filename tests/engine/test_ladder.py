"""What a run with `until` and no kernel named does where it does not get there."""

import json
import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.diagnostics.modes import modes_of
from mcmc.engine.stopping import Converged

UNTIL = mcmc.Converged(ess=400)
TWO = mcmc.Target(
    lambda p: jnp.logaddexp(jnp.log(0.7) - 0.5 * (p["x"] - 12) ** 2, jnp.log(0.3) - 0.5 * (p["x"] + 12) ** 2),
    {"x": mcmc.real()},
)
START = {"x": np.where(np.arange(32) % 2, 12.0, -12.0)}


def quiet(function, *args, progress: Any = False, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return function(*args, progress=progress, **options)


class Watch:
    """Interrupts a run in a phase, after so many phases of warmup; keeps what it was told."""

    def __init__(self, warmups=0, phase="", done=0):
        self.warmups, self.phase, self.done = warmups, phase, done
        self.seen, self.last = 0, ""

    def __call__(self, update):
        self.seen += update.phase == "warmup" and (self.last != "warmup" or update.done < self.at)
        self.last, self.at = update.phase, update.done
        if self.warmups and self.seen >= self.warmups and update.phase == self.phase and update.done >= self.done:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def whole():
    return quiet(mcmc.sample, TWO, init=START, warmup=100, until=UNTIL)


def test_chains_in_two_modes_go_on_with_tempering_and_have_the_right_weights(whole):
    (left,) = json.loads(whole.attrs["attempts"])
    assert whole.attrs["stopped"] == "converged"
    assert left["kernel"] == "HMC"
    assert "2 modes" in left["seen"]
    assert "Tempered" in left["then"]
    assert "Tempered" in whole.attrs["kernel"]
    x = whole.posterior["x"].values
    error = np.sqrt(0.21 / float(mcmc.ess(x > 0, method="mean")))
    assert abs((x > 0).mean() - 0.7) < 5 * error
    verdict = mcmc.diagnose(whole)
    assert verdict.ok
    assert "2 modes" in verdict["attempts"].message


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(("warmups", "phase", "done"), [(2, "warmup", 50), (2, "sampling", 10)])
def test_a_run_interrupted_on_the_ladder_goes_on_to_the_same_bits(whole, stored, warmups, phase, done, tmp_path):
    store = tmp_path / "run.zarr" if stored else None
    options = {"init": START, "warmup": 100, "until": UNTIL, "store": store}
    part = quiet(mcmc.sample, TWO, progress=Watch(warmups, phase, done), **options)
    assert part.attrs["status"] == "interrupted"
    assert ("attempts" in part.attrs) == (phase == "sampling")
    more = quiet(mcmc.resume, TWO, store or part)
    assert more.attrs["attempts"] == whole.attrs["attempts"]
    assert np.array_equal(more.posterior["x"].values, whole.posterior["x"].values)
    assert np.array_equal(more.sample_stats["swap_rate"].values, whole.sample_stats["swap_rate"].values)


def test_a_kernel_that_was_named_is_kept():
    until = mcmc.Converged(max_draws=250)
    draws = quiet(mcmc.sample, TWO, mcmc.HMC(), init=START, warmup=100, until=until)
    assert draws.attrs["stopped"] == "max_draws"
    assert "attempts" not in draws.attrs


def test_a_deadline_in_the_middle_of_a_step_returns_the_draws_before_it(monkeypatch):
    monkeypatch.setattr("mcmc.ladder.decide.Ladder._room", lambda *_: True)
    seen = Watch()

    def slow(update):
        seen(update)
        if seen.seen > 1:
            import time

            time.sleep(1.0)

    until = mcmc.Converged(max_seconds=2.0)
    draws = quiet(mcmc.sample, TWO, init=START, warmup=100, until=until, progress=slow)
    assert draws.attrs["stopped"] == "max_seconds"
    assert draws.posterior.sizes["draw"] == 100
    assert not mcmc.diagnose(draws).ok


def test_an_improper_direction_is_said():
    flat = mcmc.Target(lambda p: -0.5 * (p["a"] + p["b"]) ** 2, {"a": mcmc.real(), "b": mcmc.real()})
    draws = quiet(mcmc.sample, flat, until=UNTIL)
    assert draws.attrs["stopped"] == "improper"
    assert "along a, b" in draws.attrs["seen"]
    verdict = mcmc.diagnose(draws)
    assert not verdict.ok
    assert "no finite integral" in verdict["attempts"].message


def chains(centres, draws=200, correlation=0.0):
    """Normal chains (chain, draw, 1) around their centres, autocorrelated."""
    noise = np.random.default_rng(0).normal(size=(len(centres), draws))
    x = np.zeros_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, draws):
        x[:, t] = correlation * x[:, t - 1] + np.sqrt(1 - correlation**2) * noise[:, t]
    return (x + np.asarray(centres)[:, None])[:, :, None]


def test_modes_are_told_from_chains_that_are_slow():
    assert modes_of(chains(np.zeros(16))) is None
    assert modes_of(chains(np.zeros(64), correlation=0.999)) is None
    found = modes_of(chains([0.0] * 10 + [8.0] * 6))
    assert found is not None
    assert found.tolist() == [0] * 10 + [1] * 6


def test_slow_chains_draw_on_while_the_budget_does():
    from mcmc.diagnostics.inputs import groups_of
    from mcmc.ladder.findings import find

    x = chains(np.zeros(16), 600, 0.97)[:, :, 0]
    groups = groups_of({"posterior": {"x": x}, "sample_stats": {"lp": -0.5 * x**2}})
    assert find(groups, Converged(ess=2000), 10_000, False) is None
    found = find(groups, Converged(ess=2000), 700, False)
    assert found is not None
    assert found.kind == "slow"


def test_the_search_for_a_direction_takes_no_memory_of_chains_squared():
    target = mcmc.Target(lambda p: -0.5 * jnp.sum((p["x"] / 100) ** 2), {"x": mcmc.real(2)})
    kernel = mcmc.HMC(step_size=0.1, num_steps=1, metric=[1.0, 1.0])
    draws = quiet(mcmc.sample, target, kernel, chains=100_000, warmup=0, draws=4, superchains=0)  # 75 GiB, once
    assert not mcmc.diagnose(draws).ok
