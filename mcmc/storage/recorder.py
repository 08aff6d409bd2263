"""Recorder: the draws on the host, one array a name, filled chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcmc.target.traced import Column


@dataclass(frozen=True)
class Kept:
    """What is kept of the draws: which names (None: all), in which floating type, at most how many a chain."""

    names: tuple[str, ...] | None = None
    dtype: str | None = None
    most: int | None = None

    def typed(self, fields: tuple) -> tuple:
        """Columns or statistics with the type in which they are kept: whole numbers stay what they are."""
        floating = [np.issubdtype(np.dtype(each.dtype), np.floating) for each in fields]
        return tuple(
            replace(each, dtype=self.dtype) if self.dtype and float_ else each
            for each, float_ in zip(fields, floating, strict=True)
        )


class Recorder:
    """Arrays (chain, draw, ...) of the target's columns and of the statistics, allocated once."""

    def __init__(self, columns: tuple[Column, ...], statistics: tuple[Any, ...], chains: int, draws: int):
        self.columns, self.statistics, self.filled = columns, statistics, 0
        self.parameters: dict[str, np.ndarray] = {c.name: np.empty((chains, draws, *c.shape), c.dtype) for c in columns}
        self.stats: dict[str, np.ndarray] = {s.name: np.empty((chains, draws), s.dtype) for s in statistics}

    @property
    def room(self) -> int:
        """How many draws fit."""
        return next(iter(self.stats.values())).shape[1] - self.filled

    def mark(self, progress: Any, status: str = "running") -> None:
        """Nothing: what is in memory is there."""

    def reserve(self, draws: int) -> None:
        """Make room for at least so many draws a chain."""
        groups: tuple[dict[str, np.ndarray], ...] = (self.parameters, self.stats)
        for arrays in groups:
            for name, array in arrays.items():
                if array.shape[1] < draws:
                    arrays[name] = np.empty((array.shape[0], draws, *array.shape[2:]), array.dtype)
                    arrays[name][:, : self.filled] = array[:, : self.filled]

    def write(self, parts: list[tuple[np.ndarray, tuple[np.ndarray, ...]]]) -> None:
        """Append the rows of each device: of the target (block, lane, row, width), of statistics (block, lane, row)."""
        chain = 0
        for kept, stats in parts:
            flat = kept.reshape(-1, *kept.shape[2:])
            for column in self.columns:
                array = self.parameters[column.name]
                part = flat[..., column.start : column.stop]
                self._fill(array.reshape(*array.shape[:2], -1), chain, part)
            for statistic, rows in zip(self.statistics, stats, strict=True):
                self._fill(self.stats[statistic.name], chain, rows.reshape(-1, rows.shape[2]))
            chain += len(flat)
        self.filled += parts[0][0].shape[2]

    def _fill(self, array: np.ndarray, chain: int, rows: np.ndarray) -> None:
        held = array[chain : chain + len(rows), self.filled : self.filled + rows.shape[1]]
        held[...] = rows[: len(held)]

    def result(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What was written so far: parameters and statistics."""
        n = self.filled
        groups = (self.parameters, self.stats)
        parameters, stats = ({k: a if a.shape[1] == n else a[:, :n].copy() for k, a in g.items()} for g in groups)
        return parameters, stats
