"""Geometry found in warmup: when a map that non-centres pays, and what it says of the model."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mcmc.engine.run import Run
from mcmc.warmup.map_layers import divergence, find_layers
from mcmc.warmup.pooled import Pooled
from mcmc.warmup.triangular_map import Layer, backward, forward

STRUCTURED, BETTER, GAIN = 0.03, 0.8, 0.02
TEST_ROWS = 400


class Refit(NamedTuple):
    """A new map, with the tuner's state and kernel, and rows, in front of it."""

    layers: tuple[Layer, ...]
    tuning: Any
    kernel: Any


def can_map(run: Run, stop: int) -> bool:
    """Whether a map may be found after iteration `stop`: where a window closes of a kernel that all chains tune."""
    tuner, warmup = run.tuner, run.plan.settings.warmup
    if run.plan.geometry != "auto" or not isinstance(tuner, Pooled) or run.may_improve or run.target.dim < 2:
        return False
    return tuner.tunes_metric and tuner.tunes_step_size and run.has_gradient and stop in tuner.windows(warmup)


def refit(run: Run, tuning: Any, kernel: Any, trail: tuple[np.ndarray, np.ndarray]) -> Refit | None:
    """A map that brings the rows of this window nearer to a normal law than the one in use, or None."""
    z, gz = (np.concatenate(both) for both in zip((tuning.positions, tuning.gradients), trail, strict=True))
    good = np.isfinite(z).all(1) & np.isfinite(gz).all(1)
    z, gz = z[good], gz[good]
    if len(z) < 2 * run.target.dim + 50:
        return None
    some = np.random.default_rng(2).permutation(len(z))[:TEST_ROWS]
    if divergence(z[some], gz[some]) < STRUCTURED:
        return None
    now = divergence(z, gz)
    y, g = backward(run.layers, z, gz)
    layers, history = find_layers(y, g)
    if not layers or not history[-1] < BETTER * now - GAIN:
        return None
    new = forward(tuple(layers), y, g)
    state, kernel = run.tuner.restarted(tuning, kernel, *new)
    return Refit(tuple(layers), state, kernel)
