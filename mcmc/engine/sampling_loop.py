"""The sampling loop: chunk after chunk of iterations, each as long as the display and the disk want it."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from mcmc.engine.between_chunks import Monitor, Outputs
from mcmc.engine.loop import Chains, Span
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run

FIRST_CHUNK, CHUNK_SECONDS = 16, 0.2


def advance(run: Run, progress: Progress, stop: int, outputs: Outputs, deadline: float = np.inf) -> None:
    """On to iteration `stop`, or until the clock passes `deadline`.

    Ctrl-C leaves in `progress` what is complete.
    """
    monitor, watched = Monitor(run, outputs, progress.iteration, stop), outputs.moments is not None
    sampling = monitor.phase == "sampling"
    thin, pace = run.plan.settings.thin if sampling else 1, run.programs.pace
    processes, recorder = run.layout.processes, outputs.recorder
    size = max(FIRST_CHUNK, int(CHUNK_SECONDS / pace) // thin if pace else 0) * thin
    try:
        while progress.iteration < stop and not processes.first(time.perf_counter() >= deadline):
            n = min(run.plan.chunk or int(processes.first(size)), run.layout.rows * thin, stop - progress.iteration)
            n = max(thin, n - n % thin)
            n = min(n, recorder.room * thin) if recorder else n
            start = time.perf_counter()
            chains = call_chunk(run, progress, progress.iteration + n, thin, monitor)
            progress.chains, progress.iteration = chains, progress.iteration + n
            if recorder:
                recorder.mark(progress)
            size = thin * max(1, int(min(n * CHUNK_SECONDS / (time.perf_counter() - start), 8 * n)) // thin)
            if watched or outputs.shown:
                monitor.see(n // thin)
            if outputs.shown:
                rate = run.layout.local([c.rate for c in chains]).mean(0, dtype=np.float64) / n
                monitor.report(progress, rate, outputs.moments)
    finally:
        outputs.moments = outputs.moments if watched else None
        spent = time.perf_counter() - monitor.began
        if sampling:
            run.timings.sampling_time += spent
        else:
            run.timings.warmup_time += spent


def call_chunk(run: Run, progress: Progress, stop: int, thin: int, monitor: Monitor) -> list[Chains]:
    """The chains at iteration `stop`, all draws on the way recorded; `progress` is left as it was."""
    chains = run.programs.call(progress.leaves, progress.chains, Span.of(progress.iteration, stop, thin))
    monitor.check(chains, stop)
    n = (stop - progress.iteration) // thin
    monitor.count(n, thin)
    if monitor.outputs.recorder is not None:
        monitor.outputs.recorder.write([_written(rows[:2], n) for rows in run.programs.rows])
    return chains


def _written(rows: tuple, n: int) -> Any:
    """The first `n` rows of a device, on the host."""
    return jax.tree.map(lambda r: np.asarray(r)[:, :, :n], rows)
