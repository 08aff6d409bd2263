"""The host's side of a run: compile once, then chunk after chunk until the draws are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.engine.compilation import compile_programs
from mcmc.engine.devices import Layout
from mcmc.engine.dispatch import run_programs
from mcmc.engine.labels import labels_of
from mcmc.engine.loop import Chains, Span, build, shapes_of
from mcmc.engine.progress import Reporter, Update
from mcmc.engine.progress_state import Progress, Timings
from mcmc.errors import Result, SamplingError
from mcmc.storage.recorder import Kept, Recorder
from mcmc.target.target import Target, Traced
from mcmc.warmup.lost_chains import lost_chains, reseeded
from mcmc.warmup.pathfinder import pathfinder, reach
from mcmc.warmup.value_and_grad import Slopes

FIRST_CHUNK, CHUNK_SECONDS = 16, 0.2
MOMENTS_NUMBERS = 2**12
EARLY = 0.1
EVERYTHING = Kept()


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
    groups: Any = None
    starts: Any = None
    may_improve: bool = False
    reseed: bool = False
    init: str = "none"
    stopped: str = ""
    kept: Kept = EVERYTHING
    looked_at: Callable[[Progress], None] = lambda _: None
    timings: Timings = field(default_factory=Timings)

    def __post_init__(self) -> None:
        self.start_tuning: Any = ()
        if self.tuner:
            self.start_tuning, self.kernel = self.tuner.init(self.kernel)
        leaves, self.structure = jax.tree.flatten(self.kernel)
        self.fixed = {i: leaf for i, leaf in enumerate(leaves) if not hasattr(leaf, "dtype")}
        self.start_leaves = self._leaves_of(self.kernel)
        self.state_shape, self.statistics, self.rates = self._shapes()
        self.seen = self.target.dim * (2 if hasattr(self.state_shape, "gradient") else 1)
        names = [statistic.name for statistic in self.statistics]
        self._counts_steps = names.index("n_steps") if "n_steps" in names else None
        self._steps: int | None = None  # gradient evaluations since the call began, where they are told
        self._pace = 0.0  # seconds that an iteration took in the last call
        self._programs: list = []
        self._placed: list = []  # on each device: the run's key, the chains' numbers, the target's arrays
        self._rows: list = []  # given to the programs, which write them in place and give them back

    def _shapes(self) -> tuple:
        """What `shapes_of` says, kept with the target's programs: tracing a kernel takes longer than a short run."""
        leaves = [str(jax.typeof(leaf)) for leaf in self.start_leaves]
        signature = ("shapes", self.traced.fingerprint, self.structure, *leaves, str(self.dtype))
        found = self.target._programs.get(signature) if not self.fixed else None
        if found is None:
            found = shapes_of(self.kernel, self.log_density, self.target.dim, self.dtype)
            if not self.fixed:
                self.target._programs[signature] = found
        return found

    def recorder(self, draws: int) -> Recorder:
        """Room on the host for so many draws of each chain of this process, in the types asked for."""
        columns, statistics = self.kept.typed(self.traced.columns), self.kept.typed(self.statistics)
        return Recorder(columns, statistics, self.layout.own, draws)

    def together(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What was recorded of this process's chains, for the chains of all."""
        return {name: self.layout.together(array) for name, array in arrays.items()}

    def rebuild(self, leaves: list) -> Any:
        """The kernel of these array leaves."""
        rest = iter(leaves)
        n = len(leaves) + len(self.fixed)
        return jax.tree.unflatten(self.structure, [self.fixed[i] if i in self.fixed else next(rest) for i in range(n)])

    def begin(self, positions: np.ndarray) -> tuple[Progress, np.ndarray, np.ndarray]:
        """Chains at these positions (chain, dim), their log densities, and whether these and gradients are finite."""
        progress = Progress(self.start_leaves, self.start_tuning, self.blank(positions))
        progress.chains = self._call(progress, Span(*_span(True, 0, 0, self.thin)))
        made = self.joined(progress).state
        finite = np.isfinite(made.lp)
        if hasattr(made, "gradient"):
            finite &= np.isfinite(made.gradient).all(1)
        return progress, made.lp, finite

    def joined(self, progress: Progress) -> Chains:
        """The chains of all devices on the host, (chain, ...)."""
        return jax.tree.map(lambda *parts: self.layout.join(list(parts)), *progress.chains)

    def warm(self, progress: Progress, reporter: Reporter, recorder: Recorder | None) -> None:
        """The rest of warmup: with a tuner, from one of its looks to the next."""
        if self.tuner is None:
            return self.advance(progress, self.warmup, reporter, recorder)
        began, first, processes = time.perf_counter(), progress.iteration, self.layout.processes
        self._steps, compiled = None, self.timings.compile_time
        try:
            for stop in self.tuner.looks(self.warmup):
                if stop > progress.iteration:
                    n = stop - progress.iteration
                    chains = self._chunk(progress, stop, 1, reporter, recorder)
                    lost = lost_chains(self.layout.join([c.state.lp for c in chains]))
                    rate, (positions, gradients) = self._rate(chains, n, ~lost), self._trail(n, ~lost)
                    kernel = self.rebuild(progress.leaves)
                    tuning, kernel = self.tuner.adjust(
                        progress.tuning, kernel, stop, self.warmup, rate, positions, gradients
                    )
                    progress.leaves, progress.tuning = processes.first((self._leaves_of(kernel), tuning))
                    progress.chains, progress.iteration = chains, stop
                    if stop >= self.warmup // 2:
                        self._treat(progress, lost, reporter)
                    elif self.may_improve and stop >= EARLY * self.warmup:
                        self._restart(progress, self.layout.join([c.state.lp for c in chains]), reporter)
                    self._report(reporter, progress, "warmup", (first, 0, self.warmup), began, rate, None)
                    self.looked_at(progress)
        finally:
            self.timings.warmup_time += time.perf_counter() - began - (self.timings.compile_time - compiled)

    def improved(self, positions: np.ndarray) -> np.ndarray:
        """These positions (chain, dim) moved to the bulk, one of each group of chains that shares a start."""
        _, first, groups = np.unique(self.groups, return_index=True, return_inverse=True)
        rng = np.random.default_rng([*map(int, self.key), len(first)])
        self._place()
        arrays, layout = [arrays for _, _, arrays in self._placed], self.layout
        slopes = Slopes(self.traced, layout.devices, arrays, layout.lanes, self.dtype, self.target._programs)
        moved = pathfinder(positions[first].astype(float), slopes, rng)[groups].astype(self.dtype)
        self.timings.compile_time += slopes.compile_time
        return layout.processes.first(moved)

    def _restart(self, progress: Progress, lps: np.ndarray, reporter: Reporter) -> None:
        """After 10 % of warmup: where chains are in different worlds, better starts, and tuning anew."""
        self.may_improve = False
        if np.ptp(lps) <= reach(self.target.dim):
            return
        reporter.note("log densities of the chains are far apart: they start again, moved uphill by Pathfinder")
        positions = self.improved(self.starts)
        progress.chains = self._call(
            Progress(self.start_leaves, self.start_tuning, self.blank(positions)), Span(*_span(True, 0, 0, self.thin))
        )
        progress.leaves, progress.tuning = self.start_leaves, self.start_tuning
        progress.improved = True

    def _treat(self, progress: Progress, lost: np.ndarray, reporter: Reporter) -> None:
        """In the second half of warmup: lost chains start again from others where asked, and are told of at its end."""
        if self.reseed and lost.any():
            state = reseeded(self.joined(progress).state, lost, [*map(int, self.key), progress.iteration])
            progress.chains = self.place(state)
            progress.reseeded |= set(np.flatnonzero(lost).tolist())
        if progress.iteration < self.warmup:
            return
        progress.lost = [] if self.reseed else np.flatnonzero(lost).tolist()
        if progress.lost:
            which = f"chain {progress.lost[0]}" if len(progress.lost) == 1 else f"{len(progress.lost)} chains"
            reporter.note(f"{which} got stuck far below the others in warmup; reseed=True starts such chains from them")
        elif progress.reseeded:
            reporter.note(f"{len(progress.reseeded)} chains got stuck far below the others and were started from them")

    def advance(
        self,
        progress: Progress,
        stop: int,
        reporter: Reporter,
        recorder: Recorder | None,
        moments: Moments | None = None,
        deadline: float = np.inf,
    ) -> None:
        """On to iteration `stop`, or until the clock passes `deadline`; rows go to the recorder.

        `moments`, where given, take in the draws. Ctrl-C leaves in `progress` what is complete.
        """
        sampling = progress.iteration >= self.warmup
        phase, base, thin = ("sampling", self.warmup, self.thin) if sampling else ("warmup", 0, 1)
        began, first, watched = time.perf_counter(), progress.iteration, moments is not None
        processes, self._steps = self.layout.processes, None
        size = max(FIRST_CHUNK, int(CHUNK_SECONDS / self._pace) // thin if self._pace else 0) * thin
        try:
            while progress.iteration < stop and not processes.first(time.perf_counter() >= deadline):
                n = min(self.chunk or int(processes.first(size)), self.layout.rows * thin, stop - progress.iteration)
                n = max(thin, n - n % thin)
                n = min(n, recorder.room * thin) if recorder else n
                start = time.perf_counter()
                chains = self._chunk(progress, progress.iteration + n, thin, reporter, recorder)
                progress.chains, progress.iteration = chains, progress.iteration + n
                if recorder:
                    recorder.mark(progress)
                size = thin * max(1, int(min(n * CHUNK_SECONDS / (time.perf_counter() - start), 8 * n)) // thin)
                if watched or type(reporter) is not Reporter:
                    moments = self._seen_by(moments, n // thin)
                if type(reporter) is not Reporter:
                    rate = self.layout.local([c.rate for c in chains]).mean(0, dtype=np.float64) / n
                    written = getattr(recorder, "bytes_written", 0)
                    self._report(reporter, progress, phase, (first, base, stop), began, rate, moments, written)
        finally:
            spent = time.perf_counter() - began
            if sampling:
                self.timings.sampling_time += spent
            else:
                self.timings.warmup_time += spent

    def _chunk(
        self, progress: Progress, stop: int, thin: int, reporter: Reporter, recorder: Recorder | None
    ) -> list[Chains]:
        """The chains at iteration `stop`, all draws on the way recorded; `progress` is left as it was."""
        chains = self._call(progress, Span(*_span(False, progress.iteration, stop, thin)))
        self._check(chains, stop, reporter)
        n = (stop - progress.iteration) // thin
        if type(reporter) is not Reporter and self._counts_steps is not None:
            steps = self.layout.local([rows.statistics[self._counts_steps] for rows in self._rows])[:, :n]
            self._steps = (self._steps or 0) + int(steps.sum(dtype=np.int64)) * thin * self.layout.processes.count
        if recorder is not None:
            recorder.write([jax.tree.map(lambda r: np.asarray(r)[:, :, :n], rows[:2]) for rows in self._rows])
        return chains

    def _rate(self, chains: list[Chains], n: int, among: np.ndarray) -> np.ndarray:
        """The mean acceptance rate of the last `n` iterations: a number, or one a part of the kernel."""
        return np.mean(self.layout.join([c.rate for c in chains])[among], 0, dtype=np.float64) / n

    def _shown(self, rate: np.ndarray) -> float:
        """The acceptance rate to tell: of a kernel of blocks their mean, of others the first of their rates."""
        return float(rate.mean() if hasattr(self.kernel, "blocks") else rate.flat[0])

    def _trail(self, n: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Positions and gradients (or None) of the last iterations (row, dim), in copies: rows are given away."""
        trail = self.layout.join([rows.trail for rows in self._rows])[among, : min(n, self.layout.trail)]
        seen, dim = np.array(trail, np.float64).reshape(-1, self.seen), self.target.dim
        return seen[:, :dim], seen[:, dim:] if self.seen > dim else None

    # --- the program ---------------------------------------------------------------------------------------

    def _call(self, progress: Progress, span: Span) -> list[Chains]:
        """Run the program on every device; the rows lie in `_rows` until the next call."""
        self._place()
        rows, self._rows = self._rows, []
        args = [
            (key, progress.leaves, chains, rows, ids, span, arrays)
            for (key, ids, arrays), chains, rows in zip(self._placed, progress.chains, rows, strict=True)
        ]
        if not self._programs:
            self._programs = self._compile(args)
        began, n = time.perf_counter(), int(span.stop - span.start)
        work = list(zip(self._programs, args, strict=True))
        done = run_programs(work, n * self._pace, self.dtype, getattr(self.target, "finished", None))
        self._pace = (time.perf_counter() - began) / max(n, 1)
        self._rows = [rows for _, rows in done]
        return [chains for chains, _ in done]

    def _place(self) -> None:
        if self._placed:
            return
        ids = np.arange(self.layout.share, dtype=np.uint32) + np.uint32(self.layout.processes.index * self.layout.share)
        ids = ids.reshape(-1, self.layout.blocks, self.layout.lanes)
        for device, part in zip(self.layout.devices, ids, strict=True):
            self._placed.append(jax.device_put((np.asarray(self.key), part, self.traced.arrays), device))
            empty = self.layout.empty_rows(self.traced.width, self.seen, self.dtype, self.statistics)
            self._rows.append(jax.device_put(empty, device))

    def _compile(self, args: list[tuple]) -> list:
        shapes = [str(jax.typeof(x)) for x in jax.tree.leaves(args[0])]
        described = (self.traced.fingerprint, self.structure, self.statistics, self.layout)
        signature = (described, *shapes, jax.config.jax_enable_x64)
        cached = self.target._programs
        if not self.fixed and signature in cached:
            return cached[signature]
        function = build(self.layout.ensemble, self.statistics, self.traced, self.rebuild)
        places = list(dict.fromkeys(self.layout.devices))
        first = [args[self.layout.devices.index(place)] for place in places]
        compiled, seconds = compile_programs(function, first, donate=(3,))
        programs = [compiled[places.index(device)] for device in self.layout.devices]
        self.timings.compile_time += seconds
        if not self.fixed:
            cached[signature] = programs
        return programs

    def log_density(self, position: jax.Array) -> jax.Array:
        """The target's log density at one position."""
        return self.traced.log_density(self.traced.arrays, position)

    def _leaves_of(self, kernel: Any) -> list:
        return [leaf for i, leaf in enumerate(jax.tree.leaves(kernel)) if i not in self.fixed]

    def blank(self, positions: np.ndarray) -> list[Chains]:
        """Chains whose positions (chain, dim) are known and whose states are still to be made."""
        lead = (self.layout.chains,)
        own = 1 if self.layout.ensemble else 0
        state = jax.tree.map(lambda x: np.zeros((*lead, *x.shape[own:]), x.dtype), self.state_shape)
        return self.place(state._replace(position=positions.astype(self.dtype)))

    def place(self, state: Any, nonfinite: Any = None, diverging: Any = None) -> list[Chains]:
        """Chains of these kernel states (chain, ...), on their devices."""
        zero = np.zeros(self.layout.chains, np.int32)
        counts = (zero if nonfinite is None else nonfinite, zero if diverging is None else diverging)
        whole = Chains(state, np.zeros((self.layout.chains, *self.rates), self.dtype), *counts)
        leaves, structure = jax.tree.flatten(whole)
        parts = zip(*(self.layout.split(leaf) for leaf in leaves), strict=True)
        devices = zip(parts, self.layout.devices, strict=True)
        return [jax.device_put(jax.tree.unflatten(structure, part), device) for part, device in devices]

    # --- between chunks ------------------------------------------------------------------------------------

    def _check(self, chains: list[Chains], iteration: int, reporter: Reporter) -> None:
        """Raise SamplingError for a chain whose log density is not finite any more."""
        lp = self.layout.join([c.state.lp for c in chains])
        if np.isfinite(lp).all():
            return
        chain = int(np.flatnonzero(~np.isfinite(lp))[0])
        code = Result.INFINITE if np.isposinf(lp[chain]) else Result.LOST
        at = self.target.describe(self.layout.join([c.state.position for c in chains])[chain])
        where = ", ".join(f"{name} = {np.array2string(value, precision=6)}" for name, value in at.items())
        reporter.close()
        raise SamplingError(
            f"log_density: chain {chain} reached {lp[chain]} at {where} before iteration {iteration}; "
            f"expected a finite log density. {code.remedy}",
            chain=chain,
            position=at,
        )

    def _seen_by(self, moments: Moments | None, n: int) -> Moments:
        """The moments of the draws so far, with the `n` of the last chunk; of every few where chains are many."""
        moments = moments or Moments()
        every = 1 + self.layout.chains * self.traced.width // MOMENTS_NUMBERS
        moments.update(self.layout.local([rows.kept for rows in self._rows])[:, :n:every])
        return moments

    def _report(
        self,
        reporter: Reporter,
        progress: Progress,
        phase: Any,
        span: tuple[int, int, int],
        began: float,
        rate: np.ndarray,
        moments: Moments | None,
        written: int = 0,
    ) -> None:
        """Tell the reporter; `span` is the first iteration of this call, of the phase, and the phase's end."""
        first, base, stop = span
        rhat = ess = None
        if moments is not None and reporter.wants_statistics(last=progress.iteration == stop):
            start = time.perf_counter()
            rhat, ess = moments.worst()
            if reporter.takes_moments and phase == "sampling":
                reporter.take_moments(moments, labels_of(self.target, self.traced.columns))
            reporter.statistics_took(time.perf_counter() - start)
        done = progress.iteration - base
        whole = done / max(progress.iteration - first, 1)  # of the phase, of which this call may be the last part
        steps = None if self._steps is None else int(self._steps * whole)
        elapsed = (time.perf_counter() - began) * whole
        diverging = sum(int(np.asarray(c.diverging).sum()) for c in progress.chains) if phase == "sampling" else 0
        made = (phase, done, stop - base, self.layout.chains, elapsed, self._shown(rate), diverging)
        reporter.update(Update(*made, rhat, ess, written, steps))


def _span(fresh: bool, start: int, stop: int, thin: int) -> tuple:
    return np.bool_(fresh), np.int32(start), np.int32(stop), np.int32(thin)
