"""Whether a target read from a model has the density that the model's library gives it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

from mcmc.models.numpyro_types import traced
from mcmc.models.same_program import is_one_program
from mcmc.target.data import as_arrays
from mcmc.target.target import Target
from mcmc.warmup.starts import scattered

POINTS = 3
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
TOLERANCE = {8: 1e-5, 4: 1e-3}  # of differences, against the size of the log density, by the bytes of a float


def check_faithful(target: Target, theirs: Callable[[Mapping], jax.Array], library: str) -> None:
    """Raise ValueError with both numbers where log densities differ between random points as the library's do not."""
    data = as_arrays(target.data, np.float64)

    def density(p: Mapping) -> jax.Array:
        return jnp.asarray(target._call("log_density", target.log_density, p, data))

    position = jax.ShapeDtypeStruct((target.dim,), np.float64)
    p = jax.eval_shape(lambda y: target.constrain(y)[0], position)
    ours = jax.make_jaxpr(density)(p)
    expected = traced(theirs, p)
    if is_one_program(ours, expected.closed):
        return
    one, other = (jaxpr_as_fun(f) for f in (ours, expected.closed))

    def both(y: jax.Array) -> list:
        leaves = jax.tree.leaves(target.constrain(y)[0])
        return [one(*leaves)[0], other(*leaves)[0]]

    found, wanted = _at(scattered(target, 4 * POINTS), both)
    compare(found, wanted, library, 4 if expected.narrow else 8)


def check_against(target: Target, theirs: Callable[[dict], Any], library: str) -> None:
    """The same, where the library's log density is a function of NumPy arrays by name."""
    data = as_arrays(target.data, np.float64)

    def density(y: jax.Array) -> list:
        p = target.constrain(y)[0]
        return [p, jnp.asarray(target._call("log_density", target.log_density, p, data))]

    points, found = _at(scattered(target, 4 * POINTS), density)
    with np.errstate(all="ignore"):
        wanted = [float(theirs({n: x[i] for n, x in points.items()})) for i in range(len(found))]
    compare(found, np.asarray(wanted), library)


def _at(rows: Any, function: Callable) -> list:
    """A function of each row; quickly compiled."""
    program = jax.jit(lambda rows: jax.lax.map(function, rows)).lower(rows).compile(QUICK)
    return jax.tree.map(np.asarray, program(rows))


def compare(ours: np.ndarray, theirs: np.ndarray, library: str, size_of_float: int = 8) -> None:
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
    if abs(ours[worst] - theirs[worst]) > TOLERANCE[size_of_float] * size:
        found = f"a log density that changes by {ours[worst]:.10g} from one point to another"
        raise ValueError(_message(found, f"{theirs[worst]:.10g}", library))


def _message(found: str, expected: str, library: str) -> str:
    remedy = "Nothing was read: write the log density by hand with mcmc.Target, and report the model."
    return f"model: got {found}; expected {expected}, which {library} gives. {remedy}"
