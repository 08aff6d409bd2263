"""Whether a run leaves its settings at one of the checks of `until`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.engine.stopping import FIRST_CHECK, Converged
from mcmc.ladder.findings import find
from mcmc.ladder.rungs import higher_part, improper_direction, next_kernel, spent

IMPROPER = "the density does not fall along {}: it has no finite integral, so no sampler can draw from it"


class Ladder:
    """The checks of one run whose settings may be left; `until` is what earlier ones left of the budget."""

    def __init__(self, run: Run, until: Converged):
        self.run, self.began = run, time.perf_counter()
        self.until = replace(until, max_draws=max(until.most - spent(run), 1))
        self.order = list(self.until.checks(0))

    def checks(self, done: int) -> Iterator[int]:
        """As `until.checks`, and first where a resumed run is, if it was to be checked there."""
        if done in self.order:
            yield done
        yield from self.until.checks(done)

    def decides(self, draws: int) -> bool:
        """Whether settings may be left here: at every other check, whatever was looked at before."""
        return draws in self.order and self.order.index(draws) % 2 == 0

    def leaves(self, groups: Mapping[str, Any], state: Progress, draws: int, converged: bool, late: bool) -> bool:
        """Whether the run ends here with these settings: its `finding` says why, or `stopped` that nothing helps."""
        run = self.run
        run.seen = "" if converged else run.seen
        if late or draws >= self.until.most or not (converged or self.decides(draws)):
            return False
        found = find(groups, self.until, self._within_time(draws), converged)
        if found is None:
            return False
        if found.kind != "kernel" and (where := improper_direction(run, state)):
            run.seen, run.stopped = IMPROPER.format(where), "improper"
            return True
        if found.kind != "kernel":
            found = higher_part(run, state) or found
            run.seen = found.seen
        if next_kernel(run, found) is None or not self._room(draws):
            return False
        run.finding, run.stopped = found, ""
        return True

    def _room(self, draws: int) -> bool:
        """Whether what is left of draws and seconds is worth another warmup."""
        seconds = (self.run.deadline or math.inf) - time.perf_counter()
        return self.until.most - draws >= FIRST_CHECK and seconds > self.run.timings.warmup_time

    def _within_time(self, draws: int) -> float:
        """How many draws a chain the budget has, of draws and of seconds."""
        now, fresh = time.perf_counter(), draws - self.run.plan.done
        seconds = (self.run.deadline or math.inf) - now
        if not fresh or seconds == math.inf:
            return self.until.most
        return min(self.until.most, draws + fresh * seconds / (now - self.began))
