"""How long trajectories are to be: longer as long as that pays, by what all chains did from draw to draw."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

SLOW, GROWTH, MOST = 0.5, np.sqrt(2.0), 4.0
LEAST_PAIRS = 64


class Length(NamedTuple):
    """The factor of the length, the gain of the last one (effective draws by length), and whether it is found."""

    factor: Any = np.float64(1.0)
    gain: Any = np.float64(0.0)
    found: Any = np.bool_(False)


def update(state: Length, correlation: float) -> Length:
    r"""The length after iterations of the slowest coordinate's autocorrelation ρ: √2 times as long where ρ > ½.

    Effective draws by length are (1 − ρ)/(1 + ρ) by the factor: a longer trajectory that does not raise them is taken
    back, and nothing changes from then on. Where chains diffuse, 1 − ρ grows with the square of the length; where
    they wait for momentum, as in a funnel, it does not grow.
    """
    if state.found or not np.isfinite(correlation):
        return state
    gain = (1.0 - correlation) / (1.0 + correlation) / state.factor
    if gain < state.gain:
        return Length(state.factor / GROWTH, state.gain, np.bool_(True))
    if correlation < SLOW or state.factor * GROWTH > MOST * 1.01:
        return Length(state.factor, np.float64(gain), np.bool_(True))
    return Length(state.factor * GROWTH, np.float64(gain), np.bool_(False))


def slowest(rows: np.ndarray) -> float:
    """The largest autocorrelation of a coordinate from one iteration to the next, of positions (chain, iteration, dim).

    Less what the largest of so many would be by noise; NaN where there are too few to tell.
    """
    chains, iterations, dim = rows.shape
    pairs = chains * (iterations - 1)
    if pairs < LEAST_PAIRS:
        return np.nan
    spread = rows.var((0, 1))
    jumps = np.square(np.diff(rows, axis=1)).mean((0, 1))
    moved = spread > 0
    if not moved.any():
        return np.nan
    return float(np.max(1.0 - 0.5 * jumps[moved] / spread[moved]) - np.sqrt(2.0 * np.log(dim) / pairs))
