"""From one step of the ladder to the next: warm up with other settings, then put their draws in place of the old."""

from __future__ import annotations

import time
from dataclasses import replace

from mcmc.engine.between_chunks import Outputs
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress, Timings
from mcmc.engine.run import Run
from mcmc.ladder.rungs import next_kernel, next_run_plan
from mcmc.sampling_steps import Drawn, draw, find_chains, make_run, warm_up_run, warmup_recorder
from mcmc.storage.runs import renew_store


class OutOfTime(Exception):
    """The deadline passed in warmup."""


def climb(old: Drawn, reporter: Reporter) -> Drawn:
    """The next settings, warmed up and drawn from; the old draws, where the clock or Ctrl-C ends it before that.

    The old draws, and what is committed of them, stay until the new warmup is over: a run that ends before goes on
    from there, comes to the same decision, and warms up again to the same bits.
    """
    finding, old.run.finding = old.run.finding, None
    chosen = next_kernel(old.run, finding)
    assert chosen is not None
    kernel, step = chosen
    drawn = (old.state.iteration - old.run.plan.settings.warmup) // old.run.plan.settings.thin
    reporter.note(f"{drawn:,} draws a chain: {finding.seen}. Now: {step}; these draws count as warmup")
    if old.run.plan.store:
        old.recorder.mark(old.state, "interrupted")
        old.recorder.wait()
    try:
        run = make_run(next_run_plan(old.run, old.state, finding, kernel, step))
        run.deadline, run.began, run.timings.__dict__.update(_times(old.run).__dict__) if False else old.run.began
        state = find_chains(run)
        run.on_adaptation = _watch(old.run.deadline)
        warm = warmup_recorder(run, state)
        warm_up_run(run, state, Outputs(reporter, warm))
    except OutOfTime:
        reporter.note("no time was left for it: the draws so far are returned")
        old.run.stopped = "max_seconds"
        return old
    except KeyboardInterrupt:
        reporter.note("interrupted: the draws so far are returned, and mcmc.resume goes on from here")
        return replace(old, status="interrupted")
    run.on_adaptation = lambda _: None
    if run.plan.store:
        renew_store(run)
    return draw(run, state, warm, reporter)
