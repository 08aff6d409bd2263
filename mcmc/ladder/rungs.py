"""What to try next: which kernel, from where, and the run that does it."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.engine.stopping import FIRST_CHECK
from mcmc.kernels.choose import choose_kernel
from mcmc.kernels.multiscale import Multiscale
from mcmc.kernels.nuts import NUTS
from mcmc.kernels.tempered import Tempered
from mcmc.ladder.findings import Finding
from mcmc.storage.saved_kernel import full_name, specification
from mcmc.warmup.adaptation import improved_starts
from mcmc.warmup.geometry.text import describe
from mcmc.warmup.geometry.triangular_map import moved
from mcmc.warmup.lost_chains import lost_chains
from mcmc.warmup.pathfinder import reach
from mcmc.warmup.value_and_grad import ValueAndGrad

FEW_DIMENSIONS, FEW_TEMPERATURES, MANY_TEMPERATURES = 4, 8, 16
LONGER = 2  # times the first warmup: that of every later step
MOST_CLIMBS, MOST_CLIMBS_ON, PATIENCE = 2, 10, 2
REACH = 1.5  # the reference scale of tempering, in root mean squares of what was drawn


def spent(run: Run) -> int:
    """Draws a chain of the settings that were left."""
    return sum(int(attempt["draws"]) for attempt in run.plan.attempts or ())


def next_kernel(run: Run, finding: Finding) -> tuple[Any, str] | None:
    """The kernel of the next step, unbound, and the step in words; None where all has been tried."""
    plan = run.plan
    first = choose_kernel(plan.target, run.target_traced, plan.dtype, plan.settings.chains)[0]
    tried = [attempt["kernel"] for attempt in plan.attempts or ()] + [full_name(specification(run.kernel))]
    if finding.kind == "modes":
        lost = int(_lost(finding).sum())
        if lost and not any("far below" in attempt["then"] for attempt in plan.attempts or ()):
            return first, f"{lost} chains far below start again from the others"
        return _tempered(run, tried)
    if finding.kind == "higher" or len(tried) == 1:
        return first, "warm up again from there"
    for kernel in (Multiscale(), NUTS()) if run.has_gradient else ():
        if type(kernel).__name__ not in tried and not plan.target.discrete:
            return kernel, f"{type(kernel).__name__} instead"
    return None


def _lost(finding: Finding) -> np.ndarray:
    """Chains so far below the others that where they sit has no mass worth counting."""
    return lost_chains(finding.levels) if finding.levels is not None else np.zeros(1, bool)


def _tempered(run: Run, tried: list[str]) -> tuple[Any, str] | None:
    if run.target.discrete or run.layout.ensemble:
        return None
    count = FEW_TEMPERATURES if run.target.dim <= FEW_DIMENSIONS else MANY_TEMPERATURES
    for temperatures in (count, 2 * count):
        if not any(name.startswith("Tempered") and name.endswith(f"={temperatures})") for name in tried):
            return Tempered(temperatures=temperatures), f"Tempered with {temperatures} temperatures"
    return None


def next_run_plan(run: Run, state: Progress, finding: Finding, kernel: Any, step: str) -> Any:
    """The plan of the next step: from where chains are, one place a superchain, with a key of its own."""
    plan, settings = run.plan, run.plan.settings
    positions = moved(run.layers, (), _joined(run, state)[0]) if finding.starts is None else finding.starts
    lost = _lost(finding)
    if lost.any():
        positions = positions[np.where(lost, np.resize(np.flatnonzero(~lost), len(lost)), np.arange(len(lost)))]
    _, first = np.unique(plan.groups, return_index=True)
    if isinstance(kernel, Tempered):
        scale = REACH * np.sqrt((positions**2).mean(0)) + positions.std(0)
        kernel = replace(kernel, reference_scale=np.maximum(scale, 1e-6))
    draws = int((state.iteration - settings.warmup) // settings.thin)
    left = {
        "kernel": full_name(specification(run.kernel)),
        "geometry": describe(run.layers, run.target),
        "draws": draws,
        "seen": finding.seen,
        "then": step,
        "seed": " ".join(map(str, np.asarray(plan.key))),
    }
    attempts = (*(plan.attempts or ()), left)
    warmup = settings.warmup if plan.attempts else LONGER * settings.warmup
    key = np.random.SeedSequence([*map(int, plan.key), len(attempts)]).generate_state(2, np.uint32)
    return replace(
        plan,
        kernel=kernel,
        traced=run.target_traced,
        settings=replace(settings, draws=FIRST_CHECK, warmup=warmup),
        key=key,
        init=positions[first][np.unique(plan.groups, return_inverse=True)[1]].astype(plan.dtype),
        attempts=attempts,
        why="",
        tunes=None,
        old=None,
        done=0,
    )


def higher_part(run: Run, state: Progress) -> Finding | None:
    """A part of much higher log density that no chain entered, by climbing from the chains, again and again."""
    if not run.has_gradient or sum("higher" in a["seen"] for a in run.plan.attempts or ()) >= MOST_CLIMBS:
        return None
    plain = copy.copy(run)  # without the map, which was found where the chains are
    plain.use((), run.programs_under(()))
    evaluate = ValueAndGrad(plain.plan, plain.layout, plain.programs.arrays, plain.timings)
    z = moved(run.layers, (), _joined(run, state)[0])
    now = best = float(np.median(evaluate(z)[0]))
    at, idle = z, 0
    for _ in range(MOST_CLIMBS_ON):
        at = improved_starts(plain, at)  # a path may end on its way along a narrow ridge
        lp = float(np.median(evaluate(at)[0]))
        idle = 0 if lp > best + reach(run.target.dim) else idle + 1
        if idle == PATIENCE:
            break
        z, best = (at, lp) if idle == 0 else (z, best)
    if best == now:
        return None
    where = f"chains are at log density {now:.5g}, and climbing finds {best:.5g}, much higher"
    seen = f"a part was never entered: {where}"
    return Finding("higher", seen, starts=z.astype(float))


def improper_direction(run: Run, state: Progress) -> str:
    """Along which direction the log density falls too slowly to have an integral; empty where none was found.

    A density that falls along a line no faster than 1/distance has no finite integral along it. Lines through all
    chains are tried: the coordinates, and the directions in which the chains spread most.
    """
    z, gradients = _joined(run, state)
    centred = z - np.median(z, 0)
    middle = np.median(np.abs(centred), 0)  # the sd of heavy tails is that of a few chains
    scale = np.maximum(np.where(middle > 0, middle, centred.std(0)), 1e-12)
    directions = [*np.diag(scale)[:100], scale * np.linalg.svd(centred / scale, full_matrices=False)[2][0]]
    if gradients is not None:  # where the density does not change at all
        few = len(gradients) < gradients.shape[1]  # of many chains the other matrix would be as large as their square
        directions.append(scale * np.linalg.svd(gradients * scale, full_matrices=few)[2][-1])
    start = run.log_densities(state.chains)
    for direction in directions:
        for side in (1.0, -1.0):
            lp = [start, *(run.begin(z + side * k * direction)[1] for k in (30.0, 1000.0))]
            with np.errstate(invalid="ignore"):
                fall = [np.median(b - a) for a, b in itertools.pairwise(lp)]
            if np.isfinite(fall).all() and fall[0] > -0.9 * np.log(30) and fall[1] > -0.9 * np.log(1000 / 30):
                return _named(run, direction)
    return ""


def _named(run: Run, direction: np.ndarray) -> str:
    """The parameters in which a direction runs."""
    names = []
    for leaf in run.target.leaves:
        size = leaf.stop - leaf.start
        names += [f"{leaf.name}[{i}]" for i in range(size)] if size > 1 else [leaf.name]
    large = np.flatnonzero(np.abs(direction) > 0.3 * np.abs(direction).max())
    return ", ".join(names[i] for i in large[:4]) + (" and more" if len(large) > 4 else "")


def _joined(run: Run, state: Progress) -> tuple[np.ndarray, np.ndarray | None]:
    """Where the kernel has all chains (chain, dim), and the gradients there where it uses them."""
    states = [c.state for c in state.chains]
    gradients = run.layout.join([s.gradient for s in states]).astype(float) if run.has_gradient else None
    return run.layout.join([s.position for s in states]).astype(float), gradients
