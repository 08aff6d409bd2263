"""The draws on the host: one array a name, filled chunk by chunk."""

from __future__ import annotations

import numpy as np

from mcmc.target import Column


class Recorder:
    """Arrays (chain, draw, ...) of every recorded column, allocated once."""

    def __init__(self, columns: tuple[Column, ...], chains: int, draws: int):
        self.columns, self.chains, self.draws, self.filled = columns, chains, draws, 0
        self.arrays = {c.name: np.empty((chains, draws, *c.shape), c.dtype) for c in columns}

    def write(self, rows: np.ndarray) -> None:
        """Append rows (block, row, lane, width)."""
        blocks, n, lanes, _ = rows.shape
        stop = self.filled + n
        for column in self.columns:
            array = self.arrays[column.name].reshape(self.chains, self.draws, -1)
            for b in range(blocks):
                first = b * lanes
                held = min(lanes, self.chains - first)
                if held <= 0:
                    break
                part = rows[b, :, :held, column.start : column.stop].transpose(1, 0, 2)
                array[first : first + held, self.filled : stop] = part
        self.filled = stop

    def result(self) -> dict[str, np.ndarray]:
        """What was written so far."""
        if self.filled == self.draws:
            return self.arrays
        return {name: array[:, : self.filled].copy() for name, array in self.arrays.items()}
