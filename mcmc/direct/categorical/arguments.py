"""What the categorical functions are given, checked and brought into one form: rows of float32 or float64 logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from numpy.typing import ArrayLike

from mcmc.direct.categorical import tree
from mcmc.direct.categorical.filters import FILTERS, in_domain
from mcmc.errors import WrongType, WrongValue

DOMAINS = {
    "temperature": "a number not below 0",
    "top_k": "an integer not below 1, or 0 or -1 for all",
    "top_n_sigma": "a number not below 0, or -1 for all",
}
ORDERS = ("sequential", "joint")
MAP_FROM = 4096  # on a CPU, longer rows are worked on one by one, each in the cache


class Truncation(TypedDict, total=False):
    """The keyword arguments that define the distribution; `sample` explains them."""

    temperature: ArrayLike
    top_k: ArrayLike | None
    top_p: ArrayLike | None
    min_p: ArrayLike | None
    typical_p: ArrayLike | None
    epsilon_cutoff: ArrayLike | None
    eta_cutoff: ArrayLike | None
    top_n_sigma: ArrayLike | None
    order: Literal["sequential", "joint"]
    filters: tuple[str, ...] | None
    axis: int


class Rows(NamedTuple):
    """Logits (B, n), filled up with -inf, a temperature (B,) or None, and the filters' parameters, each (B,)."""

    x: jax.Array
    temperature: Any
    limits: dict[str, Any]


@dataclass(frozen=True)
class Given:
    """The rows of a call and how to come back from them.

    Attributes:
        rows: the rows.
        batch: the shape of the batch.
        size: the number of tokens.
        axis: where the tokens were, from the left.
        order: of the filters: how they act, or their names.
    """

    rows: Rows
    batch: tuple[int, ...]
    size: int
    axis: int
    order: str | tuple[str, ...]

    def restore(self, x: jax.Array) -> jax.Array:
        """(B, n) in the shape of the logits."""
        return jnp.moveaxis(x[:, : self.size].reshape(*self.batch, self.size), -1, self.axis)

    def refuse(self, valid: Any, what: str = "") -> None:
        """Raise if a row is not valid, where that is known: in compiled code it is not."""
        if traced(valid) or bool(np.all(valid)):
            return
        where = tuple(int(i) for i in np.argwhere(~np.asarray(valid).reshape(self.batch))[0])
        row = np.asarray(self.rows.x[int(np.ravel_multi_index(where, self.batch)) if where else 0])
        if not what:
            what = "NaN" if np.isnan(row).any() else "no token" if np.all(row == -np.inf) else "no token after filters"
        place = f" in row {where}" if where else ""
        expected = "logits with a token that is not masked (-inf), without NaN, and filters that leave one"
        raise WrongValue("logits", what + place, expected, "Correct that row, or loosen its filters.")


def traced(*values: Any) -> bool:
    """Whether some of the values are traced: a compiled function can't raise."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def of_tracers(*values: Any) -> list:
    """Those that are traced: what gradients may be asked in."""
    return [leaf for leaf in jax.tree.leaves(values) if isinstance(leaf, Tracer)]


def given(
    logits: Any,
    *,
    order: str = "sequential",
    filters: Any = None,
    axis: int = -1,
    temperature: Any = 1.0,
    **limits: Any,
) -> Given:
    """Check the arguments and make rows of them: float64 logits stay so where JAX's 64-bit types are on."""
    unknown = set(limits) - set(FILTERS)
    if unknown:
        raise WrongType(", ".join(sorted(unknown)), "an argument", ", ".join(FILTERS), "Correct the name.")
    if order not in ORDERS:
        raise WrongValue("order", order, " or ".join(map(repr, ORDERS)), "Choose one of them.")
    names = order if filters is None else _names(filters, order, {n for n, v in limits.items() if v is not None})
    x, axis = _tokens_last(logits, axis)
    batch, size = x.shape[:-1], x.shape[-1]
    fill = ((0, 0), (0, tree.padded_size(size) - size))
    if x.ndim != 2:  # even an idle reshape copies, outside jit
        x = x.reshape(math.prod(batch), size)
    if fill[1][1]:
        x = jnp.pad(x, fill, constant_values=-jnp.inf)
    with jax.enable_x64(True):
        found = {name: parameter(name, value, batch) for name, value in limits.items() if value is not None}
        t = None if temperature is None else parameter("temperature", temperature, batch, x.dtype)
    if isinstance(t, np.ndarray) and np.all(t == 1):
        t = None
    return Given(Rows(x, t, found), batch, size, axis, names)


def _names(names: Any, order: str, used: set[str]) -> tuple[str, ...]:
    """The filters' names in the order in which they act, checked."""
    known = ("temperature", *FILTERS)
    names = (names,) if isinstance(names, str) else tuple(names)
    wrong = [name for name in names if name not in known] or [name for name in names if names.count(name) > 1]
    if wrong:
        raise WrongValue("filters", wrong[0], f"names out of {', '.join(known)}, each once", "Correct the name.")
    if used - set(names):
        raise WrongValue("filters", names, f"{', '.join(sorted(used - set(names)))} in it too", "Add the name.")
    if order != "sequential":
        raise WrongValue("order", order, '"sequential" with filters', "Leave one of the two out.")
    return names


def _tokens_last(logits: Any, axis: int) -> tuple[jax.Array, int]:
    """The logits with their tokens along the last axis, in float32 at least; and where that axis was."""
    x = jnp.asarray(logits)
    remedy = "Pass unnormalised log probabilities, one a token."
    if not (jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)):
        raise WrongType("logits", f"dtype {x.dtype}", "real numbers", remedy)
    if x.ndim == 0:
        raise WrongValue("logits", "a scalar", "an axis of tokens", remedy)
    if not -x.ndim <= axis < x.ndim:
        raise WrongValue("axis", axis, f"an axis of logits of shape {x.shape}", "Name the axis of the tokens.")
    if x.shape[axis] == 0:
        raise WrongValue("logits", f"shape {x.shape}", "one token or more", remedy)
    x = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    axis %= x.ndim
    return _gathered(x if axis == x.ndim - 1 else jnp.moveaxis(x, axis, -1)), axis


def _gathered(x: jax.Array) -> jax.Array:
    """The logits with whole rows on each device, where an explicit mesh has their tokens on several.

    So are batches of more than one axis, which become one.
    """
    placed = jax.typeof(x).sharding
    if placed.mesh.empty or not any(axis is not None for axis in placed.spec):
        return x
    kept = placed.spec[0] if x.ndim == 2 and len(placed.spec) else None
    return jax.reshard(x, jax.sharding.NamedSharding(placed.mesh, jax.sharding.PartitionSpec(kept)))


def parameter(name: str, value: Any, batch: tuple[int, ...], dtype: Any = np.float64) -> Any:
    """A parameter as (B,), checked where it is concrete: a NumPy array then, else a JAX array."""
    domain = DOMAINS.get(name, "a number from 0 to 1")
    remedy = f"Give one {name}, or an array of the batch's shape {batch}."
    concrete = not traced(value)
    value = np.asarray(value) if concrete else jnp.asarray(value)
    whole, real = jnp.issubdtype(value.dtype, jnp.integer), jnp.issubdtype(value.dtype, jnp.floating)
    if not whole and (name == "top_k" or not real):
        raise WrongType(name, f"dtype {value.dtype}", domain, remedy)
    if name == "top_k":
        value = value.clip(-2, 2**31 - 1).astype(np.int32)
        value = (np if concrete else jnp).where((value == 0) | (value == -1), np.int32(2**31 - 1), value)
    if name == "top_n_sigma":
        value = (np if concrete else jnp).where(value == -1, np.inf, value if real else value.astype(dtype))
    if concrete:
        if not np.all(in_domain(name, value)):
            bad = value[~in_domain(name, value)]
            raise WrongValue(name, bad.ravel()[0].item(), domain, remedy)
        if name == "temperature":
            value = np.where((value > 0) & (value < np.finfo(dtype).tiny), np.finfo(dtype).tiny, value)
    value = value if name == "top_k" else value.astype(dtype)
    if value.ndim > len(batch) or any(a not in (1, b) for a, b in zip(value.shape[::-1], batch[::-1], strict=False)):
        raise WrongValue(name, f"shape {value.shape}", f"a shape that broadcasts to the batch's {batch}", remedy)
    return (np if concrete else jnp).broadcast_to(value, batch).reshape(-1)


def by_row(function: Callable, rows: Any, size: int) -> Any:
    """`function(row, fixed)` for each row of a pytree of arrays (B, ...), the logits first.

    On a CPU long rows go one after the other, each in the cache; elsewhere all together, in a fixed number of steps.
    Rows that an explicit mesh has on several devices are worked on where they are.
    """
    first = jax.tree.leaves(rows)[0]
    placed = jax.typeof(first).sharding
    if not placed.mesh.empty and len(placed.spec) and placed.spec[0] is not None:
        spec = jax.sharding.PartitionSpec(placed.spec[0])
        rows = jax.tree.map(lambda a: jax.reshard(a, jax.sharding.NamedSharding(placed.mesh, spec)), rows)
        here = partial(by_row, function, size=size)
        return jax.shard_map(here, mesh=placed.mesh, in_specs=spec, out_specs=spec)(rows)
    count = len(first)

    def in_turn(rows):
        return lax.map(partial(function, fixed=False), rows)

    def together(rows, fixed):
        return jax.vmap(partial(function, fixed=fixed))(rows)

    on_cpu = in_turn if size >= MAP_FROM and count > 1 else partial(together, fixed=False)
    return lax.platform_dependent(rows, cpu=on_cpu, default=partial(together, fixed=True))


def keys_of(key: Any, batch: tuple[int, ...]) -> jax.Array:
    """The key, new-style: one, or one a row of the batch."""
    key = jnp.asarray(key)
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.dtype != jnp.uint32:
            raise WrongType("key", f"dtype {key.dtype}", "a JAX key", "Make one with jax.random.key(seed).")
        key = jax.random.wrap_key_data(key)
    if key.shape not in ((), batch):
        remedy = "Split a key into one a row with jax.random.split(key, batch)."
        raise WrongValue("key", f"shape {key.shape}", f"one key, or keys of the batch's shape {batch}", remedy)
    return key
