"""Discrete sites of scans, drawn back by gradients of the log density from which they are summed out."""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.distributions import Delta
from numpyro.primitives import Messenger

from mcmc.models.numpyro_handlers import is_scanned
from mcmc.models.numpyro_sites import Sites

NEVER = -1e30  # log of the weight of what was not drawn; finite, so that gradients are


class Tilted(Messenger):
    """Multiplies the density by weights of the values of discrete sites: tables of their logarithms (..., value)."""

    def __init__(self, fn: Callable | None, tables: dict[str, jax.Array], in_scan: bool = False):
        super().__init__(fn)
        self.tables, self.in_scan = tables, in_scan

    def process_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        if msg["type"] == "control_flow":
            step, *rest = msg["args"]

            def tilted(carry: Any, x: Any) -> Any:
                with Tilted(None, self.tables, in_scan=True):
                    return step(carry, x)

            msg["args"] = (tilted, *rest)

    def postprocess_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        if msg["type"] != "sample":
            return
        name = msg["name"].replace("_PREV_", "") if self.in_scan else msg["name"]  # of the first steps, unrolled
        if name in self.tables and is_scanned(msg) == self.in_scan:
            table, value = self.tables[name], msg["value"]
            if self.in_scan:
                table = table[msg["infer"]["_scan_current_index"]]
            chosen = value[..., None] == jnp.arange(table.shape[-1])
            term = jnp.sum(jnp.where(chosen, table, 0.0), -1)
            at = jnp.zeros_like(term)
            numpyro.sample(f"{name}__weight", Delta(at, term), obs=at)


def drawn_back(key: jax.Array, log_density: Callable[[dict], jax.Array], sites: Sites) -> dict[str, jax.Array]:
    """One draw of the discrete sites z from p(z | rest), where log_density(tables) = log Σ_z p(z, rest) exp(tables(z)).

    The derivative by a table's entry is the probability of that value. Sites outside scans are drawn in turn; a scan's
    between those that are drawn already, which part its past from its future, so that log2(steps) rounds do.
    """
    shapes = sites.shapes(sites.summed)
    counts = {n: sites.all[n]["fn"].enumerate_support(expand=False).shape[0] for n in shapes}
    tables = {n: jnp.zeros((*s.shape, counts[n])) for n, s in shapes.items()}
    values = {n: jnp.zeros(s.shape, s.dtype) for n, s in shapes.items()}
    scanned = [n for n in shapes if is_scanned(sites.all[n])]
    lengths = {n: shapes[n].shape[0] for n in scanned}

    def draw(state: tuple, name: str, key: jax.Array, now: Any) -> tuple:
        tables, values = state
        p = jax.grad(log_density)(tables)[name]
        k = jax.random.categorical(key, jnp.log(jnp.maximum(p, 0.0))).astype(values[name].dtype)
        now = jnp.reshape(now, jnp.shape(now) + (1,) * (k.ndim - jnp.ndim(now)))
        value = jnp.where(now, k, values[name])
        table = jnp.where(value[..., None] == jnp.arange(counts[name]), 0.0, NEVER)
        return tables | {name: jnp.where(now[..., None], table, tables[name])}, values | {name: value}

    state = tables, values
    for i, name in enumerate(n for n in shapes if n not in scanned):
        state = draw(state, name, jax.random.fold_in(key, i), jnp.asarray(True))
    for length in sorted(set(lengths.values())):
        together = [n for n in scanned if lengths[n] == length]

        def round_of(state: tuple, x: tuple, together: Any = together) -> tuple:
            now, key = x
            for i, name in enumerate(together):
                state = draw(state, name, jax.random.fold_in(key, i), now)
            return state, None

        masks = np.stack(list(_rounds(length, sites.history)))
        keys = jax.random.split(jax.random.fold_in(key, 1000 + length), len(masks))
        state, _ = jax.lax.scan(round_of, state, (jnp.asarray(masks), keys))
    return state[1]


def _rounds(length: int, history: int) -> Iterator[np.ndarray]:
    """Which steps are drawn together (length,): in the middle of every gap, as many in turn as the scan looks back."""
    gaps = [(0, length)]
    while gaps:
        after = []
        middles = [(low, high, max(low, (low + high - history) // 2)) for low, high in gaps]
        for j in range(history):
            at = [m + j for low, high, m in middles if m + j < high]
            if at:
                yield np.isin(np.arange(length), at)
        for low, high, m in middles:
            after += [(low, m), (m + history, high)]
        gaps = [(low, high) for low, high in after if low < high]
