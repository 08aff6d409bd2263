"""Rows that a file holds twice, as one does to which a run was appended again."""

from __future__ import annotations

import numpy as np

from mcmc.readers.limits import fail

SHORTEST = 10
"""So many different rows that follow each other twice are no chance."""


def check_repeats(rows: np.ndarray, path: object) -> None:
    """Refuse rows `(row, column)` of which a stretch occurs twice; a chain that stays or comes back is no such thing.

    Rows of whole numbers alone may repeat, and so may single rows, as in shuffled draws of a chain that stayed.
    """
    finite = rows[np.isfinite(rows)]
    if len(rows) < 2 * SHORTEST or not finite.size or (finite == np.floor(finite)).all():
        return
    bits = np.ascontiguousarray(rows, dtype=np.float64).view(np.uint64)
    factors = 2 * np.random.default_rng(0).integers(2**62, size=bits.shape[1], dtype=np.uint64) + 1
    _, label = np.unique((bits * factors).sum(1, dtype=np.uint64), return_inverse=True)  # a hash of each row
    moved = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]]))
    label = label[moved]
    order = np.argsort(label, kind="stable")
    back = np.zeros(len(label), dtype=np.int64)  # how many moves ago the same row was there
    again = label[order[1:]] == label[order[:-1]]
    back[order[1:][again]] = (order[1:] - order[:-1])[again]
    starts = np.flatnonzero(np.concatenate([[True], back[1:] != back[:-1]]))
    lengths = np.diff(np.concatenate([starts, [len(back)]]))
    for start, length in zip(starts[lengths >= SHORTEST], lengths[lengths >= SHORTEST], strict=True):
        if back[start] and len(np.unique(label[start : start + length])) >= SHORTEST:
            first, copy = moved[start - back[start]] + 1, moved[start] + 1
            found = f"rows from {copy} on that are those from {first} on"
            raise fail(path, found, "each draw once", "Remove what was appended twice.")
