"""The program of a run: any number of iterations of all chains, warmup and sampling alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.engine import free_lanes
from mcmc.random import keys

UNRECORDED = ("accepted", "nonfinite", "rates")


class Chains(NamedTuple):
    """The chains of a device, as (block, lane, ...).

    Kernel states, the sum of the acceptance rates of the last call (one a chain; several where a kernel has
    `rates`, one a part), counts of NaNs and of divergences.
    """

    state: Any
    rate: Any
    nonfinite: Any
    diverging: Any


class Rows(NamedTuple):
    """What a call writes: the target's draws (block, lane, row, width), each statistic (block, lane, row), and
    the positions, and gradients, of the last iterations (block, lane, iteration, dim or 2 dim), which warmup wants.

    A chain's rows lie side by side, so that the host copies long runs.
    """

    kept: Any
    statistics: tuple
    trail: Any


class Span(NamedTuple):
    """The iterations of one call: [start, stop) in the run's count, one row every `thin`.

    With `fresh` the states are made from their positions first.
    """

    fresh: np.bool
    start: np.int32
    stop: np.int32
    thin: np.int32

    @classmethod
    def of(cls, start: int, stop: int, thin: int = 1, fresh: bool = False) -> Span:
        """The span of these numbers, in the types of the program."""
        return cls(np.bool_(fresh), np.int32(start), np.int32(stop), np.int32(thin))


@dataclass(frozen=True)
class Statistic:
    """One recorded statistic: its name and its type."""

    name: str
    dtype: str


class Shapes(NamedTuple):
    """A kernel's state for one chain (for an ensemble: for four), as shapes; what is recorded, `lp` first; the shape
    of its rates.
    """

    state: Any
    statistics: tuple[Statistic, ...]
    rates: tuple


def shapes_of(kernel: Any, log_density: Callable, dim: int, dtype: Any) -> Shapes:
    """The shapes of what a kernel carries from step to step and says of each."""
    ensemble = bool(getattr(kernel, "ensemble", False))
    position = jax.ShapeDtypeStruct((4, dim) if ensemble else (dim,), dtype)
    density = jax.vmap(log_density) if ensemble else log_density

    def one(position: jax.Array) -> tuple:
        state = kernel.init(position, density)
        return state, kernel.step(keys.run_key(np.zeros(2, np.uint32)), state, density)[1]

    state, info = jax.eval_shape(one, position)
    fields = [(n, getattr(info, n)) for n in getattr(info, "_fields", ()) if n not in UNRECORDED]
    stats = [Statistic(n, str(x.dtype)) for n, x in fields if getattr(x, "shape", None) == position.shape[:-1]]
    rates = getattr(getattr(info, "rates", None), "shape", ())[1 if ensemble else 0 :]
    statistics = (Statistic("lp", str(jnp.dtype(dtype))), *(s for s in stats if s.name != "lp"))
    return Shapes(state, statistics, rates)


def build(ensemble: bool, statistics: tuple[Statistic, ...], traced: Any, rebuild: Callable[[list], Any]) -> Callable:
    """The function that a run compiles, once.

    `advance(run_key, leaves, chains, rows, ids, span, arrays) -> (chains, rows)`: the run's key, the kernel as its
    array leaves, the chains, rows to write into (given away and given back), the chains' numbers (block, lane).
    The block loop is outside and the draw loop inside: a block's state stays in cache, and every block of every
    run is the same code, whatever the number of blocks.
    """
    stepper = _ensemble_step if ensemble else _lane_step

    def advance(
        run_key: jax.Array, leaves: list, chains: Chains, rows: Rows, ids: jax.Array, span: Span, arrays: tuple
    ) -> tuple[Chains, Rows]:
        density, record, lp = _at_kernel_position(traced, arrays, ensemble)
        kernel = rebuild(leaves)
        freely = getattr(kernel, "runs_freely", False) and ids.shape[1] >= free_lanes.FEWEST
        tuned, dim = rows.trail.shape[2] > 0, chains.state.position.shape[-1]
        recorded = partial(_recorded, statistics, tuned, lp)
        blocks = ids.shape[0] + jnp.minimum(span.start, 0)  # known at run time only: one body for any number

        def start_block(b: jax.Array, state: Any) -> Any:
            position = lax.optimization_barrier(_at(b, state.position))
            init = partial(kernel.init, log_density=density)
            return _put(state, init(position) if ensemble else jax.vmap(init)(position), b)

        def block(b: jax.Array, carry: tuple) -> tuple:
            chains, rows = carry
            mine = jax.tree.map(partial(_at, b), chains)
            mine = lax.optimization_barrier(mine._replace(rate=jnp.zeros_like(mine.rate)))
            lane_ids = _at(b, ids)

            def draw(i: jax.Array, carry: tuple) -> tuple:
                mine, rows = carry
                # The barrier keeps the key schedule from leaving the loop in pieces.
                key, t = lax.optimization_barrier((run_key, span.start + i))
                state, info = stepper(key, lane_ids, t, kernel, mine.state, density)
                return _count(mine, state, info), write(b, i, recorded(state, info), rows)

            n = span.stop - span.start
            if freely:
                put, key_of = partial(write, b), partial(_keys_of, run_key, lane_ids, span.start)
                mine, rows = free_lanes.run(kernel, density, key_of, n, mine, rows, _count, recorded, put)
            else:
                mine, rows = lax.fori_loop(0, n, draw, (mine, rows))
            return _put(chains, mine, b), rows

        def write(b: jax.Array, i: jax.Array, recorded: tuple, rows: Rows) -> Rows:
            seen, *values = recorded
            at = partial(_write, b, lax.div(i, span.thin))
            kept = at(rows.kept, jax.vmap(record)(seen[..., :dim]))
            trail = _write(b, lax.rem(i, jnp.int32(rows.trail.shape[2])), rows.trail, seen) if tuned else rows.trail
            return Rows(kept, tuple(map(at, rows.statistics, values)), trail)

        state = lax.cond(span.fresh, lambda s: lax.fori_loop(0, blocks, start_block, s), lambda s: s, chains.state)
        return lax.fori_loop(0, blocks, block, (chains._replace(state=state), rows))

    return advance


def _at_kernel_position(traced: Any, arrays: tuple, ensemble: bool) -> tuple[Callable, Callable, Callable]:
    """The log density that the kernel moves by, what is recorded at its position, and the target's lp of its states."""
    log_density = partial(traced.log_density, arrays)

    def lp(state: Any) -> jax.Array:
        if traced.log_jacobian is None:
            return state.lp
        return state.lp - jax.vmap(partial(traced.log_jacobian, arrays))(state.position)

    return jax.vmap(log_density) if ensemble else log_density, partial(traced.record, arrays), lp


def _lane_step(run_key: Any, lane_ids: Any, t: Any, kernel: Any, state: Any, density: Any) -> tuple:
    kernel = _of_draw(run_key, t, kernel)

    def one(chain: jax.Array, state: Any) -> tuple:
        return kernel.step(keys.draw_key(run_key, chain, t), state, density)

    if getattr(kernel, "runs_freely", False) and lane_ids.shape[0] == 1:  # its loops are quicker without vmap
        alone = jax.tree.map(lambda a: a[0], (lane_ids, state))
        return jax.tree.map(lambda a: a[None], one(*alone))
    return jax.vmap(one)(lane_ids, state)


def _ensemble_step(run_key: Any, lane_ids: Any, t: Any, kernel: Any, state: Any, density: Any) -> tuple:
    return _of_draw(run_key, t, kernel).step(keys.shared_key(run_key, t), state, density)


def _of_draw(run_key: Any, t: Any, kernel: Any) -> Any:
    """The kernel of one iteration, where it draws something for all chains."""
    each_draw = getattr(kernel, "each_draw", None)
    return each_draw(keys.common_key(run_key, t)) if each_draw else kernel


def _keys_of(run_key: Any, lane_ids: Any, start: Any, lane: Any, t: Any) -> jax.Array:
    return jax.vmap(partial(keys.draw_key, run_key))(lane_ids[lane], start + t)


def _recorded(statistics: tuple[Statistic, ...], tuned: bool, lp: Callable, state: Any, info: Any) -> tuple:
    """What is written of a draw: the position (and the gradient, where warmup tunes), lp, the other statistics."""
    wanted = tuned and hasattr(state, "gradient")
    seen = jnp.concatenate([state.position, state.gradient], -1) if wanted else state.position
    return seen, lp(state), *(getattr(info, s.name) for s in statistics[1:])


def _count(chains: Chains, state: Any, info: Any, where: Any = True) -> Chains:
    """The chains in their new state, with what they did added up, `where` given (lane,) only."""
    rate = getattr(info, "rates", getattr(info, "acceptance_rate", 1.0))
    nonfinite = getattr(info, "nonfinite", jnp.isnan(state.lp))
    diverging = getattr(info, "diverging", False)
    if where is not True:
        old = (0.0, False, False, chains.state)
        rate, nonfinite, diverging, state = free_lanes.where(where, (rate, nonfinite, diverging, state), old)
    return Chains(state, chains.rate + rate, chains.nonfinite + nonfinite, chains.diverging + diverging)


# Indices are never negative, which keeps the three operations that wrap each of them out of the program.


def _at(b: jax.Array, whole: jax.Array) -> jax.Array:
    return lax.dynamic_index_in_dim(whole, b, 0, keepdims=False, allow_negative_indices=False)


def _put(whole: Any, part: Any, b: jax.Array) -> Any:
    def put(a: jax.Array, x: jax.Array) -> jax.Array:
        return lax.dynamic_update_index_in_dim(a, x.astype(a.dtype), b, 0, allow_negative_indices=False)

    return jax.tree.map(put, whole, part)


def _write(b: jax.Array, at: jax.Array, rows: jax.Array, row: jax.Array) -> jax.Array:
    start = (b, np.int32(0), at, *(np.int32(0),) * (row.ndim - 1))
    return lax.dynamic_update_slice(rows, row[None, :, None].astype(rows.dtype), start, allow_negative_indices=False)
