"""Chains on the device by the engine's own program: any number of iterations in one call, draws kept on the device."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcmc.bench.measure import DTYPE, free_memory, median_seconds
from mcmc.bench.measure import Plan as BenchPlan
from mcmc.engine.devices import devices_of, layout_of
from mcmc.engine.loop import Span
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.random import keys
from mcmc.target.target import Target
from mcmc.warmup.tuners import prepare

LEAST, MOST = 2, 4096
SHARE = 0.02
ROW_BYTES_ON_CPU = 2**28
WORDS = keys.run_words(0)


@dataclass
class Bare:
    """A run without warmup, begun, and how many iterations it makes in a repeat."""

    run: Run
    progress: Progress
    iterations: int = 0
    seconds: float = 0.0

    @property
    def chain_steps(self) -> int:
        """Transitions of one repeat, of all chains."""
        return self.iterations * self.run.layout.chains

    @property
    def bytes_kept(self) -> int:
        """Bytes that one transition of one chain writes: the draw and its statistics."""
        stats = sum(np.dtype(s.dtype).itemsize for s in self.run.statistics)
        return self.run.traced.width * self.run.plan.dtype.itemsize + stats

    def call(self, iterations: int) -> None:
        """So many iterations from the start, awaited."""
        self.run.programs.call(self.progress.leaves, self.progress.chains, Span.of(0, iterations))

    def measure(self, plan: BenchPlan) -> None:
        """Choose the iterations of a repeat by the pace, and take the median of its seconds."""
        self.call(LEAST)
        began = time.perf_counter()
        self.call(LEAST)
        pace = (time.perf_counter() - began) / LEAST
        self.iterations = int(np.clip(plan.seconds / pace, LEAST, self.run.layout.rows))
        self.seconds = median_seconds(lambda: self.call(self.iterations), plan.repeats)

    def kept(self, statistic: str) -> np.ndarray:
        """A recorded statistic of the last repeat, (chain, iteration)."""
        which = [s.name for s in self.run.statistics].index(statistic)
        return self.run.layout.join([rows.statistics[which] for rows in self.run.programs.rows])[:, : self.iterations]


def begun(target: Target, kernel: Any, positions: np.ndarray, scratch: int = 0) -> Bare | str:
    """Chains of a kernel whose settings are all given, at these positions (chain, dim); or why they do not fit.

    `scratch` is how many bytes a chain needs besides its draws.
    """
    traced, chains = target.trace(DTYPE), len(positions)
    prepared, _ = prepare(kernel, target.dim, DTYPE)
    numbers = traced.width + 8
    layout = layout_of(chains, None, numbers, DTYPE.itemsize, prepared, False, devices_of(None))
    at_once = chains if layout.devices[0].platform != "cpu" else layout.lanes * len(layout.devices)
    a_row, free = chains * numbers * DTYPE.itemsize, free_memory()
    needed = LEAST * a_row + at_once * scratch
    if needed > free / 2:
        return f"takes {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
    room = min(SHARE * free, ROW_BYTES_ON_CPU) if layout.devices[0].platform == "cpu" else SHARE * free
    layout = replace(layout, rows=int(np.clip(room // a_row, LEAST, MOST)))
    run = Run(Plan(target, traced, prepared, Settings(chains, 1, 0, 1, None), WORDS, DTYPE), None, layout)
    return Bare(run, run.begin(positions)[0])
