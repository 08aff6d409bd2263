"""Log densities and gradients at any number of positions, by a small program of their own."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.engine.compilation import compile_programs
from mcmc.engine.devices import Layout
from mcmc.engine.dispatch import run_programs
from mcmc.engine.plan import Plan
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.progress_state import Timings

ROWS = 128


class ValueAndGrad:
    """A target's log densities and their gradients at positions, about 128 of them a call of the program.

    The target's arrays lie on the devices already, once for each; as many positions are evaluated together as a run's
    layout has lanes.
    """

    def __init__(self, plan: Plan, layout: Layout, arrays: list, timings: Timings):
        self.plan, self.arrays, self.timings = plan, arrays, timings
        self.devices, self.lanes, self.dtype = layout.devices, layout.lanes, plan.dtype
        self.pace = 0.0

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log densities (n,) and gradients (n, dim) at positions (n, dim), in float64."""
        most = len(self.devices) * self._share
        parts = [self._some(positions[i : i + most]) for i in range(0, len(positions), most)]
        lps, gradients = (np.concatenate(part) for part in zip(*parts, strict=True))
        return lps.astype(float), gradients.astype(float)

    @property
    def _share(self) -> int:
        """Positions a device and call, at most."""
        return self.lanes * math.ceil(ROWS / self.lanes / len(self.devices))

    def _some(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n, (many, dim) = self.lanes, positions.shape
        blocks = math.ceil(many / n / len(self.devices))
        used = math.ceil(many / n / blocks)
        rows = np.concatenate([positions, np.repeat(positions[:1], used * blocks * n - many, 0)])
        rows = rows.astype(self.dtype).reshape(used, blocks, n, dim)
        room = np.zeros((used, self._share // n - blocks, n, dim), self.dtype)
        rows = np.concatenate([rows, room], 1)
        args = [(arrays, each, np.int32(blocks)) for arrays, each in zip(self.arrays, rows, strict=False)]
        work = list(zip(self._compiled(args[0][1:]), args, strict=False))
        began = time.perf_counter()
        host = self.plan.target.host
        done = run_programs(work, self.pace * blocks, self.dtype, host.finished if host else None)
        self.pace = (time.perf_counter() - began) / blocks
        lps = np.concatenate([np.asarray(lp)[:blocks].reshape(-1) for lp, _ in done])
        gradients = np.concatenate([np.asarray(gradient)[:blocks].reshape(-1, dim) for _, gradient in done])
        return lps[:many], gradients[:many]

    def _compiled(self, rest: tuple) -> list:
        """The program on each device."""
        traced = self.plan.traced

        def made() -> list:
            places = list(dict.fromkeys(self.devices))
            args = [(self.arrays[self.devices.index(place)], *rest) for place in places]
            compiled, seconds = compile_programs(partial(_evaluate, traced.log_density), args)
            self.timings.compile_time += seconds
            return [compiled[places.index(device)] for device in self.devices]

        shapes = tuple(str(jax.typeof(x)) for x in jax.tree.leaves((self.arrays[0], rest)))
        key = ("value_and_grad", traced.fingerprint, self.devices, shapes, options())
        return cache_of(self.plan.target, traced.fingerprint).get(key, made)


def _evaluate(log_density: Any, arrays: tuple, positions: jax.Array, blocks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the first `blocks` of positions (block, lane, dim)."""
    value_and_grad = jax.vmap(jax.value_and_grad(partial(log_density, arrays)))

    def block(b: jax.Array, made: tuple) -> tuple:
        return jax.tree.map(lambda whole, part: whole.at[b].set(part), made, value_and_grad(positions[b]))

    return lax.fori_loop(0, blocks, block, (jnp.zeros(positions.shape[:2], positions.dtype), positions))
