"""Energy errors that leapfrog steps make on a normal target, whose curvature is the same everywhere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PHASES, DRAWS, MOST_DIM = 16, 2000, 64


def poor_share(step_size: float, length: float, dim: int, poor: float) -> float:
    r"""The share of trajectories accepted with probability below `poor` on a standard normal target.

    With cos θ = 1 − ε²/2 and k² = 1 − ε²/4, L steps of ε take (x, p) to M (x, p) in every coordinate,
    M = ((cos Lθ, sin Lθ / k), (−k sin Lθ, cos Lθ)), and the energy error is ½ (x, p) (MᵀM − 1) (x, p); L ε is from half
    the length to half as much again. Of these poor proposals a smaller step would make fewer, and yet none says that
    the target curves sharply anywhere.
    """
    if not step_size < 2.0:
        return 1.0
    u = (np.arange(PHASES) + 0.5) / PHASES
    turns = np.maximum(1, np.round(length * (0.5 + u) / step_size)) * np.arccos(1 - step_size**2 / 2)
    k, sine, cosine = np.sqrt(1 - step_size**2 / 4), np.sin(turns), np.cos(turns)
    change = 0.25 * step_size**2 * np.stack([-(sine**2), 2 * sine * cosine / k, (sine / k) ** 2])
    return float(np.mean(0.5 * (_squares(min(dim, MOST_DIM)) @ change) > -np.log(poor)))


@lru_cache(maxsize=64)
def _squares(dim: int) -> np.ndarray:
    """Sums of x², x p and p² over `dim` standard normal coordinates (draw, 3)."""
    x, p = np.random.default_rng(0).standard_normal((2, DRAWS, dim))
    return np.stack([(x * x).sum(1), (x * p).sum(1), (p * p).sum(1)], 1)
