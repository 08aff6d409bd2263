"""The compiled program of a run: any number of iterations of all chains, warmup and sampling alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from mcmc.engine import keys

UNRECORDED = ("accepted", "nonfinite")


class Chains(NamedTuple):
    """All chains, as (block, lane, ...): kernel states, acceptance rates, counts of NaNs and divergences."""

    state: Any
    rate: Any
    nonfinite: Any
    diverging: Any


class Span(NamedTuple):
    """The iterations of one call: [start, stop) in the run's count, the iterations of warmup, one row every `thin`.

    With `fresh` the states are made from their positions first.
    """

    fresh: np.bool
    start: np.int32
    stop: np.int32
    warmup: np.int32
    thin: np.int32


@dataclass(frozen=True)
class Statistic:
    """One recorded statistic: its name, its type, and its column after the target's."""

    name: str
    dtype: str


@dataclass(frozen=True)
class Layout:
    """How chains lie in blocks of lanes, blocks on devices, and rows in the buffer of one call."""

    chains: int
    lanes: int
    blocks: int
    rows: int
    ensemble: bool
    mesh: Mesh | None

    def pad(self, x: np.ndarray) -> np.ndarray:
        """(chain, ...) to (block, lane, ...); the lanes left over repeat the first chain."""
        spare = self.blocks * self.lanes - x.shape[0]
        x = np.concatenate([x, np.repeat(x[:1], spare, 0)]) if spare else np.asarray(x)
        return x.reshape(self.blocks, self.lanes, *x.shape[1:])

    def empty_rows(self, width: int, dtype: Any, statistics: tuple[Statistic, ...]) -> tuple[np.ndarray, ...]:
        """Room for the draws of one call: the target's (block, lane, row, width), each statistic's (block, lane, row).

        A chain's rows lie side by side, so that the host copies long runs.
        """
        shape = (self.blocks, self.lanes, self.rows)
        return np.zeros((*shape, width), dtype), *(np.zeros(shape, s.dtype) for s in statistics)

    def unpad(self, x: Any) -> np.ndarray:
        """(block, lane, ...) back to (chain, ...)."""
        x = np.asarray(x)
        return x.reshape(-1, *x.shape[2:])[: self.chains]


def recorded_statistics(kernel: Any, log_density: Callable, dim: int, dtype: Any) -> tuple[Statistic, ...]:
    """The scalars of a kernel's info that are recorded, `lp` first."""
    words = np.zeros(2, np.uint32)
    position = jax.ShapeDtypeStruct((dim,), dtype)
    if getattr(kernel, "ensemble", False):
        position = jax.ShapeDtypeStruct((4, dim), dtype)
        log_density = jax.vmap(log_density)

    def one(position: jax.Array) -> Any:
        return kernel.step(keys.run_key(words), kernel.init(position, log_density), log_density)[1]

    info = jax.eval_shape(one, position)
    wanted = position.shape[:-1]
    fields = [(n, getattr(info, n)) for n in getattr(info, "_fields", ()) if n not in UNRECORDED]
    stats = [Statistic(n, str(x.dtype)) for n, x in fields if getattr(x, "shape", None) == wanted]
    return (Statistic("lp", str(jnp.dtype(dtype))), *(s for s in stats if s.name != "lp"))


def build(
    layout: Layout,
    statistics: tuple[Statistic, ...],
    traced: Any,
    tuner: Any,
    rebuild: Callable[[list], Any],
) -> Callable:
    """The function that a run compiles, once.

    `advance(key, leaves, tuning, chains, rows, ids, span, arrays) -> (leaves, tuning, chains, rows)`: the kernel as
    its array leaves, what warmup carries, the chains; rows are filled with the span's draws (`Layout.empty_rows`).
    """

    def advance(
        key: jax.Array,
        leaves: list,
        tuning: Any,
        chains: Chains,
        rows: tuple,
        ids: jax.Array,
        span: Span,
        arrays: tuple,
    ) -> tuple:
        log_density = partial(traced.log_density, arrays)
        density = jax.vmap(log_density) if layout.ensemble else log_density
        stepper = _ensemble_step if layout.ensemble else _lane_step

        def row(state: Any, info: Any) -> tuple:
            kept = jax.vmap(partial(traced.record, arrays))(state.position)
            return kept, state.lp, *(getattr(info, s.name) for s in statistics[1:])

        def init_block(b: jax.Array, chains: Chains) -> Chains:
            position = lax.dynamic_index_in_dim(chains.state.position, b, 0, keepdims=False)
            kernel = rebuild(leaves)
            if layout.ensemble:
                state = kernel.init(position, density)
            else:
                state = jax.vmap(lambda y: kernel.init(y, density))(position)
            return chains._replace(state=_put(chains.state, state, b))

        def block(b: jax.Array, carry: tuple, kernel: Any, start: jax.Array, count: jax.Array) -> tuple:
            chains, rows = carry
            mine = jax.tree.map(lambda a: lax.dynamic_index_in_dim(a, b, 0, keepdims=False), chains)
            lane_ids = lax.dynamic_index_in_dim(ids, b, 0, keepdims=False)

            def draw(i: jax.Array, carry: tuple) -> tuple:
                (state, _, nonfinite, diverging), rows = carry
                words, t = lax.optimization_barrier((key, start + i))  # or the key schedule leaves the loop in pieces
                state, info = stepper(words, lane_ids, t, kernel, state, density)
                rate = getattr(info, "acceptance_rate", jnp.ones_like(state.lp))
                nonfinite += getattr(info, "nonfinite", jnp.isnan(state.lp))
                if hasattr(info, "diverging"):
                    diverging += info.diverging
                at = lax.div(t - span.start, span.thin)
                rows = jax.tree.map(partial(_write, b, at), rows, row(state, info))
                return Chains(state, rate, nonfinite, diverging), rows

            mine, rows = lax.fori_loop(0, count, draw, (mine, rows))
            return _put(chains, mine, b), rows

        def iterations(start: Any, count: Any, kernel: Any, chains: Chains, rows: tuple) -> tuple:
            blocks = ids.shape[0] + jnp.minimum(span.start, 0)  # known at run time only: one body for any number
            body = partial(block, kernel=kernel, start=start, count=count)
            return lax.fori_loop(0, blocks, body, (chains, rows))

        chains = lax.cond(
            span.fresh,
            lambda c: lax.fori_loop(0, ids.shape[0] + jnp.minimum(span.start, 0), init_block, c),
            lambda c: c,
            chains,
        )
        if tuner is None:
            chains, rows = iterations(span.start, span.stop - span.start, rebuild(leaves), chains, rows)
            return leaves, tuning, chains, rows

        warming = span.start < span.warmup
        count = jnp.where(warming, 1, span.stop - span.start)
        rounds = jnp.where(warming, span.stop - span.start, jnp.minimum(1, span.stop - span.start))

        def one_round(i: jax.Array, carry: tuple) -> tuple:
            leaves, tuning, chains, rows = carry
            chains, rows = iterations(span.start + i, count, rebuild(leaves), chains, rows)

            def tune(leaves: list, tuning: Any) -> tuple:
                positions, rates = _gather(chains.state.position, layout), _gather(chains.rate, layout)
                tuning, kernel = tuner.update(tuning, rebuild(leaves), positions, rates)
                return [leaf for leaf in jax.tree.leaves(kernel) if hasattr(leaf, "dtype")], tuning

            leaves, tuning = lax.cond(warming, tune, lambda *same: same, leaves, tuning)
            return leaves, tuning, chains, rows

        return lax.fori_loop(0, rounds, one_round, (leaves, tuning, chains, rows))

    return advance if layout.mesh is None else _sharded(advance, layout.mesh)


def _lane_step(key: Any, lane_ids: Any, t: Any, kernel: Any, state: Any, density: Any) -> tuple:
    each_draw = getattr(kernel, "each_draw", None)
    kernel = each_draw(keys.shared_key(key, t)) if each_draw else kernel

    def one(chain: jax.Array, state: Any) -> tuple:
        return kernel.step(keys.draw_key(key, chain, t), state, density)

    return jax.vmap(one)(lane_ids, state)


def _ensemble_step(key: Any, lane_ids: Any, t: Any, kernel: Any, state: Any, density: Any) -> tuple:
    return kernel.step(keys.shared_key(key, t), state, density)


def _put(whole: Any, part: Any, b: jax.Array) -> Any:
    return jax.tree.map(lambda a, x: lax.dynamic_update_index_in_dim(a, x.astype(a.dtype), b, 0), whole, part)


def _write(b: jax.Array, at: jax.Array, rows: jax.Array, row: jax.Array) -> jax.Array:
    zero = jnp.int32(0)
    start = (b, zero, at, *(zero,) * (row.ndim - 1))
    return lax.dynamic_update_slice(rows, row[None, :, None].astype(rows.dtype), start)


def _gather(x: jax.Array, layout: Layout) -> jax.Array:
    """(block, lane, ...) on this device to (chain, ...) of all devices, in chain order."""
    if layout.mesh is not None:
        x = lax.all_gather(x, "chains", axis=0, tiled=True)
    return x.reshape(-1, *x.shape[2:])[: layout.chains]


def _sharded(advance: Callable, mesh: Mesh) -> Callable:
    replicated, split = PartitionSpec(), PartitionSpec("chains")
    return jax.shard_map(
        advance,
        mesh=mesh,
        in_specs=(replicated, replicated, replicated, split, split, split, replicated, replicated),
        out_specs=(replicated, replicated, split, split),
        check_vma=False,
    )
