"""Input of the statistics: checked, laid out by columns, walked in blocks of bounded memory.

Inside the room all draws are `(column, chain, draw)` floats, one column a scalar parameter. NumPy input is
walked in blocks of columns; JAX input (tracers too) goes through the same formulas under `jit`, in batches.
"""

import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongType, WrongValue

BLOCK_VALUES = 1 << 17
"""About how many draws a block of columns holds: 1 MB of float64, which stays in the cache."""

FETCH_VALUES = 1 << 20
"""Draws that a thread copies in one piece, 8 MB, where columns lie across each other: 8 share the cache lines read."""

SCRATCH_VALUES = 1 << 26
"""Draws that the copies and scratch of all threads may hold, 512 MB; or those of one thread, if they are more."""

SCRATCH_COLUMNS = 5
"""How many times the size of a block the work on it takes at most."""

MIN_DRAWS = 4
"""The fewest draws per chain from which a split statistic can be computed."""


def namespace(x: Any) -> Any:
    """Return `jax.numpy` for a JAX array or tracer and `numpy` for anything else."""
    return jnp if isinstance(x, jax.Array) else np


def as_draws(x: Any, name: str = "x", min_draws: int = MIN_DRAWS) -> Any:
    """Return `x` as a `(chain, draw, ...)` array of a real dtype, or say what is wrong with it."""
    if not isinstance(x, jax.Array):
        x = np.asarray(x)
        if x.dtype.kind not in "biuf":
            raise WrongType.told(
                "x",
                f"{name} has dtype {x.dtype}; expected real numbers or booleans: "
                "select the numeric variables, or encode the others as numbers first.",
            )
    elif not (jnp.issubdtype(x.dtype, jnp.floating) or x.dtype.kind in "biu"):
        raise WrongType.told(
            "x", f"{name} has dtype {x.dtype}; expected real numbers: pass real and imaginary parts apart."
        )
    if x.ndim < 2:
        raise WrongValue.told(
            "x",
            f"{name} has shape {x.shape}; expected (chain, draw, ...): for one chain pass {name}[None], "
            "with the draws along axis 1.",
        )
    if x.shape[0] < 1 or x.shape[1] < min_draws:
        raise WrongValue.told(
            "x",
            f"{name} has {x.shape[0]} chains of {x.shape[1]} draws; expected at least 1 chain of {min_draws} "
            "draws: draw more, and check that the axes are (chain, draw, ...).",
        )
    return x


Work = Callable[[slice, np.ndarray], None]


def each_block(*tasks: tuple[Work, np.ndarray]) -> None:
    """Call `work(part, block)` on float64 blocks `(column, chain, draw)` of NumPy draws `(chain, draw, ...)`.

    A task is such a pair `(work, draws)`; all draws have the same chains and draws. A block is a copy that `work` may
    overwrite. Blocks are of bounded size and go through threads (sorts and transforms release the GIL), so `work`
    must only write to what belongs to `part`.
    """
    flat = [x.reshape(*x.shape[:2], -1) for _, x in tasks]
    columns, size = sum(x.shape[2] for x in flat), max(1, flat[0].shape[0] * flat[0].shape[1])
    width = max(1, BLOCK_VALUES // size)
    fetch = max(width, min(8, FETCH_VALUES // size))
    scratch = size * (fetch + SCRATCH_COLUMNS * width)
    workers = max(1, min(columns // width, available_cores(), 8, SCRATCH_VALUES // scratch))
    if columns * size < BLOCK_VALUES:
        workers = 1
    parts = []
    for task, x in enumerate(flat):
        pieces = -(-x.shape[2] // fetch)
        pieces += -pieces % workers if len(flat) == 1 else 0  # as many for each
        edges = np.linspace(0, x.shape[2], min(pieces, x.shape[2]) + 1).astype(int).tolist()
        parts += [(task, slice(*ends)) for ends in pairwise(edges)]

    def one(part: tuple[int, slice]) -> None:
        task, inside = part
        fetched = np.array(np.moveaxis(flat[task][:, :, inside], 2, 0), dtype=np.float64, order="C")
        with np.errstate(all="ignore"):
            for start in range(0, len(fetched), width):
                block = fetched[start : start + width]
                tasks[task][0](slice(inside.start + start, inside.start + start + len(block)), block)

    if workers == 1:
        for part in parts:
            one(part)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(one, parts):
            pass


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def by_columns(statistic: Callable[[Any, Any], Any], x: Any) -> Any:
    """Apply `statistic(xp, columns) -> (column,)` to draws `(chain, draw, ...)`; NaN draws give NaN."""
    event = x.shape[2:]
    if isinstance(x, jax.Array):
        return _by_columns_jax(statistic, x).reshape(event)
    out = np.empty(int(np.prod(event)))

    def work(part: slice, block: np.ndarray) -> None:
        bad = blank_nan(block)
        out[part] = np.where(bad, np.nan, statistic(np, block))

    each_block((work, x))
    return out.reshape(event)[()]


def blank_nan(block: np.ndarray) -> np.ndarray:
    """Set columns of `block` that hold a NaN to zero, in place, and say which they are."""
    bad = np.isnan(block.min(axis=(1, 2)))  # a minimum with a NaN is NaN
    block[bad] = 0.0
    return bad


def _by_columns_jax(statistic: Callable[[Any, Any], Any], x: jax.Array) -> jax.Array:
    """The same in JAX: columns mapped in batches, so that memory stays bounded."""

    def one_batch(columns: jax.Array) -> jax.Array:
        bad = jnp.isnan(columns).any(axis=(1, 2))
        return jnp.where(bad, jnp.nan, statistic(jnp, jnp.where(bad[:, None, None], 0.0, columns)))

    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)
    dtype = jnp.promote_types(dtype, jnp.float32)
    columns = jnp.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0).astype(dtype)
    batch = max(1, 8 * BLOCK_VALUES // max(1, x.shape[0] * x.shape[1]))
    if columns.shape[0] <= batch:
        return one_batch(columns)
    return jax.lax.map(lambda column: one_batch(column[None])[0], columns, batch_size=batch)


def over_tree(function: Callable[[Any], Any], x: Any) -> Any:
    """Apply an array statistic to an array, to a mapping of arrays, or to each variable of an xarray object.

    A DataTree stands for its `posterior` group; the result is then a Dataset of `(event...)` variables with
    the coordinates they had. A plain mapping gives a dict.
    """
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(x, xarray.DataTree):
        if "posterior" in x.children:
            x = x["posterior"]
        elif not x.data_vars:
            raise WrongValue.told(
                "x",
                f"x is a DataTree with groups {sorted(x.children)}; expected a posterior group: pass the "
                "group that holds the draws, as x['name'].",
            )
        x = x.to_dataset()
    if xarray is not None and isinstance(x, xarray.Dataset):
        return xarray.Dataset({name: _over_dataarray(function, x[name], str(name)) for name in x.data_vars})
    if xarray is not None and isinstance(x, xarray.DataArray):
        return _over_dataarray(function, x, str(x.name or "x"))
    if isinstance(x, Mapping):
        return {name: function(as_draws(value, str(name))) for name, value in x.items()}
    return function(as_draws(x))


def _over_dataarray(function: Callable[[Any], Any], x: Any, name: str) -> Any:
    missing = {"chain", "draw"} - set(x.dims)
    if missing:
        raise WrongValue.told(
            "x", f"{name} has dims {x.dims}; expected 'chain' and 'draw' among them: rename its dims, or drop it."
        )
    x = x.transpose("chain", "draw", ...)
    value = function(as_draws(x.values, name))
    kept = {key: coord for key, coord in x.coords.items() if not {"chain", "draw"} & set(coord.dims)}
    return x.isel(chain=0, draw=0, drop=True).copy(data=np.asarray(value)).assign_coords(kept)
