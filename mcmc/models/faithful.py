"""Whether a target read from a model has the density that the model's library gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from mcmc.target.data import as_arrays
from mcmc.target.target import Target
from mcmc.warmup.starts import scattered

POINTS = 3
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
TOLERANCE = {8: 1e-7, 4: 1e-3}  # of differences, against the size of the log density, by the bytes of a float


def check_faithful(target: Target, theirs: Callable[[Mapping], jax.Array], library: str) -> None:
    """Raise ValueError with both numbers where log densities differ between random points as the library's do not."""
    positions = scattered(target, 4 * POINTS)
    data = as_arrays(target.data, positions.dtype)

    def density(p: Mapping) -> jax.Array:
        return target._call("log_density", target.log_density, p, data)

    try:
        ours, expected = _at(positions, lambda y: [f(target.constrain(y)[0]) for f in (density, theirs)])
    except TypeError:  # types of its own that 64 bits don't suit, which the target takes care of
        p, ours = _at(positions, lambda y: [target.constrain(y)[0], density(target.constrain(y)[0])])
        with jax.enable_x64(False):
            narrow = jax.tree.map(lambda x: x.astype(np.float32 if x.dtype.kind == "f" else np.int32), p)
            (expected,) = _at(narrow, lambda p: [theirs(p)])
    compare(ours, expected, library)


def _at(rows: Any, function: Callable) -> list:
    """A function of each row; quickly compiled."""
    program = jax.jit(lambda rows: jax.lax.map(function, rows)).lower(rows).compile(QUICK)
    return jax.tree.map(np.asarray, program(rows))


def compare(ours: np.ndarray, theirs: np.ndarray, library: str) -> None:
    """Raise ValueError unless the log densities are finite at the same points and differ between them alike."""
    bad = np.flatnonzero(np.isfinite(ours) != np.isfinite(theirs))
    if len(bad):
        raise ValueError(_message(f"log density {ours[bad[0]]:.10g}", f"{theirs[bad[0]]:.10g}", library))
    at = np.flatnonzero(np.isfinite(theirs))[:POINTS]
    if len(at) < 2:
        return
    ours, theirs = ours[at] - ours[at[0]], theirs[at] - theirs[at[0]]
    size = 1 + max(np.abs(ours).max(), np.abs(theirs).max())
    worst = np.argmax(np.abs(ours - theirs))
    if abs(ours[worst] - theirs[worst]) > TOLERANCE[theirs.dtype.itemsize] * size:
        found = f"a log density that changes by {ours[worst]:.10g} from one point to another"
        raise ValueError(_message(found, f"{theirs[worst]:.10g}", library))


def _message(found: str, expected: str, library: str) -> str:
    remedy = "Nothing was read: write the log density by hand with mcmc.Target, and report the model."
    return f"model: got {found}; expected {expected}, which {library} gives. {remedy}"
