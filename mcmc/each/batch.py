"""Runs on some data sets, side by side in one program, each with chains and tuning of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from mcmc.each.starts import find_all
from mcmc.each.together import Together
from mcmc.each.tuning import Seen, Tuning
from mcmc.engine.loop import Chains, Span
from mcmc.engine.run import Run
from mcmc.errors import Result, SamplingError
from mcmc.warmup.adaptation import EARLY
from mcmc.warmup.pathfinder import pathfinders, reach

HESSIAN_NUMBERS = 2**23
LATER = 2  # times as late as in a run by itself: by then most data sets need no better starts
CLIMBING = 8  # data sets that are optimised together: few, because all wait for the slowest path


@dataclass(frozen=True)
class Drawn:
    """What the runs of a batch gave.

    Draws (set, chain, draw, width), statistics by name (set, chain, draw), NaN proposals (set, chain); why data sets
    have no draws.
    """

    kept: np.ndarray
    statistics: dict[str, np.ndarray]
    nonfinite: np.ndarray
    failed: dict[int, SamplingError]

    def raise_failure(self) -> None:
        """Raise what went wrong on a data set, if anything did."""
        for error in self.failed.values():
            raise error


@dataclass(frozen=True)
class Warmed:
    """A data set after warmup: its chains' states (chain, ...), its kernel as arrays, and about how many gradients a
    draw takes.
    """

    state: Any
    leaves: list
    cost: float
    failed: SamplingError | None


class Programs(NamedTuple):
    """What was compiled for a batch: iterations, and what settles starts (None: they stay as they are)."""

    advance: Any
    settle: Any


class Batch:
    """Runs on some data sets, side by side: the leading axis of the arrays here is theirs.

    A data set that has no finite start, or whose log density is infinite somewhere, is left in `failed`; the others
    go on.
    """

    def __init__(self, shared: Together, data: list[np.ndarray], words: np.ndarray, device: Any, programs: Any = None):
        self.shared, self.data, self.words, self.device, self.programs = shared, data, words, device, programs
        self.layout, self.size = shared.layout, len(words)
        self.failed: dict[int, SamplingError] = {}
        self.run = self.alone(0)
        self.tuning = Tuning.of(self.run, shared.tuner, self.size)
        empty = self.layout.empty_rows(shared.traced.width, self.run.programs.seen, shared.dtype, self.run.statistics)
        self.rows = jax.device_put(jax.tree.map(lambda x: np.zeros((self.size, *x.shape), x.dtype), empty), device)
        ids = np.arange(self.layout.share, dtype=np.uint32).reshape(self.layout.blocks, self.layout.lanes)
        arrays = (*data, *shared.traced.arrays[shared.leaves :])
        self.placed = jax.device_put((words, ids, arrays), device)

    def alone(self, i: int) -> Run:
        """The run on data set `i` by itself."""
        return self.shared.alone([x[i] for x in self.data], self.words[i])

    def warmed(self) -> list[Warmed]:
        """Starts and warmup: where each data set's chains are, and what they tuned."""
        state = self.joined(self.warm(*self.begin()).state)
        leaves = self.tuning.leaves
        costs = np.broadcast_to(_cost(self.run.form.rebuild(leaves)), self.size)
        each = [jax.tree.map(lambda x, i=i: x[i], (state, leaves)) for i in range(self.size)]
        return [Warmed(own, kernel, float(costs[i]), self.failed.get(i)) for i, (own, kernel) in enumerate(each)]

    def draw(self, warmed: list[Warmed]) -> Drawn:
        """Draws from where warmup left the chains of each data set."""
        self.tuning.leaves = [np.stack(x) for x in zip(*(each.leaves for each in warmed), strict=True)]
        self.failed = {i: each.failed for i, each in enumerate(warmed) if each.failed}
        chains = self.placed_at(jax.tree.map(lambda *x: np.stack(x), *(each.state for each in warmed)))
        settings = self.shared.settings
        warmup, draws, thin = settings.warmup, settings.draws, settings.thin
        lead = (self.size, settings.chains, draws)
        kept = np.empty((*lead, self.shared.traced.width), self.shared.dtype)
        statistics = {s.name: np.empty(lead, s.dtype) for s in self.run.statistics}
        for begin in range(0, draws, self.layout.rows):
            end = min(begin + self.layout.rows, draws)
            chains = self.call(chains, warmup + begin * thin, warmup + end * thin, thin=thin)
            kept[:, :, begin:end] = self.joined(self.rows.kept)[:, :, : end - begin]
            for name, rows in zip(statistics, self.rows.statistics, strict=True):
                statistics[name][:, :, begin:end] = self.joined(rows)[:, :, : end - begin]
        return Drawn(kept, statistics, self.joined(chains.nonfinite), self.failed)

    def begin(self) -> tuple[Chains, np.ndarray]:
        """Chains where `sample` would start them, and their positions (set, chain, dim)."""
        chains: list[Chains] = []

        def finite(positions: np.ndarray) -> np.ndarray:
            chains[:] = [self.fresh(positions)]
            return self.finite(chains[0])

        starts, failed = find_all(self.shared, self.data, self.words, finite)
        self.failed |= failed
        return (self.fresh(self.settled(starts)) if self.may_improve else chains[0]), starts

    @property
    def may_improve(self) -> bool:
        """Whether chains may begin elsewhere than at their starts."""
        return self.shared.tuner is not None and self.run.has_gradient and self.shared.init is None

    def to_settle(self, starts: np.ndarray | None = None) -> tuple:
        """What the program that settles starts (set, group, dim) is called with."""
        first = np.unique(self.shared.groups, return_index=True)[1]
        if starts is None:
            starts = np.zeros((self.size, len(first), self.shared.target.dim))
        starts = starts.astype(self.shared.dtype)
        arrays, words = self.placed[2], self.placed[0]
        return jax.device_put((arrays, words, first.astype(np.uint32), starts), self.device)

    def settled(self, starts: np.ndarray) -> np.ndarray:
        """These starts (set, chain, dim) moved to where the probability is; chains that share one go on to share it."""
        _, first, groups = np.unique(self.shared.groups, return_index=True, return_inverse=True)
        return np.asarray(self.programs.settle(*self.to_settle(starts[:, first])))[:, groups]

    def warm(self, chains: Chains, starts: np.ndarray) -> Chains:
        """The chains after warmup, in which each data set tunes its kernel from its own chains."""
        tuner, total, now = self.shared.tuner, self.shared.settings.warmup, 0
        if tuner is None:
            return self.call(chains, 0, total) if total else chains
        may_improve = self.may_improve
        for stop in tuner.steps(total):
            chains = self.call(chains, now, stop)
            lps = self.joined(chains.state.lp)
            self.tuning.adjust(self.seen(chains, lps, stop - now), stop, total)
            now = stop
            if may_improve and LATER * EARLY * total <= stop < total // 2:
                may_improve, chains = False, self.restarted(chains, starts, lps)
        return chains

    def seen(self, chains: Chains, lps: np.ndarray, n: int) -> Seen:
        """What the chains did in the last `n` iterations."""
        rates = self.joined(chains.rate).astype(np.float64) / n
        rows = self.joined(self.rows.trail)[:, :, : min(n, self.layout.trail)].astype(np.float64)
        dim = self.shared.target.dim
        return Seen(rates, rows[..., :dim], rows[..., dim:] if self.run.has_gradient else None, lps)

    def restarted(self, chains: Chains, starts: np.ndarray, lps: np.ndarray) -> Chains:
        """The chains, with those of data sets in which they are in different modes started again, optimised first."""
        dim = self.shared.target.dim
        again = np.isin(np.arange(self.size), self.sound) & (np.ptp(lps, axis=1) > reach(dim))
        if not again.any():
            return chains
        _, first, groups = np.unique(self.shared.groups, return_index=True, return_inverse=True)
        size = min(CLIMBING, max(1, HESSIAN_NUMBERS // (len(first) * dim**2)))
        for begin in range(0, int(again.sum()), size):
            which = np.flatnonzero(again)[begin : begin + size]
            moved = self.optimised(np.resize(which, size), starts[:, first])[: len(which)]
            starts[which] = moved[:, groups].astype(starts.dtype)
        self.tuning.restart(again)
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

    @property
    def sound(self) -> list[int]:
        """The data sets with which nothing is wrong so far."""
        return [i for i in range(self.size) if i not in self.failed]

    def arguments(self, chains: Chains, start: int, stop: int, fresh: bool = False, thin: int = 1) -> tuple:
        """What the program is called with."""
        words, ids, arrays = self.placed
        return words, self.tuning.leaves, chains, self.rows, ids, Span.of(start, stop, thin, fresh), arrays

    def call(self, chains: Chains, start: int, stop: int, fresh: bool = False, thin: int = 1) -> Chains:
        """All chains from one iteration to another; rows lie in `rows` until the next call."""
        chains, self.rows = jax.block_until_ready(
            self.programs.advance(*self.arguments(chains, start, stop, fresh, thin))
        )
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
        """Leave in `failed` the data sets of which a chain has a log density that is not finite any more."""
        lps = self.joined(chains.state.lp)
        if np.isfinite(lps).all():
            return
        positions = self.joined(chains.state.position)
        for i in self.sound:
            if not np.isfinite(lps[i]).all():
                chain = int(np.flatnonzero(~np.isfinite(lps[i]))[0])
                self.failed[i] = self.not_finite(lps[i, chain], chain, positions[i, chain], iteration)

    def not_finite(self, lp: float, chain: int, position: np.ndarray, iteration: int) -> SamplingError:
        """The error of a chain that came to such a log density."""
        code = Result.INFINITE if np.isposinf(lp) else Result.LOST
        at = self.shared.target.describe(position)
        where = ", ".join(f"{name} = {np.array2string(value, precision=6)}" for name, value in at.items())
        text = f"log_density: chain {chain} reached {lp} at {where} before iteration {iteration} of a data set"
        text = f"{text}; expected a finite log density. {code.remedy}"
        return SamplingError(text, chain=chain, position=at, code=code.code)


def _cost(kernel: Any) -> Any:
    """About how many steps a trajectory has, of kernels that say so."""
    length, step_size = getattr(kernel, "length", None), getattr(kernel, "step_size", None)
    return 0.0 if length is None or step_size is None else length / step_size
