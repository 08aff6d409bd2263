"""Those who watch a run: its moments and its end are told to a reporter that asks for them, and to no other."""

import numpy as np
import pytest

import mcmc
from mcmc.diagnostics import Moments
from mcmc.engine.labels import labels_of
from mcmc.engine.progress import CallReporter, Reporter, Update
from mcmc.engine.progress_displays import make_reporter

TARGET = mcmc.Target(lambda p: -0.5 * p["mu"] ** 2 - 0.5 * (p["x"] ** 2).sum(), {"mu": mcmc.real(), "x": mcmc.real(2)})


class Watcher:
    """Keeps what it is told."""

    def __init__(self):
        self.updates, self.tables, self.ends = [], [], []

    def __call__(self, update):
        self.updates.append(update)

    def take_moments(self, moments, names):
        self.tables.append((moments.draws, moments.mean(), list(names)))

    def end_run(self, status, why):
        self.ends.append((status, why))


def test_a_watcher_is_given_the_moments_and_the_end():
    watcher = Watcher()
    draws = mcmc.sample(TARGET, chains=4, draws=500, warmup=300, seed=2, progress=watcher)
    count, mean, names = watcher.tables[-1]
    assert (count, names) == (500, ["mu", "x[0]", "x[1]"])
    x = draws["posterior"]
    np.testing.assert_allclose(mean, [x["mu"].mean(), *x["x"].mean(("chain", "draw"))], atol=1e-12)
    assert watcher.ends == [("finished", "")]
    assert watcher.updates[-1].done == 500


def test_without_a_watcher_nothing_is_told(monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr("mcmc.engine.between_chunks.labels_of", never)
    updates = []
    mcmc.sample(TARGET, chains=4, draws=500, warmup=300, seed=2, progress=updates.append)
    assert any(update.rhat is not None for update in updates)
    assert not Reporter.takes_moments


def test_an_end_is_told_once_and_after_the_last_update():
    watcher = Watcher()
    with make_reporter(watcher) as reporter:
        reporter.update(Update("sampling", 1, 10, 1, 1.0))
        reporter.end_run("interrupted", "by hand")
        reporter.end_run("finished")
    assert watcher.ends == [("interrupted", "by hand")]
    for error, told in ((KeyboardInterrupt(), ("interrupted", "")), (OSError("a\nb"), ("failed", "OSError: a b"))):
        watcher = Watcher()
        with pytest.raises(type(error)), make_reporter(watcher):
            raise error
        assert watcher.ends == [told]


def test_a_watcher_that_breaks_is_warned_of_and_left_alone():
    watcher = Watcher()
    watcher.take_moments = lambda moments, names: 1 / 0
    reporter = CallReporter(watcher)
    with pytest.warns(RuntimeWarning, match="ZeroDivisionError"):
        reporter.take_moments(Moments(), [])
    reporter.end_run("finished")
    assert watcher.ends == []


@pytest.mark.filterwarnings("ignore::mcmc.ConvergenceWarning")
def test_labels_are_those_of_the_diagnosis():
    dims, coords = {"theta": ["school", "year"]}, {"school": ["a", "b"]}
    target = mcmc.Target(
        lambda p: -0.5 * (p["theta"] ** 2).sum() - 0.5 * p["mu"] ** 2,
        {"theta": mcmc.real(2, 3), "mu": mcmc.real()},
        derived=lambda p: {"none": p["theta"][:0], "largest": p["theta"].max()},
        dims=dims,
        coords=coords,
    )
    draws = mcmc.sample(target, chains=4, draws=50, warmup=50, progress=False)
    names = list(labels_of(target, target.trace(np.dtype("float32")).columns))
    assert names == list(mcmc.diagnose(draws).labels)
    assert "theta[b, 2]" in names
