"""Log densities and gradients at any number of positions, by a small program of their own."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.engine.compilation import compile_programs
from mcmc.engine.dispatch import run_programs
from mcmc.target.target import Traced

ROWS = 128


@dataclass
class Slopes:
    """A target's log densities and their gradients at positions, about 128 of them a call of the program.

    The target's arrays lie on the devices already, once for each; `lanes` positions are evaluated together, as in a
    run. `programs` keeps what was compiled.
    """

    traced: Traced
    devices: tuple
    arrays: list
    lanes: int
    dtype: Any
    programs: dict
    compile_time: float = 0.0
    pace: float = 0.0

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
        done = run_programs(work, self.pace * blocks, self.dtype, None)
        self.pace = (time.perf_counter() - began) / blocks
        lps = np.concatenate([np.asarray(lp)[:blocks].reshape(-1) for lp, _ in done])
        gradients = np.concatenate([np.asarray(gradient)[:blocks].reshape(-1, dim) for _, gradient in done])
        return lps[:many], gradients[:many]

    def _compiled(self, rest: tuple) -> list:
        """The program on each device."""
        signature = ("slopes", self.traced.fingerprint, self.devices, *map(jax.typeof, jax.tree.leaves(rest)))
        if signature not in self.programs:
            places = list(dict.fromkeys(self.devices))
            args = [(self.arrays[self.devices.index(place)], *rest) for place in places]
            compiled, self.compile_time = compile_programs(partial(_evaluate, self.traced.log_density), args)
            self.programs[signature] = [compiled[places.index(device)] for device in self.devices]
        return self.programs[signature]


def _evaluate(log_density: Any, arrays: tuple, positions: jax.Array, blocks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the first `blocks` of positions (block, lane, dim)."""
    slope = jax.vmap(jax.value_and_grad(partial(log_density, arrays)))

    def block(b: jax.Array, made: tuple) -> tuple:
        return jax.tree.map(lambda whole, part: whole.at[b].set(part), made, slope(positions[b]))

    return lax.fori_loop(0, blocks, block, (jnp.zeros(positions.shape[:2], positions.dtype), positions))
