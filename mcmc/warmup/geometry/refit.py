"""Geometry found in warmup: when a map that non-centres pays, and what it says of the model."""

from __future__ import annotations

import dataclasses
import io
from typing import Any, NamedTuple

import numpy as np

from mcmc.engine.processes import Processes
from mcmc.engine.run import Run
from mcmc.warmup.blas import one_blas_thread
from mcmc.warmup.geometry.conditional_forms import evenly
from mcmc.warmup.geometry.layers import divergence, find_layers
from mcmc.warmup.geometry.linear_layer import LinearLayer
from mcmc.warmup.geometry.nonlinearity import nonlinearity
from mcmc.warmup.geometry.tail_layer import TailLayer
from mcmc.warmup.geometry.tails import find_tails
from mcmc.warmup.geometry.triangular_map import Layer, backward, forward, from_arrays, to_arrays
from mcmc.warmup.pooled import Pooled, merged

STRUCTURED, STRUCTURED_ALONE, LEFT = 0.12, 0.2, 0.003
BETTER, GAIN, BETTER_AGAIN, MOST_LEFT, KEEP = 0.8, 0.02, 0.7, 0.3, 1.0
TEST_ROWS, ROWS_A_DIM = 400, 3
INEXACT, CAREFUL = 0.05, 0.95
MOST_DIM = 600  # beyond, the search would take minutes, and arrays of dim x dim


class Refit(NamedTuple):
    """A new map, with the tuner's state and kernel, and rows, in front of it."""

    layers: tuple[Layer, ...]
    tuning: Any
    kernel: Any


def can_map(run: Run, stop: int) -> bool:
    """Whether a map may be found after iteration `stop`: where a window closes of a kernel that all chains tune."""
    tuner, warmup = run.tuner, run.plan.settings.warmup
    if run.plan.geometry != "auto" or not isinstance(tuner, Pooled) or run.may_improve:
        return False
    if not 2 <= run.target.dim <= MOST_DIM:
        return False
    return tuner.finds_map and run.has_gradient and stop in tuner.windows(warmup)


@np.errstate(divide="ignore", over="ignore", invalid="ignore")  # laws that overflow are dropped by their divergence
def refit(run: Run, tuning: Any, kernel: Any, stop: int, trail: tuple[np.ndarray, np.ndarray]) -> Refit | None:
    """A map that brings the rows of this window nearer to a normal law than the one in use, or None."""
    z, gz = usable(*map(merged, (tuning.positions, tuning.gradients), trail))
    with np.errstate(all="ignore"):  # a law that overflows on some row is no better than none, and is dropped
        layers = _agreed(run.layout.processes, _proposed(run.layers, z, gz))
    if not layers:
        return None
    warmup = run.plan.settings.warmup
    until = min((t for t in run.tuner.windows(warmup) if t > stop), default=warmup)
    rows = forward(layers, *backward(run.layers, z, gz))
    tuning, kernel = run.tuner.restarted(tuning, kernel, rows, until)
    return Refit(layers, tuning, _careful(run.tuner, kernel, *rows))


def _careful(tuner: Pooled, kernel: Any, z: np.ndarray, gz: np.ndarray) -> Any:
    """The kernel with a higher acceptance rate where the map leaves gradients (row, dim) far from linear.

    What is left is uneven: regions that a usual step size enters seldom are left seldom too.
    """
    if "target_acceptance" not in tuner.tunes_strictness or nonlinearity(z, gz).mean() < INEXACT:
        return kernel
    return dataclasses.replace(kernel, target_acceptance=np.full_like(kernel.target_acceptance, CAREFUL))


def usable(z: np.ndarray, gz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The finite rows (row, dim), each once: rejected proposals repeat rows, so that held-out ones would be known."""
    good = np.isfinite(z).all(1) & np.isfinite(gz).all(1)
    z, gz = z[good], gz[good]
    once = np.sort(np.unique(z, axis=0, return_index=True)[1])
    return z[once], gz[once]


def _proposed(old: tuple[Layer, ...], z: np.ndarray, gz: np.ndarray) -> tuple[Layer, ...]:
    """Better layers for these rows (row, dim), which lie in front of the old ones; none where there is no need."""
    if len(z) < 2 * z.shape[1] + 50:
        return ()
    some = evenly(len(z), max(TEST_ROWS, ROWS_A_DIM * z.shape[1]))
    bent = nonlinearity(z[some], gz[some])
    if bent.mean() < (LEFT if old else STRUCTURED) and (old or bent.max() < STRUCTURED_ALONE):
        return ()
    now = divergence(z, gz)
    with one_blas_thread():
        layers, after = _better_layers(old, *backward(old, z, gz))
    limit = (now if _completes(layers, old) else BETTER_AGAIN * now) if old else BETTER * now - GAIN
    return layers if after < min(limit, MOST_LEFT) else ()


def _completes(layers: tuple[Layer, ...], old: tuple[Layer, ...]) -> bool:
    """Whether these layers map all that the old ones map, and more: one funnel, or tail, that is left spoils a run."""
    new, before = (
        {
            (isinstance(layer, TailLayer), int(i))
            for layer in some
            if not isinstance(layer, LinearLayer)
            for i in layer.mapped
        }
        for some in (layers, old)
    )
    return new > before


def _agreed(processes: Processes, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers that the first process proposes."""
    if processes.count == 1:
        return layers
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **to_arrays(layers))
    return from_arrays(np.load(io.BytesIO(processes.first_bytes(held.getvalue()))))


def _better_layers(old: tuple[Layer, ...], y: np.ndarray, g: np.ndarray) -> tuple[tuple[Layer, ...], float]:
    """The layers in use with tails of these rows (row, dim), if that leaves next to nothing; else whatever is best."""
    kept = tuple(layer for layer in old if not isinstance(layer, TailLayer))
    rows = forward(kept, y, g)
    tails = find_tails(*rows)
    left = divergence(*(rows if tails is None else tails.whiten(*rows)))
    kept = kept if tails is None else (*kept, tails)
    if old and left < LEFT:
        return kept, left
    layers, history = find_layers(y, g)
    if old and left < KEEP * history[-1]:
        return kept, left
    return tuple(layers), history[-1]
