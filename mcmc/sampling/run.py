"""A run from what was asked for to draws with a verdict, as `sample` makes it and as other rooms of the package do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mcmc.engine.progress import Reporter
from mcmc.engine.progress_displays import make_reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.engine.waiting import not_silent
from mcmc.sampling.checks import judge
from mcmc.sampling.longer import longer
from mcmc.sampling.steps import announce, draw, find_chains, make_run, plan_of, shown, stored, warmup_recorder
from mcmc.settings import Request, precision_of
from mcmc.storage.runs import create_store, every_few
from mcmc.storage.zarr_store import alone
from mcmc.target.predict import add_predictions

if TYPE_CHECKING:
    import xarray


def sampled(asked: Request, dtype: Any = None, progress: Any = False) -> xarray.DataTree:
    """The draws that were asked for, with `sample`'s warnings and errors."""
    with (
        make_reporter(shown(progress)) as reporter,
        not_silent(reporter),
        precision_of(dtype, asked.mesh) as precision,
    ):
        run = make_run(plan_of(asked, precision))
        with alone(run.plan.store):
            if run.plan.store:
                create_store(run.plan.store, run)
            announce(run, reporter)
            return carried_out(run, find_chains(run, reporter), reporter)


def carried_out(run: Run, state: Progress, reporter: Reporter) -> xarray.DataTree:
    """Warmup, sampling, other settings where these do not do, the data, the verdict."""
    run.began = time.time()
    done = draw(run, state, warmup_recorder(run, state), reporter)
    while done.run.finding is not None and done.status == "complete":
        from mcmc.ladder.climb import climb

        done = climb(done, reporter)
    run = done.run
    tree, diagnosis = (stored(done), None) if run.plan.store else longer(done, reporter)
    reporter.end_run("finished" if done.status == "complete" else "interrupted", run.stopped)
    drawn = tree["posterior"].sizes["draw"]
    if drawn and not run.plan.store and set(run.target.names) <= set(tree["posterior"].data_vars):
        add_predictions(tree, run.target)
    if drawn and run.layout.processes.index == 0:
        found = judge(tree, every_few(tree, reporter) if run.plan.store else tree, run, done.state, diagnosis)
        if found and run.plan.store:
            done.recorder.mark(done.state, done.status)
            done.recorder.wait()
    return tree
