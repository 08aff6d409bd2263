"""The draws on the host: one array a name, filled chunk by chunk."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.target import Column


class Recorder:
    """Arrays (chain, draw, ...) of the target's columns and of the statistics, allocated once."""

    def __init__(self, columns: tuple[Column, ...], statistics: tuple[Any, ...], chains: int, draws: int):
        self.columns, self.statistics, self.filled = columns, statistics, 0
        self.parameters = {c.name: np.empty((chains, draws, *c.shape), c.dtype) for c in columns}
        self.stats = {s.name: np.empty((chains, draws), s.dtype) for s in statistics}

    def write(self, kept: np.ndarray, stats: tuple[np.ndarray, ...]) -> None:
        """Append rows: the target's (block, lane, row, width) and the statistics' (block, lane, row)."""
        for column in self.columns:
            array = self.parameters[column.name]
            flat = array.reshape(*array.shape[:2], -1)
            self._fill(flat, kept[..., column.start : column.stop])
        for statistic, rows in zip(self.statistics, stats, strict=True):
            self._fill(self.stats[statistic.name][..., None], rows[..., None])
        self.filled += kept.shape[2]

    def _fill(self, array: np.ndarray, rows: np.ndarray) -> None:
        _, lanes, n, _ = rows.shape
        for b, part in enumerate(rows):
            held = array[b * lanes : (b + 1) * lanes, self.filled : self.filled + n]
            held[...] = part[: len(held)]

    def result(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What was written so far: parameters and statistics."""
        n = self.filled
        groups = (self.parameters, self.stats)
        parameters, stats = ({k: a if a.shape[1] == n else a[:, :n].copy() for k, a in g.items()} for g in groups)
        return parameters, stats
