"""The warmup loop: adaptation steps of a kernel's tuner, chains that got lost, and better starts by Pathfinder."""

from __future__ import annotations

import time

import numpy as np

from mcmc.engine.between_chunks import Monitor, Outputs
from mcmc.engine.loop import Chains, Span
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.engine.sampling_loop import advance, call_chunk
from mcmc.warmup.geometry.refit import can_map, refit
from mcmc.warmup.geometry.text import describe
from mcmc.warmup.geometry.triangular_map import moved
from mcmc.warmup.lost_chains import lost_chains, reseeded
from mcmc.warmup.pathfinder import pathfinder, reach
from mcmc.warmup.pooled import Pooled
from mcmc.warmup.value_and_grad import ValueAndGrad
from mcmc.warmup.walls import find_walls, reflect_at_ends

EARLY = 0.1


def warm_up(run: Run, progress: Progress, outputs: Outputs) -> None:
    """The rest of warmup: with a tuner, from one of its adaptation steps to the next."""
    warmup = run.plan.settings.warmup
    if run.tuner is None:
        return advance(run, progress, warmup, outputs)
    monitor, compiled = Monitor(run, outputs, progress.iteration, warmup), run.timings.compile_time
    try:
        while progress.iteration < warmup:
            adaptation_step(run, progress, _next_stop(run, progress), monitor)
        if run.layers:
            outputs.reporter.note(f"geometry found: {describe(run.layers, run.target)}")
    finally:
        run.timings.warmup_time += time.perf_counter() - monitor.began - (run.timings.compile_time - compiled)


def _next_stop(run: Run, progress: Progress) -> int:
    """Where the next adaptation step is due: after better starts, and in a new map, as often as at the beginning."""
    warmup = run.plan.settings.warmup
    stops, now = run.tuner.steps(warmup), progress.iteration
    spans = []
    if progress.improved:
        restart = next(t for t in stops if t >= EARLY * warmup)
        spans.append((restart, 2 * restart))
    if now < (until := getattr(progress.tuning, "settled", 0)):
        spans.append((max(t for t in run.tuner.windows(warmup) if t < until), until))
    again = {begin + t for begin, end in spans for t in stops if begin + t < end}
    return min(t for t in {*stops, *again} if t > now)


def adaptation_step(run: Run, progress: Progress, stop: int, monitor: Monitor) -> None:
    """Iterate until `stop`, tune the kernel from what all chains did, and look after chains that got lost."""
    warmup, reporter = run.plan.settings.warmup, monitor.outputs.reporter
    n = stop - progress.iteration
    chains = call_chunk(run, progress, stop, 1, monitor)
    lost = lost_chains(run.log_densities(chains))
    rate = _rate(run, chains, n, ~lost)
    if not (
        run.may_improve and EARLY * warmup <= stop < warmup // 2 and _restart(run, progress, chains, stop, reporter)
    ):
        trail = _trail(run, n, ~lost)
        _tune(run, progress, chains, stop, rate, trail)
        if stop in run.tuner.windows(warmup):
            reflect_at_ends(run, progress, rate, trail[0])
    if stop >= warmup // 2:
        _treat_lost(run, progress, lost, reporter)
    if stop == warmup:
        run.walls = find_walls(run, progress, rate)
    monitor.report(progress, rate, None)
    run.on_adaptation(progress)


def improved_starts(run: Run, positions: np.ndarray) -> np.ndarray:
    """These positions (chain, dim) moved to the bulk, one of each group of chains that shares a start."""
    _, first, groups = np.unique(run.plan.groups, return_index=True, return_inverse=True)
    rng = np.random.default_rng([*map(int, run.plan.key), len(first)])
    evaluate = ValueAndGrad(run.plan, run.layout, run.programs.arrays, run.timings)
    moved = pathfinder(positions[first].astype(float), evaluate, rng)[groups].astype(run.plan.dtype)
    return run.layout.processes.first(moved)


def _tune(run: Run, progress: Progress, chains: list[Chains], stop: int, rate: np.ndarray, trail: tuple) -> None:
    """The kernel for the iterations after `stop`: what the tuner makes of rates, positions and gradients."""
    in_order = _in_order(run, stop - progress.iteration, trail[0])
    kernel, warmup, tuning = run.form.rebuild(progress.leaves), run.plan.settings.warmup, progress.tuning
    new = refit(run, tuning, kernel, stop, trail) if can_map(run, stop) else None
    if new is not None:  # rates were those of another map: they count as if they were on target
        tuning, kernel, trail = new.tuning, new.kernel, (trail[0][:0], trail[1][:0])
        rate = np.resize([kernel.target_rate(run.target.dim), 0.0, 1.0, 1.0], rate.shape)
    tuning, kernel = run.tuner.adjust(tuning, kernel, stop, warmup, rate, *trail)
    if new is None and isinstance(run.tuner, Pooled):
        tuning, kernel = run.tuner.lengthened(tuning, kernel, stop, warmup, in_order)
    leaves, tuning = run.layout.processes.first((run.form.leaves_of(kernel), tuning))
    if new is not None:
        programs = run.programs_under(new.layers)
        z = moved(run.layers, new.layers, run.layout.join([c.state.position for c in chains]).astype(float))
        chains = programs.call(leaves, programs.blank(z), Span.of(0, 0, fresh=True))
        run.use(new.layers, programs)
    progress.leaves, progress.tuning, progress.chains, progress.iteration = leaves, tuning, chains, stop


def _restart(run: Run, progress: Progress, chains: list[Chains], stop: int, reporter: Reporter) -> bool:
    """After 10 % of warmup: where chains are in different modes, better starts, and tuning anew."""
    run.may_improve = False
    if np.ptp(run.log_densities(chains)) <= reach(run.target.dim):
        return False
    assert run.starts is not None
    starts = improved_starts(run, run.starts)
    reporter.note("log densities of the chains are far apart: they start again, optimised by Pathfinder")
    progress.chains = run.fresh(starts)
    progress.leaves, progress.tuning = run.form.start, run.start_tuning
    progress.improved, progress.iteration = not np.array_equal(starts, run.starts), stop
    return True


def _treat_lost(run: Run, progress: Progress, lost: np.ndarray, reporter: Reporter) -> None:
    """In the second half of warmup: lost chains start again from others where asked, and are reported at its end."""
    reseed = run.plan.reseed
    if reseed and lost.any():
        state = reseeded(run.joined(progress).state, lost, [*map(int, run.plan.key), progress.iteration])
        progress.chains = run.programs.place(state)
        progress.reseeded |= set(np.flatnonzero(lost).tolist())
    if progress.iteration < run.plan.settings.warmup:
        return
    progress.lost = [] if reseed else np.flatnonzero(lost).tolist()
    if progress.lost:
        which = f"chain {progress.lost[0]}" if len(progress.lost) == 1 else f"{len(progress.lost)} chains"
        reporter.note(f"{which} got stuck far below the others in warmup; reseed=True starts such chains from them")
    elif progress.reseeded:
        reporter.note(f"{len(progress.reseeded)} chains got stuck far below the others and were started from them")


def _rate(run: Run, chains: list[Chains], n: int, among: np.ndarray) -> np.ndarray:
    """The mean acceptance rate of the last `n` iterations: a number, or one a part of the kernel."""
    return np.mean(run.layout.join([c.rate for c in chains])[among], 0, dtype=np.float64) / n


def _in_order(run: Run, n: int, positions: np.ndarray) -> np.ndarray:
    """The positions of `_trail` as (chain, iteration, dim), the first of the last `n` iterations first."""
    held = min(n, run.layout.trail)
    return np.roll(positions.reshape(-1, held, positions.shape[1]), -(n % held), 1)


def _trail(run: Run, n: int, among: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions and gradients (or None) of the last iterations (row, dim), in copies: rows are given away.

    Chains that share a start are neighbours.
    """
    order = np.argsort(run.plan.groups, kind="stable")
    order = order[among[order]]
    rows = run.layout.join([rows.trail for rows in run.programs.rows])[order, : min(n, run.layout.trail)]
    seen, dim = np.array(rows, np.float64).reshape(-1, run.programs.seen), run.target.dim
    return seen[:, :dim], seen[:, dim:] if run.has_gradient else None
