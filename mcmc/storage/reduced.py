"""ReducedRecorder: the moments of all draws, and an evenly spaced sample of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.engine.devices import Layout
from mcmc.storage.recorder import Recorder
from mcmc.storage.zarr_store import COMMIT_SECONDS

Commit = Callable[[Any, str, "ReducedRecorder"], None]


class ReducedRecorder:
    """Takes a run's draws as `Recorder` does; keeps their moments and at most so many draws a chain, evenly spaced.

    Draw t is kept where t + 1 is a multiple of `stride`, which doubles whenever the room is full: what is kept is
    what a run that is thinned so keeps. Draws are taken in by a thread, which Ctrl-C does not interrupt.
    """

    def __init__(self, held: Recorder, layout: Layout, commit: Commit | None = None):
        self.held, self.layout, self.commit = held, layout, commit
        self.most, self.stride, self.drawn = held.room, 1, 0
        self.moments = Moments(32 if layout.chains <= 32 else 8)
        self.staged: list | None = None
        self.pool, self.pending, self.last = ThreadPoolExecutor(1), None, -np.inf
        self.taken = 0

    @property
    def filled(self) -> int:
        """Draws a chain taken since the run was begun or resumed."""
        return self.taken

    @filled.setter
    def filled(self, draws: int) -> None:
        if self.staged and self.taken + _rows(self.staged) == draws:
            self._take()
        self.staged = None

    @property
    def room(self) -> int:
        """Any number of draws fit."""
        return 2**31

    def reserve(self, draws: int) -> None:
        """Nothing: there is room."""

    def write(self, parts: list) -> None:
        """Hold the rows of each device, in copies: the program writes over its own."""
        self.staged = [(np.array(kept), tuple(map(np.array, stats))) for kept, stats in parts]

    def mark(self, progress: Any, status: str = "running") -> None:
        """Take in what was written; commit, where there is a store and it is time."""
        if self.staged:
            self._take()
        late = time.monotonic() - self.last > COMMIT_SECONDS
        if self.commit and (status != "running" or self.layout.processes.first(late)):
            self.wait()
            self.commit(progress, status, self)
            self.last = time.monotonic()

    def trim(self) -> None:
        """Nothing: what is kept is as large as it should be."""

    def begin(self, progress: Any) -> None:
        """Commit where the run begins."""
        self.mark(progress, "starting")

    def wait(self) -> None:
        """Until all that was written has been taken in."""
        pending: Future | None = self.pending
        self.pending = None
        if pending is not None:
            pending.result()

    def result(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The draws that are kept: parameters and statistics."""
        self.wait()
        return self.held.result()

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What `restore` needs beside the draws, of all chains."""
        self.wait()
        arrays, facts = self.moments.state()
        whole = {name: self.layout.together(np.moveaxis(a, 1, 0)) for name, a in arrays.items()}
        return whole, {"reduced": json.dumps({"stride": self.stride, "seen": self.drawn, "moments": facts})}

    def restore(self, parameters: dict, stats: dict, arrays: dict[str, np.ndarray], reduced: str) -> None:
        """Go on from these draws and this state."""
        facts = json.loads(reduced)
        self.stride, self.drawn = facts["stride"], facts["seen"]
        names = ("moments_mean", "moments_m2")
        self.moments = moments_of({n: self.layout.mine(arrays[n]) for n in names}, facts["moments"])
        for old, new in ((parameters, self.held.parameters), (stats, self.held.stats)):
            for name, values in old.items():
                new[name][:, : values.shape[1]] = self.layout.mine(values)
                self.held.filled = values.shape[1]

    def _take(self) -> None:
        parts, self.staged = self.staged, None
        assert parts is not None
        self.wait()
        self.pending = self.pool.submit(self._absorb, parts)
        self.taken += _rows(parts)

    def _absorb(self, parts: list) -> None:
        n = _rows(parts)
        self.moments.update(self.layout.local([kept for kept, _ in parts]))
        while (self.drawn + n) // self.stride > self.most:
            self._halve()
        first = -(self.drawn + 1) % self.stride
        self.drawn += n
        if first < n:
            self.held.write(
                [(k[:, :, first :: self.stride], tuple(s[:, :, first :: self.stride] for s in v)) for k, v in parts]
            )

    def _halve(self) -> None:
        """Keep every other draw, the last of each two."""
        count = self.held.filled // 2
        groups: tuple[dict[str, np.ndarray], ...] = (self.held.parameters, self.held.stats)
        for array in (array for group in groups for array in group.values()):
            array[:, :count] = array[:, 1 : 2 * count : 2].copy()
        self.held.filled = count
        self.stride *= 2


def moments_of(arrays: dict[str, np.ndarray], counts: dict[str, int]) -> Moments:
    """The moments of a state whose arrays have chains first."""
    return Moments.restored({name: np.moveaxis(a, 0, 1) for name, a in arrays.items()}, counts)


def _rows(parts: list) -> int:
    return parts[0][0].shape[2]
