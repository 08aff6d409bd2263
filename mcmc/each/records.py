"""What became of each data set, and draws of all of them in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Stage = Literal["batch", "longer", "alone"]
"""How a data set was drawn last: with the others, with others that failed, or by itself."""

STAGES: tuple[Stage, ...] = ("batch", "longer", "alone")


@dataclass(frozen=True)
class Record:
    """The verdict on a data set: whether its draws are good, how they were made, and what is wrong with them.

    `final` says that nothing more can be done about it.
    """

    ok: bool
    stage: Stage
    message: str = ""
    final: bool = False

    def due(self, stage: Stage) -> bool:
        """Whether the data set is to be drawn again in this stage."""
        return not (self.ok or self.final) and STAGES.index(stage) > STAGES.index(self.stage)


@dataclass(frozen=True)
class Part:
    """Draws of some data sets by name (set, chain, draw, ...), and counts of NaN proposals (set, chain)."""

    parameters: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]
    nonfinite: np.ndarray


class Ledger:
    """The records of all data sets, and how many are done and doubtful."""

    def __init__(self, count: int):
        self.records: list[Record | None] = [None] * count
        self.done = self.doubtful = 0

    def take(self, which: Iterable[int], records: Iterable[Record]) -> None:
        """Put these in place of what was there."""
        for i, record in zip(which, records, strict=True):
            old, self.records[i] = self.records[i], record
            self.done += old is None
            self.doubtful += (not record.ok) - (old is not None and not old.ok)


class Sink(Protocol):
    """Where draws go, and what became of each data set."""

    ledger: Ledger

    def write(self, which: np.ndarray, part: Part, records: Sequence[Record]) -> None:
        """Take the draws of these data sets, in place of what was there."""


class Memory:
    """Draws of all data sets, in arrays (set, chain, draw, ...) of NaN until they come."""

    def __init__(self, like: Part, count: int):
        self.ledger = Ledger(count)
        parameters, statistics = _room(count, like.parameters), _room(count, like.statistics)
        self.held = Part(parameters, statistics, _blank(count, like.nonfinite))

    def write(self, which: np.ndarray, part: Part, records: Sequence[Record]) -> None:
        """Take the draws of these data sets, in place of what was there."""
        for new, held in ((part.parameters, self.held.parameters), (part.statistics, self.held.statistics)):
            for name, values in new.items():
                held[name][which] = values
        self.held.nonfinite[which] = part.nonfinite
        self.ledger.take(which, records)


def _room(count: int, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: _blank(count, x) for name, x in like.items()}


def _blank(count: int, like: np.ndarray) -> np.ndarray:
    """Room for so many arrays like those of one data set (1, ...): NaN, or nothing of what can't be NaN."""
    return np.full((count, *like.shape[1:]), np.nan if like.dtype.kind == "f" else 0, like.dtype)
