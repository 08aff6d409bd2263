"""The host's side of a run: compile once, then chunk after chunk until the draws are there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from mcmc.diagnostics.streaming import Moments
from mcmc.engine.compilation import compile_program
from mcmc.engine.loop import Chains, Layout, Span, Statistic, build, recorded_statistics
from mcmc.engine.progress import Reporter, Update
from mcmc.engine.recorder import Recorder
from mcmc.errors import Result, SamplingError
from mcmc.target import Target, Traced

FIRST_CHUNK, CHUNK_SECONDS = 16, 0.2


@dataclass
class Progress:
    """Where a run stands, and all that is needed to go on bit for bit."""

    leaves: list
    tuning: Any
    chains: Chains
    iteration: int = 0


@dataclass
class Timings:
    """Seconds spent compiling, in warmup and in sampling."""

    compile_time: float = 0.0
    warmup_time: float = 0.0
    sampling_time: float = 0.0


@dataclass
class Run:
    """One run: its target, its kernel, its layout, and the one program that advances it."""

    target: Target
    traced: Traced
    kernel: Any
    tuner: Any
    layout: Layout
    key: np.ndarray
    dtype: Any
    warmup: int
    thin: int
    chunk: int | None = None
    timings: Timings = field(default_factory=Timings)

    def __post_init__(self) -> None:
        self.start_tuning: Any = ()
        if self.tuner:
            self.start_tuning, self.kernel = self.tuner.init(self.kernel)
        leaves, self.structure = jax.tree.flatten(self.kernel)
        self.fixed = {i: leaf for i, leaf in enumerate(leaves) if not hasattr(leaf, "dtype")}
        self.statistics = recorded_statistics(self.kernel, self._density, self.target.dim, self.dtype)
        self.start_leaves = [leaf for i, leaf in enumerate(leaves) if i not in self.fixed]
        self._program: Any = None
        self._rows: Any = None  # given to the program, which writes them in place and gives them back

    def recorder(self, draws: int) -> Recorder:
        """Room on the host for so many draws a chain."""
        return Recorder(self.traced.columns, self.statistics, self.layout.chains, draws)

    def rebuild(self, leaves: list) -> Any:
        """The kernel of these array leaves."""
        rest = iter(leaves)
        n = len(leaves) + len(self.fixed)
        return jax.tree.unflatten(self.structure, [self.fixed[i] if i in self.fixed else next(rest) for i in range(n)])

    def begin(self, positions: np.ndarray) -> tuple[Progress, np.ndarray, np.ndarray]:
        """Chains at these positions (chain, dim), their log densities, and whether these and gradients are finite."""
        state = self._blank(positions)
        progress = self._call(
            Progress(self.start_leaves, self.start_tuning, state), Span(*_span(True, 0, 0, self.warmup, self.thin))
        )
        made = jax.tree.map(self.layout.unpad, progress.chains.state)
        finite = np.isfinite(made.lp)
        if hasattr(made, "gradient"):
            finite &= np.isfinite(made.gradient).all(1)
        return progress, made.lp, finite

    def advance(self, progress: Progress, iterations: int, reporter: Reporter, recorder: Recorder | None) -> Progress:
        """`iterations` more of one phase; rows go to the recorder. Ctrl-C leaves what is complete in `progress`."""
        sampling = progress.iteration >= self.warmup
        phase, base = ("sampling", self.warmup) if sampling else ("warmup", 0)
        stop, began = progress.iteration + iterations, time.perf_counter()
        first, size, moments = progress.iteration, FIRST_CHUNK * self.thin, None
        events = self.tuner.events(self.warmup) if self.tuner and not sampling else []
        try:
            while progress.iteration < stop:
                n = min(self.chunk or size, self.layout.rows * self.thin, stop - progress.iteration)
                n = max(self.thin, n - n % self.thin)
                n = min(n, next((e for e in events if e > progress.iteration), stop) - progress.iteration)
                start = time.perf_counter()
                span = _span(False, progress.iteration, progress.iteration + n, self.warmup, self.thin)
                new = self._call(progress, Span(*span))
                host = None if recorder is None else [np.asarray(r)[:, :, : n // self.thin] for r in self._rows]
                self._check(new, reporter)
                if new.iteration in events:
                    self._adjust(new)
                if recorder is not None and host is not None:
                    recorder.write(host[0], tuple(host[1:]))
                progress.__dict__.update(new.__dict__)
                seconds = time.perf_counter() - start
                size = self.thin * int(np.clip(n * CHUNK_SECONDS / seconds, 1, 8 * n) // self.thin or 1)
                moments = self._report(reporter, phase, base, first, began, progress, stop, host, moments)
                host = None  # a view of the rows: let go, or they can't be given to the program again
        finally:
            spent = time.perf_counter() - began
            if sampling:
                self.timings.sampling_time += spent
            else:
                self.timings.warmup_time += spent
        return progress

    # --- the program ---------------------------------------------------------------------------------------

    def _call(self, progress: Progress, span: Span) -> Progress:
        rows, self._rows = self._rows, None
        if rows is None:
            empty = self.layout.empty_rows(self.traced.width, self.dtype, self.statistics)
            rows = jax.tree.map(self._split, empty)
        args = (self.key, progress.leaves, progress.tuning, progress.chains, rows, self._ids, span, self._arrays)
        if self._program is None:
            self._program = self._compile(args)
        leaves, tuning, chains, self._rows = self._program(*args)
        return Progress(leaves, tuning, chains, int(span.stop))

    def _compile(self, args: tuple) -> Any:
        shapes = [str(jax.typeof(x)) for x in jax.tree.leaves(args)]
        described = (self.traced.fingerprint, self.structure, self.statistics, self.layout, type(self.tuner))
        cached = self.target._programs
        signature = (described, repr(self.tuner), *shapes, jax.config.jax_enable_x64, str(jax.devices()))
        if not self.fixed and signature in cached:
            return cached[signature]
        function = build(self.layout, self.statistics, self.traced, self.tuner, self.rebuild)
        program, seconds = compile_program(function, *args, donate=(4,))
        self.timings.compile_time += seconds
        if not self.fixed:
            cached[signature] = program
        return program

    def _density(self, position: jax.Array) -> jax.Array:
        return self.traced.log_density(self.traced.arrays, position)

    def _blank(self, positions: np.ndarray) -> Chains:
        """Chains whose positions are known and whose states are still to be made."""
        at = self.layout.pad(positions.astype(self.dtype))
        if self.layout.ensemble:
            made = jax.eval_shape(lambda y: self.kernel.init(y, jax.vmap(self._density)), at[0])
            full = jax.tree.map(lambda x: np.zeros((1, *x.shape), x.dtype), made)
        else:
            made = jax.eval_shape(lambda y: self.kernel.init(y, self._density), at[0, 0])
            full = jax.tree.map(lambda x: np.zeros((*at.shape[:2], *x.shape), x.dtype), made)
        return self.place(full._replace(position=at))

    def place(self, state: Any, nonfinite: Any = None, diverging: Any = None) -> Chains:
        """Chains of these kernel states (block, lane, ...), on their devices."""
        shape = (self.layout.blocks, self.layout.lanes)
        zero = np.zeros(shape, np.int32)
        counts = (zero if nonfinite is None else nonfinite, zero if diverging is None else diverging)
        return jax.tree.map(self._split, Chains(state, np.zeros(shape, self.dtype), *counts))

    @property
    def _ids(self) -> jax.Array:
        if not hasattr(self, "_made_ids"):
            n = self.layout.blocks * self.layout.lanes
            ids = np.arange(n, dtype=np.uint32).reshape(self.layout.blocks, self.layout.lanes)
            self._made_ids = self._split(ids)
        return self._made_ids

    @property
    def _arrays(self) -> tuple:
        if not hasattr(self, "_placed_arrays"):
            mesh = self.layout.mesh
            if mesh is None:
                self._placed_arrays = self.traced.arrays
            else:
                everywhere = NamedSharding(mesh, PartitionSpec())
                self._placed_arrays = jax.device_put(self.traced.arrays, everywhere)
                self.key = jax.device_put(np.asarray(self.key), everywhere)
                self.start_leaves = jax.device_put(self.start_leaves, everywhere)
        return self._placed_arrays

    def _split(self, x: np.ndarray) -> jax.Array:
        mesh = self.layout.mesh
        return jax.device_put(x, None if mesh is None else NamedSharding(mesh, PartitionSpec("chains")))

    def _adjust(self, progress: Progress) -> None:
        """What warmup does on the host: a new metric, a settled step size."""
        kernel = self.rebuild(progress.leaves)
        progress.tuning, kernel = self.tuner.adjust(progress.tuning, kernel, progress.iteration, self.warmup)
        leaves = jax.tree.leaves(kernel)
        progress.leaves = [leaf for i, leaf in enumerate(leaves) if i not in self.fixed]

    # --- between chunks ------------------------------------------------------------------------------------

    def _check(self, progress: Progress, reporter: Reporter) -> None:
        """Raise SamplingError for a chain whose log density is not finite any more."""
        lp = self.layout.unpad(progress.chains.state.lp)
        if np.isfinite(lp).all():
            return
        chain = int(np.flatnonzero(~np.isfinite(lp))[0])
        code = Result.INFINITE if np.isposinf(lp[chain]) else Result.LOST
        at = self.target.describe(self.layout.unpad(progress.chains.state.position)[chain])
        where = ", ".join(f"{name} = {np.array2string(value, precision=6)}" for name, value in at.items())
        reporter.close()
        raise SamplingError(
            f"log_density: chain {chain} reached {lp[chain]} at {where} before iteration {progress.iteration}; "
            f"expected a finite log density. {code.remedy}",
            chain=chain,
            position=at,
        )

    def _report(
        self,
        reporter: Reporter,
        phase: Any,
        base: int,
        first: int,
        began: float,
        progress: Progress,
        stop: int,
        host: list[np.ndarray] | None,
        moments: Moments | None,
    ) -> Moments | None:
        if type(reporter) is Reporter:
            return moments
        if host is not None:
            moments = moments or Moments()
            moments.update(host[0].reshape(-1, *host[0].shape[2:])[: self.layout.chains])
        rhat = ess = None
        if moments is not None and reporter.wants_statistics(last=progress.iteration == stop):
            start = time.perf_counter()
            rhat, ess = _worst(moments)
            reporter.statistics_took(time.perf_counter() - start)
        rate = float(np.mean(self.layout.unpad(progress.chains.rate)))
        done = progress.iteration - base
        elapsed = (time.perf_counter() - began) * done / max(progress.iteration - first, 1)
        diverging = int(self.layout.unpad(progress.chains.diverging).sum()) if phase == "sampling" else 0
        reporter.update(
            Update(phase, done, stop - base, self.layout.chains, elapsed, rate, diverging, rhat=rhat, ess=ess)
        )
        return moments


def _span(fresh: bool, start: int, stop: int, warmup: int, thin: int) -> tuple:
    return np.bool_(fresh), np.int32(start), np.int32(stop), np.int32(warmup), np.int32(thin)


def _worst(moments: Moments) -> tuple[float | None, float | None]:
    with np.errstate(all="ignore"):
        rhat, ess = moments.rhat(), moments.ess()
    rhat, ess = rhat[np.isfinite(rhat)], ess[np.isfinite(ess)]
    return (float(rhat.max()) if rhat.size else None), (float(ess.min()) if ess.size else None)


__all__ = ["Progress", "Run", "Statistic", "Timings"]
