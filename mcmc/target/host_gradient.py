"""A black box's own gradient against differences of its log density."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.errors import WrongValue
from mcmc.target.target import Target

STEPS = (1e-3, 1e-5, 1e-2, 1e-7)  # of the unconstrained position, in turn: one suffices
TOLERANCE = 1e-2
DIRECTIONS = 2  # of every parameter: entries in a wrong order keep some slopes


def check_host_gradient(target: Target, positions: np.ndarray) -> None:
    """Raise ValueError, with both numbers, where derivatives along random directions are not those of the log density.

    Each parameter by itself, at the first position: Δ log π against g · Δp between y ± h v.
    """
    assert target.host is not None
    rng = np.random.default_rng(0)
    for leaf in target.leaves:
        if leaf.support.discrete:
            continue
        size = leaf.stop - leaf.start
        for _ in range(min(size, DIRECTIONS)):
            v = np.zeros(target.dim)
            v[leaf.start : leaf.stop] = rng.uniform(0.5, 1.5, size) * rng.choice([-1.0, 1.0], size)  # no two alike
            if wrong := _wrong_slopes(target, positions[0].astype(float), v):
                given, found = wrong
                shown = f"a gradient with the slope {given:.6g} along {leaf.name!r}"
                remedy = "Give the derivatives of the log density itself by the constrained values, without a Jacobian."
                raise WrongValue("fn", shown, f"{found:.6g}, by differences of the log density", remedy)


def _wrong_slopes(target: Target, y: np.ndarray, v: np.ndarray) -> tuple[float, float] | None:
    """The slope by the gradient and by differences; None where they agree with one of the steps, or are not finite."""
    slopes = []
    for h in STEPS:
        given, found = _slopes(target, y, v, h)
        if not np.isfinite([given, found]).all() or abs(given - found) <= TOLERANCE * max(abs(given), abs(found)):
            return None
        slopes.append((given, found))
    return slopes[1]


def _slopes(target: Target, y: np.ndarray, v: np.ndarray, h: float) -> tuple[float, float]:
    """The slope along v by the gradient and by differences; equal where both vanish in rounding."""
    host: Any = target.host
    rows = np.stack([y - h * v, y, y + h * v])
    values = Target.values_at(target, rows)  # as `fn` gets them
    arrays = [values[name] for name in target.names]
    lp, *gradients = host.evaluate(arrays)
    moved = sum(np.sum(g[1] * (x[2].astype(float) - x[0])) for g, x in zip(gradients, arrays, strict=True))
    difference = lp[2] - lp[0]
    rounding = 1e3 * np.finfo(float).eps * np.abs(lp).max()
    if abs(moved - difference) <= rounding:
        return 0.0, 0.0
    return float(moved / (2 * h)), float(difference / (2 * h))
