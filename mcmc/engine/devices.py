"""Which devices chains run on, and how many lanes a block has."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mcmc.engine.loop import Layout
from mcmc.errors import got

LANES = 128
ROW_BYTES = 16_000_000


def own_mesh(mesh: Any) -> Mesh | None:
    """The engine's one-axis mesh over a user's devices; None on one device."""
    if mesh is None:
        return None
    if not isinstance(mesh, Mesh):
        remedy = 'Use jax.make_mesh((n,), ("chains",)).'
        raise TypeError(got("mesh", mesh, "a jax.sharding.Mesh", remedy))
    devices = np.asarray(mesh.devices).reshape(-1)
    return Mesh(devices, ("chains",))


def layout_of(chains: int, lanes: int | None, width: int, itemsize: int, ensemble: bool, mesh: Mesh | None) -> Layout:
    """Blocks of lanes for these chains.

    On a CPU a block has up to 128 lanes, on an accelerator all chains of a device; the number of CPU devices
    does not enter, so that it can't change the draws.
    """
    devices = 1 if mesh is None or ensemble else mesh.devices.size
    if ensemble:
        lanes, mesh = chains, None
    elif lanes is None:
        padded = 8 * math.ceil(chains / 8)
        platform = mesh.devices.flat[0].platform if mesh is not None else jax.default_backend()
        lanes = min(padded, LANES) if platform == "cpu" else 8 * math.ceil(chains / devices / 8)
    blocks = devices * math.ceil(chains / lanes / devices)
    rows = ROW_BYTES // max(1, blocks * lanes * width * itemsize)
    rows = 2 ** int(math.log2(min(max(rows, 8), 4096)))
    return Layout(chains, lanes, blocks, rows, ensemble, mesh if devices > 1 else None)
