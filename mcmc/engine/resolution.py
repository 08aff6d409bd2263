"""How finely a log density is resolved in the run's floating type."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcmc.errors import got

COARSE = 0.1


def resolution(positions: np.ndarray, log_densities: Callable[[np.ndarray], np.ndarray], seed: list[int]) -> float:
    """The rounding error of a log density, from its second differences between neighbouring floating-point positions.

    Neighbours lie so close that a smooth function is linear between them; what is left is rounding, √6 times that of
    one value. It is at least that of the value's own last digit, u/√12 of the spacing u of numbers of its size, which
    shows in no difference where all neighbours round to the same.

    Args:
        positions: (chain, dim), where chains are after warmup.
        log_densities: positions to log densities (chain,).
        seed: of the directions in which neighbours are taken.
    """
    way = np.where(np.random.default_rng(seed).random(positions.shape) < 0.5, -np.inf, np.inf).astype(positions.dtype)
    sides = [log_densities(np.nextafter(positions, w)).astype(float) for w in (way, -way)]
    here = log_densities(positions)
    second = sides[0] + sides[1] - 2.0 * here.astype(float)
    second = second[np.isfinite(second)]
    measured = np.sqrt(np.mean(second**2) / 6.0) if second.size else 0.0
    return float(max(measured, np.median(np.spacing(np.abs(here))) / 12**0.5))


def coarse(error: float, lp: float, dtype: np.dtype) -> str:
    """What to say of a log density that is resolved too coarsely; nothing where it is fine enough."""
    if error <= COARSE:
        return ""
    remedy = (
        'Pass dtype="float64", or make the numbers smaller: centre and scale the data and leave constants out of the '
        "log density."
    )
    found = f"{dtype}, in which log densities near {lp:.3g} have rounding errors of {error:.2g}"
    return got("dtype", found, f"errors below {COARSE}, or acceptance is noise", remedy)
