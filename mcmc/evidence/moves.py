"""Particles moved by Markov chains that leave one level invariant, with a kernel tuned from the particles."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from mcmc.engine.between_chunks import Outputs
from mcmc.engine.devices import devices_of, layout_of
from mcmc.engine.loop import Span
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.engine.sampling_loop import advance
from mcmc.evidence.path import Path, Points
from mcmc.target.proposals import bind
from mcmc.warmup.metric import metric_of
from mcmc.warmup.tuners import prepare

POOR, MOST_TRIES = 0.5, 6
GAIN, SLOWEST, FASTEST = 3.0, 0.35, 2.0


class Sizes(NamedTuple):
    """How many islands, rows of each, states kept of every row at a level, and steps from one to the next."""

    islands: int
    rows: int
    steps: int
    thin: int


class Mover:
    """Chains of all islands at one level after the other: one program, one kernel that follows the particles."""

    def __init__(self, path: Path, kernel: Any, sizes: Sizes, words: np.ndarray, dtype: Any):
        self.islands, self.rows, self.steps, self.thin = islands, rows, steps, thin = sizes
        self.traced = path.trace(dtype)
        kernel, _ = prepare(bind(kernel, path, dtype), path.dim, dtype)
        settings = Settings(islands * rows, steps, 0, thin, None)
        self.plan = Plan(path, self.traced, kernel, settings, words, np.dtype(dtype), devices=devices_of(None))
        numbers = self.traced.width + 8
        self.layout = layout_of(settings.chains, None, numbers, dtype.itemsize, kernel, False, self.plan.devices)
        self.target_rate = kernel.target_rate(path.dim)
        self.iteration, self.gradients = 0, 0

    def at(self, level: float) -> Any:
        """The traced path at this level: the level is the data's last array by name."""
        arrays = list(self.traced.arrays)
        arrays[self._place] = np.asarray(level, np.asarray(arrays[self._place]).dtype)
        return dataclasses.replace(self.traced, arrays=tuple(arrays))

    @property
    def _place(self) -> int:
        """Where the level lies among the arrays: after the leaves of the target's own data."""
        return len(jax.tree.leaves(self.plan.target.data)) - 1

    def tune(self, positions: np.ndarray) -> None:
        """Take the metric from positions (n, dim) that follow the level to come."""
        kernel: Any = self.plan.kernel
        metric = metric_of(positions, None, kernel.metric)
        self.plan = dataclasses.replace(self.plan, kernel=dataclasses.replace(kernel, metric=metric))

    def __call__(self, starts: np.ndarray, level: float) -> tuple[Points, float]:
        """What chains from starts (island, row, dim) drew (island, row · step), and their acceptance rate.

        Where few proposals are accepted the step size is lowered and the chains begin again.
        """
        for _ in range(MOST_TRIES):
            points, rate = self._moved(starts.reshape(-1, starts.shape[-1]), level)
            factor = float(np.clip(np.exp(GAIN * (rate - self.target_rate)), SLOWEST, FASTEST))
            kernel: Any = self.plan.kernel
            step_size = np.asarray(kernel.step_size * factor, np.asarray(kernel.step_size).dtype)
            self.plan = dataclasses.replace(self.plan, kernel=dataclasses.replace(kernel, step_size=step_size))
            if rate > POOR * self.target_rate:
                break
        return points, rate

    def _moved(self, starts: np.ndarray, level: float) -> tuple[Points, float]:
        run = Run(dataclasses.replace(self.plan, traced=self.at(level)), None, self.layout)
        first, now = run.form.start, self.iteration
        chains = run.programs.call(first, run.programs.blank(starts), Span.of(now, now, fresh=True))
        progress, recorder = Progress(first, (), chains, now), run.recorder(self.steps)
        self.iteration += self.steps * self.thin
        advance(run, progress, self.iteration, Outputs(Reporter(), recorder))
        kept, statistics = recorder.result()
        self.gradients += int(statistics["n_steps"].sum()) * self.thin if "n_steps" in statistics else 0
        shape = (self.islands, self.rows * self.steps)
        parts = (kept[n].astype(float) for n in ("position", "log_likelihood", "log_prior"))
        points = Points(*(x.reshape(*shape, *x.shape[2:]) for x in parts))
        return points, float(statistics["acceptance_rate"].mean())
