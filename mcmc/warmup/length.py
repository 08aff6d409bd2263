"""How long trajectories are to be: longer as long as that pays, by what all chains did from draw to draw."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

SLOW, GROWTH, MOST = 0.4, np.sqrt(2.0), 2.83
LEAST_PAIRS, WORSE, LENGTHS = 64, 0.85, 1.0


class Length(NamedTuple):
    """The factor of the length, what the last one gained, whether it has just grown, and whether it is found."""

    factor: Any = np.float64(1.0)
    gain: Any = np.float64(0.0)
    grown: Any = np.bool_(False)
    found: Any = np.bool_(False)


def update(state: Length, correlation: float, noise: float) -> Length:
    r"""The length after iterations of the slowest coordinate's autocorrelation ρ: √2 times as long while ρ is large.

    Effective draws by length are (1 − ρ)/(1 + ρ) by the factor: a longer trajectory that lowers them is taken back, and
    nothing changes from then on. Where chains diffuse, 1 − ρ grows with the square of the length; where they wait for
    momentum, as in a funnel, it does not grow. Of ρ, what is `noise` alone does not count as slow.
    """
    if state.found or not np.isfinite(correlation):
        return state
    gain = np.float64((1.0 - correlation) / (1.0 + correlation) / state.factor)
    if state.grown and gain < WORSE * state.gain:
        return Length(state.factor / GROWTH, state.gain, np.bool_(False), np.bool_(True))
    if correlation - noise < SLOW or state.factor * GROWTH > MOST * 1.01:
        return Length(state.factor, gain)
    return Length(state.factor * GROWTH, gain, np.bool_(True))


def slowest(rows: np.ndarray) -> tuple[float, float]:
    """The largest autocorrelation of a coordinate from one iteration to the next, of positions (chain, iteration, dim).

    And how large the largest of so many would be by noise alone, of the draws and of the few lengths that were drawn
    for them; NaN where there are too few positions to tell.
    """
    chains, iterations, dim = rows.shape
    pairs = chains * (iterations - 1)
    spread = rows.var((0, 1)) if pairs else np.zeros(dim)
    moved = spread > 0
    if pairs < LEAST_PAIRS or not moved.any():
        return np.nan, np.nan
    jumps = np.square(np.diff(rows, axis=1)).mean((0, 1))
    noise = np.sqrt(2.0 * np.log(dim) / pairs + LENGTHS**2 / (iterations - 1))
    return float(np.max(1.0 - 0.5 * jumps[moved] / spread[moved])), float(noise)
