"""The steps of a run: check what was asked, choose the kernel, find starts, warm up, draw, judge."""

from __future__ import annotations

import json
import math
import time
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.engine.between_chunks import Outputs
from mcmc.engine.devices import devices_of, layout_of
from mcmc.engine.memory import check_memory, human
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.processes import Processes
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.engine.sampling_loop import advance
from mcmc.engine.stopping import Converged
from mcmc.errors import MemoryLimitError, WrongValue
from mcmc.kernels.choose import DEFAULT_CHAINS, check_kernel, choose_kernel, cost_of_gradient
from mcmc.kernels.effort import Effort, effort_for, said
from mcmc.kernels.hmc import HMC
from mcmc.kernels.metric import LowRank, affordable
from mcmc.random import keys
from mcmc.random.keys import number_of
from mcmc.sampling.checks import (
    check_columns,
    check_derived,
    check_fingerprint,
    check_last_draw,
    check_resolution,
)
from mcmc.settings import (
    Request,
    as_target,
    chains_in,
    check_count,
    check_geometry,
    check_kept,
    check_optional,
    check_sample_size,
    check_until,
    settings_of,
)
from mcmc.storage import datatree
from mcmc.storage.runs import check_store, init_of, open_store, recorder_of, store_of
from mcmc.target.host_gradient import check_host_gradient
from mcmc.target.proposals import bind
from mcmc.warmup.adaptation import improved_starts, warm_up
from mcmc.warmup.geometry.triangular_map import from_arrays
from mcmc.warmup.starts import find_starts
from mcmc.warmup.tuners import prepare
from mcmc.warmup.walls import prepared_for_walls

if TYPE_CHECKING:
    import xarray


def shown(progress: Any) -> Any:
    """Of several processes the first shows progress."""
    return progress if Processes.here().index == 0 else False


# --- check what was asked, choose the kernel ------------------------------------------------------------------


def plan_of(asked: Request, precision: np.dtype) -> Plan:
    """What was asked for, checked before anything is compiled; a kernel is chosen where none was given."""
    target, kernel = as_target(asked.target, asked.kernel, precision)
    check_optional("lanes", asked.lanes)
    check_optional("chunk", asked.chunk)
    key = keys.run_words(asked.seed)
    traced, kept = check_kept(target.trace(precision), asked.keep, asked.keep_dtype, asked.reduce)
    target.check_outputs(precision)
    check_until(asked.until, asked.draws)
    why, effort, cost = "", None, 0.0
    if kernel is None:
        chains = asked.chains if isinstance(asked.chains, int) else chains_in(target, asked.init)
        kernel, why = choose_kernel(target, traced, precision, chains or DEFAULT_CHAINS)
        cost = cost_of_gradient(target, traced, precision) if isinstance(kernel, HMC) else 0.0
        if asked.chains is None and chains is None and cost:
            effort = effort_for(cost, number_of(asked.draws), asked.until.ess if asked.until else None)
    alone = bool(why) and Processes.here().count == 1
    climbs = asked.until is not None and alone
    settings = settings_of(asked, target, kernel, effort)
    if effort is None and cost and asked.until is None:
        effort = Effort(settings.chains, settings.warmup, settings.chains * settings.draws, cost, asked=True)
    check_kernel(kernel, target, settings.chains)
    return Plan(
        target,
        traced,
        kernel,
        settings,
        key,
        precision,
        kept,
        lanes=asked.lanes,
        devices=devices_of(asked.mesh),
        chunk=asked.chunk,
        init=asked.init,
        until=asked.until,
        reseed=asked.reseed,
        geometry=check_geometry(asked.geometry),
        save_warmup=asked.save_warmup,
        store=check_store(asked.store, asked.save_warmup),
        overwrite=asked.overwrite,
        why=why,
        effort=effort,
        attempts=() if climbs else None,
        may_go_on=alone and asked.draws is None and asked.until is None and not asked.store and kept.most is None,
    )


def continued_plan(asked: Request, saved: datatree.Saved, old: xarray.DataTree, precision: np.dtype) -> Plan:
    """The plan of a saved run that goes on."""
    target, kernel = as_target(asked.target, asked.kernel, precision)
    kernel, until = datatree.restore_kernel(saved, kernel), asked.until
    check_until(until, asked.draws)
    if saved.until and until is None and asked.draws is None and old.attrs["status"] != "complete":
        until = Converged(**saved.until)
    remaining = saved.asked - saved.done if asked.draws is None else asked.draws
    if until is not None:
        remaining = max(remaining, next(until.checks(saved.done)) - saved.done)
    check_count("draws", remaining, 0)
    traced, kept = check_kept(target.trace(precision), *astuple(saved.kept))
    check_columns(target, traced, old, saved)
    return Plan(
        target,
        traced,
        kernel,
        Settings(saved.chains, saved.done + remaining, saved.warmup, saved.thin, saved.superchains),
        saved.key,
        precision,
        kept,
        lanes=saved.lanes,
        devices=devices_of(asked.mesh),
        chunk=asked.chunk,
        init=init_of(saved) if saved.iteration < 0 else None if saved.init == "none" else saved.init,
        until=until,
        reseed=saved.reseed,
        geometry=saved.geometry,
        save_warmup="warmup_posterior" in old.children,
        store=store_of(asked.store),
        tunes=saved.tunes,
        old=old,
        done=saved.done,
        attempts=saved.attempts,
    )


def make_run(plan: Plan) -> Run:
    """The run of a plan: the kernel bound to the target, what tunes it, and a layout of the chains that fits."""
    target, settings = plan.target, plan.settings
    kernel = plan.kernel if plan.old is not None else prepared_for_walls(plan)
    kernel, tuner = prepare(bind(kernel, target, plan.dtype), target.dim, plan.dtype, plan.tunes)
    low_rank = isinstance(getattr(kernel, "metric", None), LowRank)
    if tuner and tuner.tunes_metric is True and low_rank and kernel.needs_gradient:
        kernel = replace(kernel, metric=affordable(kernel.metric, cost_of_gradient(target, plan.traced, plan.dtype)))
    tuner = tuner if settings.warmup else None
    lanes, devices = plan.lanes, plan.devices
    if target.host:  # a black box is called for its own chains only, all in one call
        lanes, devices = lanes or settings.chains, devices[:1]
    numbers, tuned = plan.traced.width + 8, tuner is not None
    layout = layout_of(settings.chains, lanes, numbers, plan.dtype.itemsize, plan.kernel, tuned, devices)
    run = Run(replace(plan, kernel=kernel), tuner, layout)
    _check_memory(run, settings.draws)
    check_sample_size(plan.until, plan.kept, settings.chains)
    return run


def _check_memory(run: Run, draws: int, stored: bool | None = None) -> None:
    """Raise MemoryLimitError where the draws that are held in memory do not fit."""
    plan = run.plan
    stored = plan.store is not None if stored is None else stored
    draws = 1 if stored else min(draws, plan.kept.most or draws)
    dtype = np.dtype(plan.kept.dtype or plan.dtype)
    width, thin = run.traced.width + len(run.statistics), plan.settings.thin
    check_memory(plan.settings.chains, draws, width, dtype.itemsize, str(dtype), thin)


def announce(run: Run, reporter: Reporter) -> None:
    """Begin to show the run."""
    plan, settings = run.plan, run.plan.settings
    name, until = type(plan.kernel).__name__, plan.until
    long = said(plan.effort, len(run.layout.devices)) if plan.effort else ""
    if until is not None:
        most = f"at most {until.most:,} draws each ({plan.dtype})"
        reporter.start(f"{name}, {settings.chains} chains until {until}, {most}")
        return reporter.note(long) if long else None
    total = settings.chains * settings.draws
    size = human(total * (run.traced.width + len(run.statistics)) * plan.dtype.itemsize)
    reporter.start(f"{name}, {settings.chains} chains x {settings.draws} = {total:,} draws ({size}, {plan.dtype})")
    if plan.why:
        reporter.note(f"{name} with {settings.chains} chains, because {plan.why}")
    return reporter.note(long) if long else None


# --- find starts ----------------------------------------------------------------------------------------------


def find_chains(run: Run, reporter: Reporter | None = None) -> Progress:
    """The chains at their starts; how long a black box will take is said."""
    run.starts = find_positions(run)
    if run.has_gradient and run.target.host:
        check_host_gradient(run.target, run.starts)
    run.may_improve = run.plan.init is None and run.has_gradient
    began = run.begin(run.starts)[0]
    if run.target.host and reporter:
        settings = run.plan.settings
        iterations = settings.warmup + settings.draws * settings.thin
        if said := run.target.host.told(iterations, run.has_gradient):
            reporter.note(said)
    return began


def find_positions(run: Run) -> np.ndarray:
    """Where chains start, (chain, dim): log densities, and gradients, are finite there."""
    init, plan = run.plan.init, run.plan

    def finite(positions: np.ndarray) -> np.ndarray:
        return run.begin(positions)[2]

    if hasattr(init, "children"):
        init = datatree.last_draws(init, run.target, len(plan.groups))
    if isinstance(init, np.ndarray):  # positions of earlier settings
        return init
    if not isinstance(init, str):
        exact = plan.settings.warmup == 0 and plan.settings.superchains is None and not run.layout.ensemble
        positions = find_starts(plan.target, init, plan.groups, plan.key, plan.dtype, finite, exact)
        run.given_starts = {} if init is None else plan.target.values_at(positions)
        return positions
    if init != "pathfinder":
        remedy = 'Give starts as {name: value}, or init="pathfinder".'
        raise WrongValue("init", init, 'a dict of starts, an earlier run, None or "pathfinder"', remedy)
    if not run.has_gradient:
        remedy = "Use mcmc.HMC() or mcmc.NUTS(), or leave init out."
        raise WrongValue("init", init, "a kernel that uses gradients, which the climb needs", remedy)
    return improved_starts(run, find_starts(plan.target, None, plan.groups, plan.key, plan.dtype, finite))


def continued_state(run: Run, saved: datatree.Saved) -> Progress:
    """The chains where the saved run left them; at their starts, where it had none."""
    plan = run.plan
    assert plan.old is not None
    run.stopped = "" if plan.settings.draws > saved.done else plan.old.attrs.get("stopped", "")
    if saved.iteration < 0:
        return find_chains(run)
    if layers := from_arrays(saved.arrays):
        run.use(layers, run.programs_under(layers))
    check_last_draw(run, saved)
    check_fingerprint(run, saved)
    check_derived(run, saved)
    run.walls = json.loads(plan.old["run_state"].attrs.get("walls", "{}"))
    run.given_starts = {n: saved.arrays[f"start_{n}"] for n in run.target.names if f"start_{n}" in saved.arrays}
    run.starts, run.may_improve = saved.arrays.get("starts"), "starts" in saved.arrays
    return datatree.restore_progress(saved, run)


# --- warm up, draw, judge -------------------------------------------------------------------------------------


@dataclass
class Drawn:
    """What one run of the engine came to: where its chains are, its draws, whether it is complete."""

    run: Run
    state: Progress
    recorder: Any
    warm: Any
    status: str = "complete"


def warmup_recorder(run: Run, state: Progress) -> Any:
    """What takes the draws of warmup, where they are wanted."""
    return run.recorder(run.plan.settings.warmup) if run.plan.save_warmup and state.iteration == 0 else None


def draw(run: Run, state: Progress, warm: Any, reporter: Reporter) -> Drawn:
    """What is left of warmup, then the draws; Ctrl-C leaves what is complete."""
    plan = run.plan
    recorder = recorder_of(run, plan.settings.draws - plan.done)
    if plan.store:
        recorder.reserve(plan.settings.draws - plan.done)
        recorder.begin(state)
        run.on_adaptation = recorder.mark
    status = "complete"
    try:
        warm_up_checked(run, state, Outputs(reporter, warm))
        _draw(run, state, Outputs(reporter, recorder))
    except KeyboardInterrupt:
        done = max(0, (state.iteration - plan.settings.warmup) // plan.settings.thin)
        if run.layout.processes.count > 1:  # the others are elsewhere: what is committed stays, and resumes
            raise
        if done == 0 and not plan.store and not plan.attempts:
            raise
        recorder.filled, status = done - plan.done, "interrupted"
        reporter.note("interrupted: the draws so far are returned, and mcmc.resume goes on from here")
    return Drawn(run, state, recorder, warm, status)


def warm_up_checked(run: Run, state: Progress, outputs: Outputs) -> None:
    """What is left of warmup, and a check of what the log density resolves where it ended."""
    if state.iteration < run.plan.settings.warmup:
        warm_up(run, state, outputs)
        state.chains = run.programs.place(run.joined(state).state)
        check_resolution(run, state, outputs.reporter)


def _draw(run: Run, state: Progress, outputs: Outputs) -> None:
    """The draws that were asked for, or as many as it takes."""
    settings = run.plan.settings
    if run.plan.until is None:
        advance(run, state, settings.warmup + settings.draws * settings.thin, outputs)
    else:
        run.stopped = _draw_until(run.plan.until, run, state, outputs)


def _ladder(run: Run, until: Converged) -> Any:
    """What decides when other settings are due; None where a kernel was named."""
    if run.plan.attempts is None:
        return None
    from mcmc.ladder.decide import Ladder

    return Ladder(run, until)


def _draw_until(until: Converged, run: Run, state: Progress, outputs: Outputs) -> str:
    """Sample from one check to the next; why it stopped."""
    settings, done, processes = run.plan.settings, run.plan.done, run.layout.processes
    ladder = _ladder(run, until)
    until = ladder.until if ladder else until
    if run.deadline is None:
        run.deadline = time.perf_counter() + (until.max_seconds or math.inf)
    deadline = run.deadline
    outputs.moments, waited = Moments() if processes.count == 1 else None, False
    for draws in ladder.checks(done) if ladder else until.checks(done):
        if full := no_room(run, draws - done):
            outputs.reporter.note(full)
            return "memory"
        outputs.recorder.reserve(draws - done)
        advance(run, state, settings.warmup + draws * settings.thin, outputs, deadline)
        late = processes.first(time.perf_counter() >= deadline)
        moments = outputs.moments
        may_wait = not ladder.decides(draws) if ladder else not waited
        if not late and draws < until.most and may_wait and moments is not None and until.hopeless(moments):
            waited = True
            continue
        waited = False
        groups = datatree.judged(run, outputs.recorder)
        missing = until.missing(groups)
        if ladder and ladder.leaves(groups, state, draws, not missing, late):
            return run.stopped
        if not missing:
            return "converged"
        if late:
            return "max_seconds"
        outputs.reporter.note(f"{done + outputs.recorder.filled:,} draws a chain: {missing[0]}")
    return "max_draws"


def no_room(run: Run, draws: int) -> str:
    """Why a process can't hold so many more draws in memory, or nothing."""
    try:
        _check_memory(run, draws, stored=False)
        full = ""
    except MemoryLimitError as error:
        full = str(error)
    if run.layout.processes.gather(bool(full)).any():
        return full or "another process has no memory for more draws"
    return ""


def stored(done: Drawn) -> xarray.DataTree:
    """The run from its store, all of it committed."""
    assert done.run.plan.store is not None
    done.recorder.mark(done.state, done.status)
    done.recorder.wait()
    if done.status == "complete":
        done.recorder.trim()
    return open_store(done.run.plan.store)


def held(done: Drawn) -> xarray.DataTree:
    """The run from memory."""
    run = done.run
    if run.plan.until is not None and done.status == "complete":  # as many draws were asked for as it took
        settings = replace(run.plan.settings, draws=run.plan.done + done.recorder.filled)
        run.plan = replace(run.plan, settings=settings)
    return datatree.assemble(run, done.state, done.recorder, done.warm, done.status)
