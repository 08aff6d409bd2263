"""Starts of discrete parameters: their values are changed one by one until nothing makes the log density −inf."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mcmc.engine.compilation import compile_program
from mcmc.target.data import as_arrays
from mcmc.target.target import Target
from mcmc.target.unmet import unmet

SWEEPS, MOST_VALUES, ASTRAY, TIES, MOST_CHAINS = 20, 64, 0.005, 1e-9, 16


class Mender:
    """Changes discrete values of starts until the log density there is finite: min-conflicts.

    A term is any intermediate value of the log density that is −inf, and any condition that makes it so, by its
    distance (see `unmet`). Coordinate by coordinate each value of the support is tried, and one with the fewest such
    terms taken, of equal ones any, and now and then another.

    Source: Minton, Johnston, Philips & Laird 1992, Artificial Intelligence 58.
    """

    def __init__(self, target: Target, seed: np.ndarray, n: int, dtype: Any):
        self.values = {} if target.host is not None else _values(target)
        self.rng = np.random.default_rng([*map(int, seed), n])
        self.target = target
        if not self.values:
            return
        self.data, self.most = as_arrays(target.data, dtype), max(len(v) for v in self.values.values())

        def tried(y: jax.Array, at: jax.Array, candidates: jax.Array, data: Any) -> tuple[jax.Array, jax.Array]:
            def one(value: jax.Array) -> tuple[jax.Array, jax.Array]:
                changed = y.at[at].set(value)
                terms = unmet(target.value, changed, data)
                return (terms / (1.0 + terms)).sum(), target.value(changed, data)

            return jax.vmap(one)(candidates)

        example = (np.zeros((n, target.dim), dtype), np.int32(0), np.zeros(self.most, dtype), self.data)
        self.program = compile_program(jax.vmap(tried, (0, None, None, None)), *example)[0]

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Positions (n, dim) at which fewer terms are −inf, or none."""
        at = positions.copy()
        for _ in range(SWEEPS if self.values else 0):
            finite = np.zeros(len(at), bool)
            for coordinate in self.rng.permutation(list(self.values)):
                known = self.values[int(coordinate)]
                candidates = np.resize(known, self.most).astype(at.dtype)
                counts, lps = (np.asarray(a) for a in self.program(at, np.int32(coordinate), candidates, self.data))
                noise = self.rng.random((len(at), len(known)))
                best = np.argmin(counts[:, : len(known)] + np.where(noise < ASTRAY, -np.inf, TIES * noise), 1)
                at[:, coordinate] = np.where(finite, at[:, coordinate], candidates[best])
                finite |= np.isfinite(lps[np.arange(len(at)), best])
            if finite.all():
                break
        return at

    def conflicts(self, positions: np.ndarray, chains: np.ndarray) -> tuple[int, list[str]]:
        """Discrete values of which a change would bring a term nearer to what it allows, and another away from it: the
        first of these chains at whose position there are any, and their names.
        """

        def terms(y: jax.Array, at: jax.Array, candidates: jax.Array, data: Any) -> jax.Array:
            return jax.vmap(lambda value: unmet(self.target.value, y.at[at].set(value), data))(candidates)

        if not self.values:
            return int(chains[0]), []
        example = (positions[0], np.int32(0), np.zeros(self.most, positions.dtype), self.data)
        program = compile_program(terms, *example)[0]
        for chain in chains[:MOST_CHAINS]:
            y, found = positions[chain], []
            for coordinate, known in self.values.items():
                candidates = np.resize(known, self.most).astype(y.dtype)
                before, after = (
                    np.asarray(program(y, np.int32(coordinate), values, self.data))
                    for values in (np.full_like(candidates, y[coordinate]), candidates)
                )
                if ((after < before).any(1) & (after > before).any(1)).any():
                    found.append(self._named(coordinate))
            if found:
                return int(chain), found
        return int(chains[0]), []

    def _named(self, coordinate: int) -> str:
        leaf = next(leaf for leaf in self.target.leaves if leaf.start <= coordinate < leaf.stop)
        index = np.unravel_index(coordinate - leaf.start, leaf.support.shape) if leaf.support.shape else ()
        return leaf.name + "".join(f"[{i}]" for i in index)


def _values(target: Target) -> dict[int, np.ndarray]:
    """The values that each discrete coordinate may have, evenly spaced ones where there are many."""
    found = {}
    for leaf in target.leaves:
        if leaf.support.name == "boolean":
            ends = np.zeros(leaf.stop - leaf.start), np.ones(leaf.stop - leaf.start)
        elif leaf.support.name == "integer" and not leaf.depends and None not in (leaf.support.a, leaf.support.b):
            ends = [np.broadcast_to(e, leaf.support.shape).ravel() for e in (leaf.support.a, leaf.support.b)]
        else:
            continue
        for i, (low, high) in enumerate(zip(*ends, strict=True)):
            found[leaf.start + i] = np.unique(np.round(np.linspace(low, high, int(min(high - low + 1, MOST_VALUES)))))
    return found
