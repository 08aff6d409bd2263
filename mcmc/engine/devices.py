"""How chains lie in blocks of lanes, and blocks on devices.

Every device runs the same one-device program on its own blocks: a program over several devices is compiled by other
rules, and rounds differently. A CPU device stands in the list once for each core: calls from several threads run at
the same time on it.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mcmc.engine.loop import Rows, Statistic
from mcmc.engine.processes import Processes
from mcmc.errors import WrongType, WrongValue

GRADIENT_LANES, LANES, FEW = 16, 64, 16
ROW_BYTES = 16_000_000
MAX_ROWS = 4096
TRAIL_ROWS, LONG_TRAIL, MANY_NUMBERS = 512, 1536, 400
ALONE = Processes()


@dataclass(frozen=True)
class Layout:
    """`chains` in `blocks` of `lanes` on each of `devices`; `rows` draws and `trail` positions a call and chain.

    With several processes each has as many devices, and the chains that follow those of the process before it.
    """

    chains: int
    lanes: int
    blocks: int
    rows: int
    trail: int
    ensemble: bool
    devices: tuple[Any, ...]
    processes: Processes = ALONE

    @property
    def share(self) -> int:
        """Lanes of a process."""
        return len(self.devices) * self.blocks * self.lanes

    @property
    def begin(self) -> int:
        """The first chain of this process."""
        return min(self.processes.index * self.share, self.chains)

    @property
    def own(self) -> int:
        """How many chains this process has."""
        return min(self.share, self.chains - self.begin)

    def split(self, x: np.ndarray) -> list[np.ndarray]:
        """(chain, ...) to (block, lane, ...) for each device here; the lanes left over repeat the first chain."""
        spare = self.processes.count * self.share - x.shape[0]
        x = np.concatenate([x, np.repeat(x[:1], spare, 0)]) if spare else np.asarray(x)
        shape = (self.processes.count, len(self.devices), self.blocks, self.lanes)
        return list(x.reshape(*shape, *x.shape[1:])[self.processes.index])

    def join(self, parts: list[Any]) -> np.ndarray:
        """(block, lane, ...) of each device back to (chain, ...), of all processes."""
        arrays = [np.asarray(x).reshape(-1, *x.shape[2:]) for x in parts]
        return self._all(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))

    def local(self, parts: list[Any]) -> np.ndarray:
        """(block, lane, ...) of each device back to (chain, ...), of this process alone."""
        arrays = [np.asarray(x).reshape(-1, *x.shape[2:]) for x in parts]
        return (arrays[0] if len(arrays) == 1 else np.concatenate(arrays))[: self.own]

    def mine(self, x: np.ndarray) -> np.ndarray:
        """Of (chain, ...) the chains of this process."""
        return x[self.begin : self.begin + self.own]

    def together(self, x: np.ndarray) -> np.ndarray:
        """What each process has of its own chains, (chain, ...), for all chains."""
        if self.processes.count == 1:
            return x
        return self._all(np.concatenate([x, np.zeros((self.share - self.own, *x.shape[1:]), x.dtype)]))

    def _all(self, x: np.ndarray) -> np.ndarray:
        return self.processes.gather(x).reshape(-1, *x.shape[1:])[: self.chains]

    def empty_rows(self, width: int, seen: int, dtype: Any, statistics: tuple[Statistic, ...]) -> Rows:
        """Room for the draws of one call on one device."""
        shape = (self.blocks, self.lanes, self.rows)
        stats = tuple(np.zeros(shape, s.dtype) for s in statistics)
        return Rows(np.zeros((*shape, width), dtype), stats, np.zeros((*shape[:2], self.trail, seen), dtype))


def devices_of(mesh: Any) -> tuple[Any, ...]:
    """The devices that this process has of a user's mesh, in order; without, all of the default backend, of a CPU one.

    A CPU device is enough for all cores.
    """
    if mesh is None:
        chosen = jax.config.jax_default_device
        if chosen is not None and not isinstance(chosen, str):
            return (chosen,)
        found = jax.local_devices(backend=chosen)
        return tuple(found[:1] if found[0].platform == "cpu" else found)
    if not isinstance(mesh, Mesh):
        remedy = 'Use jax.make_mesh((n,), ("chains",)).'
        raise WrongType("mesh", mesh, "a jax.sharding.Mesh", remedy)
    mine = [d for d in np.asarray(mesh.devices).reshape(-1) if d.process_index == jax.process_index()]
    if not mine:
        remedy = "Make it of the devices of all processes: jax.devices()."
        raise WrongValue("mesh", mesh, "a mesh with devices of every process", remedy)
    return tuple(mine)


def layout_of(
    chains: int, lanes: int | None, numbers: int, itemsize: int, kernel: Any, tuned: bool, devices: tuple
) -> Layout:
    """The layout of these chains, of `numbers` recorded numbers a draw.

    On a CPU a block has up to 64 lanes, or 16 of a kernel that uses gradients (what many steps in a row touch stays
    small then); on an accelerator all chains of a device. The number of CPU devices, and of cores, does not enter, so
    that it can't change the draws.
    """
    processes = Processes.here()
    ensemble, on_cpu = bool(getattr(kernel, "ensemble", False)), devices[0].platform == "cpu"
    if ensemble:
        lanes, devices = chains, devices[:1]
    elif lanes is None and on_cpu and getattr(kernel, "runs_freely", False) and chains <= FEW:
        lanes = 1  # trees of one chain at a time: no lane waits, and without vmap a step costs less
    elif lanes is None:
        most = GRADIENT_LANES if getattr(kernel, "needs_gradient", False) else LANES
        padded = 8 * math.ceil(chains / 8)
        lanes = min(padded, most) if on_cpu else 8 * math.ceil(chains / len(devices) / processes.count / 8)
    if on_cpu and len(devices) == 1:
        cores = int(processes.gather(_cores()).min())
        devices *= min(cores, math.ceil(chains / lanes / processes.count))
    _check_equal(processes, len(devices))
    blocks = math.ceil(chains / lanes / len(devices) / processes.count)
    rows = ROW_BYTES // max(1, blocks * lanes * numbers * itemsize)
    rows = 2 ** int(math.log2(min(max(rows, 8), MAX_ROWS)))
    trail = math.ceil((TRAIL_ROWS if numbers < MANY_NUMBERS else LONG_TRAIL) / chains) if tuned else 0
    return Layout(chains, lanes, blocks, rows, trail, ensemble, devices, processes)


def _check_equal(processes: Processes, devices: int) -> None:
    """Raise ValueError unless all processes have as many devices."""
    found = processes.gather(devices)
    if (found != devices).any():
        remedy = "Give each as many, such as one process a device."
        raise WrongValue("mesh", f"{found.tolist()} devices", "the same number in every process", remedy)


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
