"""How chains lie in blocks of lanes, and blocks on devices.

Every device runs the same one-device program on its own blocks: a program over several devices is compiled by other
rules, and rounds differently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mcmc.engine.loop import Rows, Statistic
from mcmc.errors import got

LANES = 128
ROW_BYTES = 16_000_000
MAX_ROWS = 4096
TRAIL, TRAIL_NUMBERS = 8, 2**24


@dataclass(frozen=True)
class Layout:
    """`chains` in `blocks` of `lanes` on each of `devices`; `rows` draws and `trail` positions a call and chain."""

    chains: int
    lanes: int
    blocks: int
    rows: int
    trail: int
    ensemble: bool
    devices: tuple[Any, ...]

    def split(self, x: np.ndarray) -> list[np.ndarray]:
        """(chain, ...) to (block, lane, ...) for each device; the lanes left over repeat the first chain."""
        spare = len(self.devices) * self.blocks * self.lanes - x.shape[0]
        x = np.concatenate([x, np.repeat(x[:1], spare, 0)]) if spare else np.asarray(x)
        return list(x.reshape(len(self.devices), self.blocks, self.lanes, *x.shape[1:]))

    def join(self, parts: list[Any]) -> np.ndarray:
        """(block, lane, ...) of each device back to (chain, ...)."""
        arrays = [np.asarray(x).reshape(-1, *x.shape[2:]) for x in parts]
        return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays))[: self.chains]

    def empty_rows(self, width: int, dim: int, dtype: Any, statistics: tuple[Statistic, ...]) -> Rows:
        """Room for the draws of one call on one device."""
        shape = (self.blocks, self.lanes, self.rows)
        stats = tuple(np.zeros(shape, s.dtype) for s in statistics)
        return Rows(np.zeros((*shape, width), dtype), stats, np.zeros((*shape[:2], self.trail, dim), dtype))


def devices_of(mesh: Any) -> tuple[Any, ...]:
    """The devices of a user's mesh, in order; the default one without."""
    if mesh is None:
        chosen = jax.config.jax_default_device
        return (jax.local_devices(backend=chosen)[0] if isinstance(chosen, str) else chosen or jax.local_devices()[0],)
    if not isinstance(mesh, Mesh):
        remedy = 'Use jax.make_mesh((n,), ("chains",)).'
        raise TypeError(got("mesh", mesh, "a jax.sharding.Mesh", remedy))
    return tuple(np.asarray(mesh.devices).reshape(-1))


def layout_of(
    chains: int, lanes: int | None, numbers: int, itemsize: int, dim: int, ensemble: bool, tuned: bool, devices: tuple
) -> Layout:
    """The layout of these chains, of `numbers` recorded numbers a draw.

    On a CPU a block has up to 128 lanes, on an accelerator all chains of a device; the number of CPU devices
    does not enter, so that it can't change the draws.
    """
    if ensemble:
        lanes, devices = chains, devices[:1]
    elif lanes is None:
        padded = 8 * math.ceil(chains / 8)
        on_cpu = devices[0].platform == "cpu"
        lanes = min(padded, LANES) if on_cpu else 8 * math.ceil(chains / len(devices) / 8)
    blocks = math.ceil(chains / lanes / len(devices))
    rows = ROW_BYTES // max(1, blocks * lanes * numbers * itemsize)
    rows = 2 ** int(math.log2(min(max(rows, 8), MAX_ROWS)))
    trail = max(1, min(TRAIL, TRAIL_NUMBERS // (chains * dim))) if tuned else 0
    return Layout(chains, lanes, blocks, rows, trail, ensemble, devices)
