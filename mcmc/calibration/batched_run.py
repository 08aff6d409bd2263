"""Batched runs of one target on many data sets: one program, each data set with chains and tuning of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from mcmc.engine.compilation import compile_programs
from mcmc.engine.devices import Layout, layout_of
from mcmc.engine.free_lanes import FEWEST
from mcmc.engine.loop import Chains, Span, build
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.run import Run
from mcmc.errors import Result, SamplingError
from mcmc.target.proposals import bind
from mcmc.target.target import Target
from mcmc.target.traced import Traced
from mcmc.warmup.adaptation import EARLY
from mcmc.warmup.lost_chains import lost_chains
from mcmc.warmup.pathfinder import pathfinders, reach
from mcmc.warmup.starts import find_starts
from mcmc.warmup.tuners import prepare

BATCH_BYTES, MOST_SETS = 256_000_000, 16
HESSIAN_NUMBERS = 2**23
LOCK = threading.Lock()  # of what may compile: that sets JAX's flags for a while


@dataclass(frozen=True)
class Together:
    """What runs on data sets of equal shapes share: target, kernel, layout, and how many go in one program."""

    target: Target
    traced: Traced
    kernel: Any
    tuner: Any
    settings: Settings
    layout: Layout
    dtype: Any
    leaves: int
    """How many of the traced arrays are data."""
    axes: tuple
    """Along which each of the traced arrays is mapped over data sets."""
    value_and_grad: Callable
    """Log densities and gradients at positions (set, n, dim), given arrays."""

    def alone(self, data: list, words: np.ndarray) -> Run:
        """The run on one data set, of which these are the arrays."""
        traced = replace(self.traced, arrays=(*data, *self.traced.arrays[self.leaves :]))
        plan = Plan(self.target, traced, self.kernel, self.settings, words, self.dtype)
        return Run(plan, self.tuner, self.layout)

    def given(self, data: list) -> Target:
        """The target on one data set, of which these are the arrays."""
        return self.target.with_data(jax.tree.unflatten(jax.tree.structure(self.target.data), data))

    @property
    def groups(self) -> np.ndarray:
        """The group that each chain shares its start with (chain,)."""
        groups = self.settings.superchains
        return np.arange(self.settings.chains) if groups is None else groups


def together(target: Target, traced: Traced, kernel: Any, settings: Settings, dtype: Any, device: Any) -> Together:
    """What runs of a kernel share; `target` and `traced` have the first data set, whose shapes are those of all."""
    prepared, tuner = prepare(bind(kernel, target, dtype), target.dim, dtype)
    tuner = tuner if settings.warmup else None
    # Lanes that do not wait for each other keep all rows in the state of a loop, which vmap would copy at each step.
    lanes = FEWEST // 2 if getattr(prepared, "runs_freely", False) else None
    numbers = traced.width + 8
    layout = layout_of(settings.chains, lanes, numbers, dtype.itemsize, prepared, tuner is not None, (device,))
    blocks = -(-settings.chains // layout.lanes)
    layout = replace(layout, devices=(device,), blocks=blocks, rows=min(layout.rows, settings.draws))
    leaves = len(jax.tree.leaves(target.data))
    axes = (*[0] * leaves, *[None] * (len(traced.arrays) - leaves))

    def made() -> Callable:
        one = jax.vmap(jax.value_and_grad(traced.log_density, 1), (None, 0))
        return jax.jit(jax.vmap(one, (axes, 0)))

    key = ("value_and_grad of data sets", traced.fingerprint, axes, options())
    value_and_grad = cache_of(target, traced.fingerprint).get(key, made)
    return Together(target, traced, prepared, tuner, settings, layout, dtype, leaves, axes, value_and_grad)


@dataclass(frozen=True)
class Drawn:
    """What the runs of a batch gave.

    Draws (set, chain, draw, width), statistics by name (set, chain, draw), NaN proposals (set, chain).
    """

    kept: np.ndarray
    statistics: dict[str, np.ndarray]
    nonfinite: np.ndarray


class Batch:
    """Runs on some data sets, side by side: the leading axis of the arrays here is theirs."""

    def __init__(self, shared: Together, data: list[np.ndarray], words: np.ndarray, device: Any, program: Any = None):
        self.shared, self.data, self.words, self.device, self.program = shared, data, words, device, program
        self.layout, self.size = shared.layout, len(words)
        self.run = self.alone(0)
        self.leaves = [self.run.form.start] * self.size
        self.tuning = [self.run.start_tuning] * self.size
        empty = self.layout.empty_rows(shared.traced.width, self.run.programs.seen, shared.dtype, self.run.statistics)
        self.rows = jax.device_put(jax.tree.map(lambda x: np.zeros((self.size, *x.shape), x.dtype), empty), device)
        ids = np.arange(self.layout.share, dtype=np.uint32).reshape(self.layout.blocks, self.layout.lanes)
        arrays = (*data, *shared.traced.arrays[shared.leaves :])
        self.placed = jax.device_put((words, ids, arrays), device)

    def alone(self, i: int) -> Run:
        """The run on data set `i` by itself."""
        return self.shared.alone([x[i] for x in self.data], self.words[i])

    def draw(self) -> Drawn:
        """Starts, warmup, draws."""
        chains, starts = self.begin()
        chains = self.placed_at(self.joined(self.warm(chains, starts).state))
        warmup, draws = self.shared.settings.warmup, self.shared.settings.draws
        lead = (self.size, self.shared.settings.chains, draws)
        kept = np.empty((*lead, self.shared.traced.width), self.shared.dtype)
        statistics = {s.name: np.empty(lead, s.dtype) for s in self.run.statistics}
        for begin in range(0, draws, self.layout.rows):
            end = min(begin + self.layout.rows, draws)
            chains = self.call(chains, warmup + begin, warmup + end)
            kept[:, :, begin:end] = self.joined(self.rows.kept)[:, :, : end - begin]
            for name, rows in zip(statistics, self.rows.statistics, strict=True):
                statistics[name][:, :, begin:end] = self.joined(rows)[:, :, : end - begin]
        return Drawn(kept, statistics, self.joined(chains.nonfinite))

    def begin(self) -> tuple[Chains, np.ndarray]:
        """Chains where `sample` would start them, and their positions (set, chain, dim).

        Starts are found by trying. What is tried next follows from what was finite so far, so each search is made
        again from its beginning with the answers that there are, until it asks nothing more.
        """
        starts = np.zeros((self.size, self.shared.settings.chains, self.shared.target.dim), self.shared.dtype)
        answers: list[list[np.ndarray]] = [[] for _ in range(self.size)]
        waiting, chains = list(range(self.size)), None
        while waiting:
            asked = []
            for i in waiting:
                target = self.shared.given([x[i] for x in self.data])
                search = partial(find_starts, target, None, self.shared.groups, self.words[i], self.shared.dtype)
                try:
                    with LOCK:
                        starts[i] = search(_replayed(answers[i]))
                except _Asked as question:
                    starts[i] = question.positions
                    asked.append(i)
            waiting = asked
            if waiting:
                chains = self.fresh(starts)
                finite = self.finite(chains)
                for i in waiting:
                    answers[i].append(finite[i])
        assert chains is not None
        return chains, starts

    def warm(self, chains: Chains, starts: np.ndarray) -> Chains:
        """The chains after warmup, in which each data set tunes its kernel from its own chains."""
        tuner, total, now = self.shared.tuner, self.shared.settings.warmup, 0
        if tuner is None:
            return self.call(chains, 0, total) if total else chains
        may_improve = self.run.has_gradient
        for stop in tuner.steps(total):
            chains = self.call(chains, now, stop)
            lps, rates = self.joined(chains.state.lp), self.joined(chains.rate)
            trail = self.joined(self.rows.trail)[:, :, : min(stop - now, self.layout.trail)].astype(np.float64)
            for i in range(self.size):
                among = ~lost_chains(lps[i])
                rate = np.mean(rates[i][among], 0, dtype=np.float64) / (stop - now)
                seen, dim = trail[i][among].reshape(-1, self.run.programs.seen), self.shared.target.dim
                gradients = seen[:, dim:] if self.run.has_gradient else None
                kernel = self.run.form.rebuild(self.leaves[i])
                self.tuning[i], kernel = tuner.adjust(
                    self.tuning[i], kernel, stop, total, rate, seen[:, :dim], gradients
                )
                self.leaves[i] = self.run.form.leaves_of(kernel)
            now = stop
            if may_improve and EARLY * total <= stop < total // 2:
                may_improve, chains = False, self.restarted(chains, starts, lps)
        return chains

    def restarted(self, chains: Chains, starts: np.ndarray, lps: np.ndarray) -> Chains:
        """The chains, with those of data sets in which they are in different modes started again, optimised first."""
        dim = self.shared.target.dim
        again = np.ptp(lps, axis=1) > reach(dim)
        if not again.any():
            return chains
        _, first, groups = np.unique(self.shared.groups, return_index=True, return_inverse=True)
        size = min(self.size, max(1, HESSIAN_NUMBERS // (len(first) * dim**2)))
        for begin in range(0, int(again.sum()), size):
            which = np.flatnonzero(again)[begin : begin + size]
            moved = self.optimised(np.resize(which, size), starts[:, first])[: len(which)]
            starts[which] = moved[:, groups].astype(starts.dtype)
        for i in np.flatnonzero(again):
            self.leaves[i], self.tuning[i] = self.run.form.start, self.run.start_tuning
        fresh = self.fresh(starts)

        def either(new: jax.Array, old: jax.Array) -> np.ndarray:
            return np.where(again.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

        return jax.tree.map(either, fresh, chains)

    def optimised(self, which: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """The starts (group, dim) of these data sets moved to the bulk."""
        shared, kept = self.shared, self.shared.traced.arrays[self.shared.leaves :]
        arrays = jax.device_put((*(x[which] for x in self.data), *kept), self.device)

        def evaluate(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            lps, gradients = shared.value_and_grad(arrays, positions.astype(shared.dtype))
            return np.asarray(lps, float), np.asarray(gradients, float)

        rngs = [np.random.default_rng([*map(int, self.words[i]), starts.shape[1]]) for i in which]
        return pathfinders(starts[which], evaluate, rngs)

    # --- one call, and the way in and out -------------------------------------------------------------------

    def arguments(self, chains: Chains, start: int, stop: int, fresh: bool = False) -> tuple:
        """What the program is called with."""
        words, ids, arrays = self.placed
        leaves = [np.stack(each) for each in zip(*self.leaves, strict=True)]
        span = Span(np.bool_(fresh), np.int32(start), np.int32(stop), np.int32(1))
        return words, leaves, chains, self.rows, ids, span, arrays

    def call(self, chains: Chains, start: int, stop: int, fresh: bool = False) -> Chains:
        """All chains from one iteration to another; rows lie in `rows` until the next call."""
        chains, self.rows = jax.block_until_ready(self.program(*self.arguments(chains, start, stop, fresh)))
        if not fresh:
            self.check(chains, stop)
        return chains

    def fresh(self, positions: np.ndarray) -> Chains:
        """Chains at these positions (set, chain, dim)."""
        return self.call(self.blank(positions), 0, 0, fresh=True)

    def blank(self, positions: np.ndarray) -> Chains:
        """Chains whose positions are known and whose states are still to be made."""
        lead = (self.size, self.shared.settings.chains)
        own = 1 if self.layout.ensemble else 0
        state = jax.tree.map(lambda x: np.zeros((*lead, *x.shape[own:]), x.dtype), self.run.shapes.state)
        return self.placed_at(state._replace(position=positions.astype(self.shared.dtype)))

    def placed_at(self, state: Any) -> Chains:
        """Chains in these kernel states (set, chain, ...); the lanes left over repeat the first chain."""
        zero = np.zeros((self.size, self.shared.settings.chains), np.int32)
        rate = np.zeros((*zero.shape, *self.run.shapes.rates), self.shared.dtype)
        spare = self.layout.share - zero.shape[1]

        def split(x: np.ndarray) -> np.ndarray:
            x = np.concatenate([x, np.repeat(x[:, :1], spare, 1)], 1) if spare else x
            return x.reshape(self.size, self.layout.blocks, self.layout.lanes, *x.shape[2:])

        return jax.device_put(jax.tree.map(split, Chains(state, rate, zero, zero)), self.device)

    def joined(self, tree: Any) -> Any:
        """(set, block, lane, ...) back to (set, chain, ...), on the host."""
        chains = self.shared.settings.chains
        return jax.tree.map(lambda x: np.asarray(x).reshape(self.size, -1, *x.shape[3:])[:, :chains], tree)

    def finite(self, chains: Chains) -> np.ndarray:
        """Whether log densities, and gradients, are finite (set, chain)."""
        state = chains.state
        finite = np.isfinite(self.joined(state.lp))
        return finite & np.isfinite(self.joined(state.gradient)).all(-1) if hasattr(state, "gradient") else finite

    def check(self, chains: Chains, iteration: int) -> None:
        """Raise SamplingError for a chain whose log density is not finite any more."""
        lps = self.joined(chains.state.lp)
        if np.isfinite(lps).all():
            return
        i, chain = np.argwhere(~np.isfinite(lps))[0]
        code = Result.INFINITE if np.isposinf(lps[i, chain]) else Result.LOST
        at = self.shared.target.describe(self.joined(chains.state.position)[i, chain])
        where = ", ".join(f"{name} = {np.array2string(value, precision=6)}" for name, value in at.items())
        raise SamplingError(
            f"log_density: chain {chain} reached {lps[i, chain]} at {where} before iteration {iteration}, on one of "
            f"the simulated data sets; expected a finite log density. {code.remedy}",
            chain=int(chain),
            position=at,
        )


class _Asked(Exception):
    """It is not known yet whether the log densities at these positions are finite."""

    def __init__(self, positions: np.ndarray):
        super().__init__()
        self.positions = positions


def _replayed(answers: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """An `evaluate` for `find_starts` that gives these answers in turn and then asks."""
    rest = iter(answers)

    def evaluate(positions: np.ndarray) -> np.ndarray:
        for answer in rest:
            return answer
        raise _Asked(positions)

    return evaluate


# --- all data sets -----------------------------------------------------------------------------------------


def each_batch(
    shared: Together, data: list[np.ndarray], words: np.ndarray, devices: list, use: Callable[[range, Drawn], Any]
) -> Iterator[Any]:
    """`use(which data sets, what their runs drew)` of all data sets (set, ...), batch by batch in order.

    A batch a device at the same time; a CPU device stands in the list once for each core.
    """
    total = len(words)
    programs, size = _compiled(shared, data, words, devices, shared.alone([x[0] for x in data], words[0]))
    begins = list(range(0, total, size))

    def one(k: int) -> Any:
        which, device = range(begins[k], min(begins[k] + size, total)), devices[k % len(devices)]
        rows = np.minimum(np.arange(begins[k], begins[k] + size), total - 1)
        with jax.enable_x64(bool(shared.dtype == np.float64)):  # a setting of each thread
            batch = Batch(shared, [x[rows] for x in data], words[rows], device, programs[device])
            return use(which, batch.draw())

    with ThreadPoolExecutor(len(devices)) as pool:
        yield from pool.map(one, range(len(begins)))


def _fitting(first: Run, total: int, workers: int) -> int:
    """How many data sets go in a batch: as many as keep all devices busy, and whose rows are not too many bytes."""
    layout = first.layout
    numbers = layout.rows * (first.traced.width + len(first.statistics)) + layout.trail * first.programs.seen
    most = min(MOST_SETS, max(1, BATCH_BYTES // (2 * layout.share * numbers * first.plan.dtype.itemsize)))
    return -(-total // (workers * -(-total // (workers * most))))


def _compile(function: Callable, arguments: list[tuple]) -> list:
    return compile_programs(function, arguments, donate=(3,))[0]


def _compiled(shared: Together, data: list, words: np.ndarray, devices: list, first: Run) -> tuple[dict, int]:
    """The program for each device, and how many data sets it takes: fewer, where it needs too much memory."""
    size = _fitting(first, len(words), len(devices))
    advance = build(shared.layout.ensemble, first.statistics, first.traced, first.form.rebuild)
    function = jax.vmap(advance, in_axes=(0, 0, 0, 0, None, None, shared.axes))
    places = list(dict.fromkeys(devices))
    while True:
        rows = np.arange(size) % len(words)
        batches = [Batch(shared, [x[rows] for x in data], words[rows], place) for place in places]
        blank = np.zeros((size, shared.settings.chains, shared.target.dim))
        arguments = [batch.arguments(batch.blank(blank), 0, 0) for batch in batches]
        shapes = tuple(str(jax.typeof(x)) for x in jax.tree.leaves(arguments[0]))
        parts = first.traced.fingerprint, first.form.fingerprint
        key = ("batch", parts, first.statistics, shared.layout, shared.axes, tuple(places), shapes, options())
        compiling = partial(_compile, function, arguments)
        programs = compiling() if first.form.fixed else cache_of(shared.target, *parts).get(key, compiling)
        needed = getattr(programs[0].memory_analysis(), "temp_size_in_bytes", 0)
        if needed <= BATCH_BYTES or size == 1:
            return dict(zip(places, programs, strict=True)), size
        size = max(1, int(size * BATCH_BYTES / needed))
