"""Energy errors that leapfrog steps make on a normal target, whose curvature is the same everywhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

PHASES, DRAWS, FEWER, LARGEST, POINTS = 16, 20_000, 500, 8.0, 161


def poor_share(step_size: Any, length: Any, dim: int, poor: float) -> np.ndarray:
    r"""The share of trajectories accepted with probability below `poor` on a standard normal target; arrays alike.

    With cos θ = 1 − ε²/2 and k² = 1 − ε²/4, L steps of ε take (x, p) to M (x, p) in every coordinate,
    M = ((cos Lθ, sin Lθ / k), (−k sin Lθ, cos Lθ)), and the energy error is ½ (x, p) (MᵀM − 1) (x, p); L ε is from half
    the length to half as much again. As det M = 1, MᵀM has eigenvalues s and 1/s, with sum 2 + sin² Lθ (ε²/4)²/k². Of
    these poor proposals a smaller step would make fewer, and yet none says that the target curves sharply anywhere.
    """
    given = np.asarray(step_size, float)[..., None]
    step = np.minimum(given, 1.999)
    u = (np.arange(PHASES) + 0.5) / PHASES
    turns = np.maximum(1, np.round(np.asarray(length, float)[..., None] * (0.5 + u) / step))
    turns = turns * np.arccos(1 - step**2 / 2)
    excess = (np.sin(turns) * step**2 / 4) ** 2 / (1 - step**2 / 4)
    log_s = np.log1p(0.5 * excess + np.sqrt(excess + 0.25 * excess**2))
    shares = np.interp(log_s, *_shares(dim, poor)).mean(-1)
    return np.where(given[..., 0] < 2.0, shares, 1.0)


@lru_cache(maxsize=64)
def _shares(dim: int, poor: float) -> tuple[np.ndarray, np.ndarray]:
    """The share of energy errors ½ ((s − 1) A − (1 − 1/s) B) that are poor, at some log s; A and B are χ² of `dim`."""
    rng = np.random.default_rng(0)
    a, b = np.sort(rng.chisquare(dim, DRAWS)), np.sort(rng.chisquare(dim, DRAWS))[:: DRAWS // FEWER]
    log_s = LARGEST * np.linspace(0.0, 1.0, POINTS) ** 2
    s = np.exp(log_s[1:, None])
    least = (-2 * np.log(poor) + (1 - 1 / s) * b) / (s - 1)  # every A with every B
    shares = 1 - np.searchsorted(a, least).mean(1) / DRAWS
    return log_s, np.append(0.0, shares)
