"""Walls that trajectories met in warmup: which parameter ends where, and the support that says so."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from mcmc.engine.labels import labels_of
from mcmc.engine.plan import Plan
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.kernels.hmc import HMC
from mcmc.target import support
from mcmc.target.bijectors import Interval, Lower, Positive, Real, Upper
from mcmc.target.space import Leaf
from mcmc.warmup.geometry.triangular_map import moved
from mcmc.warmup.pooled import ENDS_TO_FIND, LEAST_MET, Pooled, no_ends

TRIED, WIDTHS = 300, (0.3, 2.0, 10.0)
MOST_ENDS, PLACES, BEYOND, HALVINGS, EQUAL = 64, 3, 0.5, 30, 1e-4
BULK, SHARP = (0.05, 0.25), 1.2
ELEMENTWISE = (Real, Positive, Lower, Upper, Interval)


def prepared_for_walls(plan: Plan) -> Any:
    """The kernel of a plan: HMC is to find ends where the log density branches, and is −inf somewhere if it may be.

    Else its program has no reflections, and is smaller and faster.
    """
    kernel, branches = plan.kernel, plan.traced.branches
    if not isinstance(kernel, HMC) or kernel.ends is not None or plan.target.discrete:
        return kernel
    if not branches.others and not (branches.guards and _reaches_infinity(plan)):
        return kernel
    return dataclasses.replace(kernel, ends=ENDS_TO_FIND)


def _reaches_infinity(plan: Plan) -> bool:
    """Whether the log density is −inf at some of a few hundred places, near the origin and far."""
    rng = np.random.default_rng(0)
    places = rng.normal(size=(TRIED, plan.target.dim)) * np.resize(WIDTHS, (TRIED, 1))
    traced, known = plan.traced, plan.traced.fingerprint
    with jax.enable_x64(plan.dtype == np.float64):
        key = ("log density", known, options())
        program = cache_of(plan.target, known).get(key, lambda: jax.jit(jax.vmap(traced.log_density, (None, 0))))
        lps = program(traced.arrays, places.astype(plan.dtype))
    return bool((np.asarray(lps) == -np.inf).any())


def find_walls(run: Run, progress: Progress, rate: np.ndarray) -> dict[str, Any]:
    """The share of steps that turned back at the end of warmup, and the ends of parameters found there.

    Empty where next to none did. `ends` holds the side and place of each, by parameter; `supports` those to declare;
    `other` says whether there are walls that are no end of one parameter.
    """
    if not _met(run, rate):
        return {}
    z = run.joined(progress).state.position
    y = moved(run.layers, (), np.asarray(z, float))
    seen = moved(run.layers, (), np.concatenate([progress.tuning.positions, np.asarray(z, float)]))
    found, other = _ends(run, y, seen)
    if not found and not other:
        return {}
    columns = _by_column(run, found)
    supports = {}
    for leaf in run.target.leaves:
        supports |= _supports(leaf, [columns.get(j, {}) for j in range(leaf.start, leaf.stop)])
    labels = labels_of(run.target, [c for c in run.traced.columns if c.name in run.target.names])
    ends = {labels[j]: sides for j, sides in columns.items()}
    return {"met": float(1.0 - rate[-1]), "ends": ends, "supports": supports, "other": other}


def _met(run: Run, rate: np.ndarray) -> bool:
    """Whether steps met walls, by the rates of HMC or NUTS."""
    return isinstance(run.tuner, Pooled) and np.ndim(rate) == 1 and 1.0 - rate[-1] > LEAST_MET


def reflect_at_ends(run: Run, progress: Progress, rate: np.ndarray, seen: np.ndarray) -> None:
    """HMC is to reflect where coordinates end, by the rows (n, dim) of the last iterations."""
    kernel = run.form.rebuild(progress.leaves)
    if run.layers or getattr(kernel, "ends", None) is None or not run.tuner.tunes_metric or not _met(run, rate):
        return
    found, _ = _ends(run, np.asarray(run.joined(progress).state.position, float), seen)
    ends = no_ends(run.target.dim)
    for (j, sign), place in found.items():
        ends[int(sign > 0), j] = place
    progress.leaves = run.form.leaves_of(dataclasses.replace(kernel, ends=ends.astype(kernel.ends.dtype)))


def _ends(run: Run, y: np.ndarray, seen: np.ndarray) -> tuple[dict[tuple[int, int], float], bool]:
    """Where coordinates end, {(coordinate, sign): place}, by bisection from a few chains; whether others differ.

    A coordinate ends where the log density is −inf beyond the draws, from the same place on at all these chains.
    """
    pairs = [pair for pair in _sharp(seen) for _ in range(PLACES)]
    if not pairs:
        return {}, False
    j, sign = np.array(pairs).T
    chain = np.arange(len(pairs)) * 7 % len(y)
    inside = y[chain, j]
    outside = np.where(sign > 0, seen.max(0)[j], seen.min(0)[j]) + sign * BEYOND * seen.std(0)[j]
    wall = _infinite(run, y[chain], j, outside).reshape(-1, PLACES).all(1).repeat(PLACES)
    j, sign, chain, inside, outside = (a[wall] for a in (j, sign, chain, inside, outside))
    for _ in range(HALVINGS if wall.any() else 0):
        middle = 0.5 * (inside + outside)
        beyond = _infinite(run, y[chain], j, middle)
        inside, outside = np.where(beyond, inside, middle), np.where(beyond, middle, outside)
    found, other = {}, False
    for at in range(0, len(j), PLACES):
        part, column = slice(at, at + PLACES), int(j[at])
        if np.ptp(inside[part]) > EQUAL * seen[:, column].std():
            other = True
            continue
        found[column, int(sign[at])] = _simplest(inside[part].mean(), outside[part].mean())
    return found, other


def _sharp(seen: np.ndarray) -> list[tuple[int, int]]:
    """Coordinates and sides where the rows (row, dim) do not thin out, sharpest first: less than a normal law's do."""
    found = []
    for sign in (-1, 1):
        first, second, end = np.quantile(sign * seen, (1 - BULK[0], 1 - BULK[1], 1.0), axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (end - first) / (first - second)
        found += [(ratio[j], int(j), sign) for j in np.flatnonzero(ratio < SHARP)]
    return [(j, sign) for _, j, sign in sorted(found)[:MOST_ENDS]]


def _infinite(run: Run, y: np.ndarray, j: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Whether the log density is −inf at these positions (n, dim) with coordinate j set to a value."""
    y = y.copy()
    y[np.arange(len(y)), j] = value
    n, found = run.layout.chains, []
    for at in range(0, len(y), n):
        part = y[at : at + n]
        padded = moved((), run.layers, np.resize(part, (n, y.shape[1])))
        found.append(run.begin(padded.astype(run.plan.dtype))[1][: len(part)])
    return np.concatenate(found) == -np.inf


def _simplest(one: float, other: float) -> float:
    """The number of fewest digits between two, or next to them."""
    middle, width = 0.5 * (one + other), abs(one - other) + 1e-12
    return next((round(middle, n) for n in range(15) if abs(round(middle, n) - middle) <= width), middle) + 0.0


def _by_column(run: Run, found: dict[tuple[int, int], float]) -> dict[int, dict[str, float]]:
    """The ends in the parameters themselves, {column: {"low" or "high": place}}, of those that are taken one by one."""
    ends: dict[int, dict[str, float]] = {}
    middle = np.zeros(run.target.dim)
    for (j, sign), place in sorted(found.items()):
        leaf = next(leaf for leaf in run.target.leaves if leaf.start <= j < leaf.stop)
        if not isinstance(leaf.support, ELEMENTWISE) or leaf.depends:
            continue
        at = middle.copy()
        at[j] = place
        value = float(run.target.describe(at)[leaf.name].ravel()[j - leaf.start])
        value = place if isinstance(leaf.support, Real) else float(f"{value:.6g}")
        ends.setdefault(j, {})["low" if sign < 0 else "high"] = value
    return ends


def _supports(leaf: Leaf, ends: list[dict[str, float]]) -> dict[str, str]:
    """The call that declares these ends of a parameter's elements, besides those that it has; none of none."""
    if not any(ends):
        return {}
    bounds = []
    for side, own, none in (("low", "a", -np.inf), ("high", "b", np.inf)):
        start = getattr(leaf.support, own, None)
        start = np.broadcast_to(none if start is None else start, leaf.support.shape).ravel()
        bounds.append(np.array([e.get(side, s) for e, s in zip(ends, start, strict=True)]))
    low, high = (float(b[0]) if (b == b[0]).all() else None for b in bounds)
    if low is None or high is None:
        return {leaf.name: "bounds of their own for its elements, in parameters of their own or as arrays"}
    shape = leaf.support.shape
    if low == 0 and high == np.inf:
        made = support.positive(shape=shape)
    elif high == np.inf:
        made = support.lower(low, shape=shape)
    elif low == -np.inf:
        made = support.upper(high, shape=shape)
    else:
        made = support.interval(low, high, shape=shape)
    return {leaf.name: f"mcmc.{made!r}"}
