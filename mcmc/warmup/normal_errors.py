"""Energy errors that leapfrog steps make on a normal target, whose curvature is the same everywhere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PHASES, DRAWS, MOST_DIM = 16, 2000, 64


def poor_share(step_size: float, length: float, dim: int, poor: float) -> float:
    r"""The share of trajectories accepted with probability below `poor` on a standard normal target.

    L steps of ε take (x, p) to M^L (x, p) in every coordinate, M = ((1 − ε²/2, ε), (−ε(1 − ε²/4), 1 − ε²/2)); L ε is
    from half the length to half as much again. Of these poor proposals a smaller step would make fewer, and yet none
    says that the target curves sharply anywhere.
    """
    if not step_size < 2.0:
        return 1.0
    step = np.array([[1 - step_size**2 / 2, step_size], [-step_size * (1 - step_size**2 / 4), 1 - step_size**2 / 2]])
    squares, share = _squares(min(dim, MOST_DIM)), 0.0
    for u in (np.arange(PHASES) + 0.5) / PHASES:
        count = max(1, round(length * (0.5 + u) / step_size))
        m = np.linalg.matrix_power(step, count)
        change = m.T @ m - np.eye(2)
        error = 0.5 * (squares @ np.array([change[0, 0], 2 * change[0, 1], change[1, 1]]))
        share += float(np.mean(error > -np.log(poor))) / PHASES
    return share


@lru_cache(maxsize=64)
def _squares(dim: int) -> np.ndarray:
    """Sums of x², x p and p² over `dim` standard normal coordinates (draw, 3)."""
    x, p = np.random.default_rng(0).standard_normal((2, DRAWS, dim))
    return np.stack([(x * x).sum(1), (x * p).sum(1), (p * p).sum(1)], 1)
