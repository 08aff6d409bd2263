"""How far gradients are from linear in positions, as those of a normal law are: the test for structure."""

from __future__ import annotations

import numpy as np

FITTED, RIDGE = 0.75, 1e-9


def nonlinearity(y: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The mean log(1 + r²) of each coordinate: r is what least squares on the first rows leave of held-out gradients.

    y, g: positions and gradients of the log density (row, dim), rows more than positions. r is in units of the
    coordinate's own conditional precision. It is 0 for a normal law, however correlated.
    """
    fitted = np.arange(len(y)) < FITTED * len(y)
    spread = y[fitted].std(0)
    x, g = (y - y[fitted].mean(0)) / spread, g * spread
    g = g - g[fitted].mean(0)
    gram = x[fitted].T @ x[fitted]
    slopes = np.linalg.solve(gram + RIDGE * fitted.sum() * np.eye(len(gram)), x[fitted].T @ g[fitted])
    precision = np.maximum(-np.diagonal(slopes), RIDGE)
    return np.log1p((g[~fitted] - x[~fitted] @ slopes) ** 2 / precision).mean(0)
