"""From one step of the ladder to the next: warm up with other settings, then put their draws in place of the old."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from mcmc.engine.between_chunks import Outputs
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.ladder.rungs import next_kernel, next_run_plan
from mcmc.sampling.steps import Drawn, draw, find_chains, make_run, warm_up_checked, warmup_recorder
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
        run.deadline, run.began = old.run.deadline, old.run.began
        state = find_chains(run)
        run.on_adaptation = _stop_at(old.run.deadline)
        warm = warmup_recorder(run, state)
        warm_up_checked(run, state, Outputs(reporter, warm))
    except OutOfTime:
        reporter.note("no time was left for it: the draws so far are returned")
        old.run.stopped = "max_seconds"
        return old
    except KeyboardInterrupt:
        reporter.note("interrupted: the draws so far are returned, and mcmc.resume goes on from here")
        return replace(old, status="interrupted")
    run.on_adaptation = lambda _: None
    _add_times(run, old)
    if run.plan.store:
        renew_store(run)
    return draw(run, state, warm, reporter)


def _stop_at(deadline: float | None) -> Callable[[Progress], None]:
    """What ends warmup at the first adaptation step after the deadline."""

    def look(_: Progress) -> None:
        if deadline is not None and time.perf_counter() >= deadline:
            raise OutOfTime

    return look


def _add_times(run: Run, old: Drawn) -> None:
    """All that was spent on earlier settings counts as compiling or warmup."""
    before = old.run.plan.old.attrs if old.run.plan.old is not None else {}
    earlier, times = old.run.timings, run.timings
    times.compile_time += earlier.compile_time + float(before.get("compile_time", 0.0))
    times.warmup_time += earlier.warmup_time + earlier.sampling_time
    times.warmup_time += float(before.get("warmup_time", 0.0)) + float(before.get("sampling_time", 0.0))
