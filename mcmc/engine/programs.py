"""The compiled programs of a run, one a device, and what lies on the devices for them."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from mcmc.engine.compilation import compile_programs
from mcmc.engine.devices import Layout
from mcmc.engine.dispatch import everywhere, run_programs
from mcmc.engine.executables import Entry, entry_of
from mcmc.engine.kernel_form import KernelForm
from mcmc.engine.loop import Chains, Shapes, Span, build
from mcmc.engine.plan import Plan
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.progress_state import Timings

MODULES = "mcmc.engine.loop", "mcmc.warmup.geometry.triangular_map"  # what traces the program


class Programs:
    """One program, compiled for each device of a layout; chains placed on the devices, and advanced there.

    `rows` are what the last call wrote: they are given to the next call, which writes over them. `pace` is how many
    seconds an iteration took in the last call.
    """

    def __init__(self, plan: Plan, form: KernelForm, shapes: Shapes, layout: Layout, timings: Timings):
        self.plan, self.form, self.shapes, self.layout, self.timings = plan, form, shapes, layout, timings
        self.pace = 0.0
        self.rows: list = []
        self._compiled: list = []
        self._placed: list = []  # on each device: the run's key, the chains' numbers, the target's arrays

    @property
    def seen(self) -> int:
        """Numbers of a position, or of a position and its gradient."""
        return self.plan.target.dim * (2 if hasattr(self.shapes.state, "gradient") else 1)

    @property
    def arrays(self) -> list:
        """The target's arrays, on each device."""
        self._place()
        return [arrays for _, _, arrays in self._placed]

    def call(self, leaves: list, chains: list[Chains], span: Span) -> list[Chains]:
        """Run the program on every device with these arrays of the kernel."""
        self._place()
        rows, self.rows = self.rows, []
        args = [
            (key, leaves, each, row, ids, span, arrays)
            for (key, ids, arrays), each, row in zip(self._placed, chains, rows, strict=True)
        ]
        if not self._compiled:
            self._compiled = self._compile(args)
        began, n = time.perf_counter(), int(span.stop - span.start)
        work = list(zip(self._compiled, args, strict=True))
        host = self.plan.target.host
        with everywhere(self.plan.dtype, self.plan.traced.calls_back):
            done = run_programs(work, n * self.pace, self.plan.dtype, host.finished if host else None)
        self.pace = (time.perf_counter() - began) / max(n, 1)
        self.rows = [rows for _, rows in done]
        return [chains for chains, _ in done]

    def blank(self, positions: np.ndarray) -> list[Chains]:
        """Chains whose positions (chain, dim) are known and whose states are still to be made."""
        lead = (self.layout.chains,)
        own = 1 if self.layout.ensemble else 0
        state = jax.tree.map(lambda x: np.zeros((*lead, *x.shape[own:]), x.dtype), self.shapes.state)
        return self.place(state._replace(position=positions.astype(self.plan.dtype)))

    def place(self, state: Any, nonfinite: Any = None, diverging: Any = None) -> list[Chains]:
        """Chains of these kernel states (chain, ...), on their devices."""
        zero = np.zeros(self.layout.chains, np.int32)
        counts = (zero if nonfinite is None else nonfinite, zero if diverging is None else diverging)
        whole = Chains(state, np.zeros((self.layout.chains, *self.shapes.rates), self.plan.dtype), *counts)
        leaves, structure = jax.tree.flatten(whole)
        parts = zip(*(self.layout.split(leaf) for leaf in leaves), strict=True)
        devices = zip(parts, self.layout.devices, strict=True)
        return [jax.device_put(jax.tree.unflatten(structure, part), device) for part, device in devices]

    def _place(self) -> None:
        layout, plan = self.layout, self.plan
        if not self.rows:  # not yet made, or given to a call that was interrupted
            empty = layout.empty_rows(plan.traced.width, self.seen, plan.dtype, self.shapes.statistics)
            self.rows = [jax.device_put(empty, device) for device in layout.devices]
        if self._placed:
            return
        ids = np.arange(layout.share, dtype=np.uint32) + np.uint32(layout.processes.index * layout.share)
        ids = ids.reshape(-1, layout.blocks, layout.lanes)
        for device, part in zip(layout.devices, ids, strict=True):
            self._placed.append(jax.device_put((np.asarray(plan.key), part, plan.traced.arrays), device))

    def _compile(self, args: list[tuple]) -> list:
        """The program on each device; in the process there is one for all runs that need the same."""
        plan, layout, statistics = self.plan, self.layout, self.shapes.statistics

        def made() -> list:
            function = build(layout.ensemble, statistics, plan.traced, self.form.rebuild)
            places = list(dict.fromkeys(layout.devices))
            first = [args[layout.devices.index(place)] for place in places]
            place = self._place_of(first[0]) if len(places) == 1 else None
            compiled, seconds = compile_programs(function, first, donate=(3,), place=place)
            self.timings.compile_time += seconds
            return [compiled[places.index(device)] for device in layout.devices]

        if self.form.fixed:
            return made()
        parts = plan.traced.fingerprint, self.form.fingerprint
        shapes = tuple(str(jax.typeof(x)) for x in jax.tree.leaves(args[0]))
        return cache_of(plan.target, *parts).get(("run", parts, statistics, layout, shapes, options()), made)

    def _place_of(self, args: tuple) -> Entry | None:
        """Where the program is kept on disk."""
        layout, host = self.layout, self.plan.target.host
        if self.form.fixed or host:
            return None
        numbers = layout.chains, layout.lanes, layout.blocks, layout.rows, layout.trail, layout.ensemble
        static = "advance", numbers, self.shapes.statistics
        gives = jax.tree.structure((args[2], args[3]))
        return entry_of((self.plan.traced.fingerprint, self.form.fingerprint), static, args, gives, MODULES)
