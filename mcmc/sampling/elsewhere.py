"""Whether a run that looks good missed a part of its target: climbs from far outside the draws, and what they find."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.sampling.places import REACH, positions
from mcmc.target.bijectors import Real
from mcmc.warmup.geometry.triangular_map import moved
from mcmc.warmup.normal_laws import Normals
from mcmc.warmup.pathfinder import approximations
from mcmc.warmup.starts import unconstrained

PATHS, ROUNDS, LARGEST, FEW_DIMENSIONS, ENOUGH, MOST_ROWS = 8, 40, 500, 32, 16, 4096
WIDTHS = (8.0, 32.0, 128.0, 512.0)
"""Distances of the climbs' starts, in sds of the chains, each in two directions."""
CONFIRMED, SHARE, ERRORS = 64, 0.01, 3.0
APART = 6.0
STEP = 1e-5
"""Of a difference, in sds of the chains."""


def elsewhere(run: Run, state: Progress, posterior: Any, effective: float) -> dict[str, Any] | None:
    r"""A place outside the draws with 1 % of the mass where they are, or more, that a few climbs found; or None.

    Of a normal law q there, E_q[log π − log q] is at most the log mass. Of the chains' positions, with a normal law r
    of their means and sds, E[log π − log r] is at least the log mass of where the chains are. A place is told only
    where the first, less its errors, comes to a share of the second: no wide or heavy tail, and no dense point, is one.
    `effective` is how many of the draws count; the more, the closer is the bound in many dimensions.
    """
    dim, chains = run.target.dim, run.plan.settings.chains
    if run.layout.processes.count > 1 or not state.chains:
        return None
    at = drawn(run, posterior) if chains < ENOUGH or dim > FEW_DIMENSIONS else None
    if at is None and chains >= ENOUGH:
        at = np.asarray(run.joined(state).state.position, float)
    if at is None or effective < ENOUGH:
        return None
    centre, sd, rng = at.mean(0), at.std(0) + 1e-300, np.random.default_rng(0)
    with np.errstate(all="ignore"):
        evaluate = evaluations(run) if run.has_gradient else by_differences(evaluations(run), sd)
        level = most_mass(evaluate(at[None])[0][0], sd, int(min(len(at), effective)))
        starts = centre + np.repeat(WIDTHS, 2)[:, None] * sd * _directions(rng, dim)
        lps, _ = evaluate(starts[None])
        starts = np.where(np.isfinite(lps[0])[:, None], starts, at[:PATHS])
        best = approximations(starts[None], evaluate, [rng], ROUNDS)
        held = best.elbo[0] + 0.5 * dim * np.log(2 * np.pi)
        apart = _apart(best.laws, at)[0] & (held > level + np.log(SHARE))
        if not apart.any():
            return None
        path = int(np.argmax(np.where(apart, held, -np.inf)))
        law = Normals(*(part[0, path] for part in best.laws))
        least = least_mass(law, evaluate, rng)
    there = moved(run.layers, (), law.mean[None])[0]
    if not least > level + np.log(SHARE) or not _outside(run, there, posterior):
        return None
    here = positions(run, state)
    spread = REACH * np.sqrt(np.maximum(there**2, (here**2).mean(0))) + here.std(0)
    return {
        "share": float(np.exp(min(least - level, 50.0))),
        "centre": {
            name: np.ravel(value).astype(float).tolist()[:3] for name, value in run.target.describe(there).items()
        },
        "spread": [float(f"{s:.2g}") for s in spread],
    }


def not_sought(run: Run) -> str:
    """Why no other place is sought, in words; empty where one is.

    A black box may take hours, or raise, where no chain would go: it is not called for a verdict.
    """
    if run.target.host is not None:
        return "a black box is not called for a verdict: start chains far apart with init="
    if run.target.discrete:
        kinds = [leaf.support.discrete for leaf in run.target.leaves]
        if all(kinds) or run.target.dim > FEW_DIMENSIONS or run.layers or run.plan.dtype != np.float64:
            return f"of discrete parameters, takes continuous ones beside them, {FEW_DIMENSIONS} in all, and float64"
        return ""
    if run.target.dim > LARGEST:
        return f"climbs from far outside see little in more than {LARGEST:,} dimensions"
    if not run.has_gradient and (run.target.dim > FEW_DIMENSIONS or run.plan.dtype != np.float64):
        return f"without gradients, takes float64 and at most {FEW_DIMENSIONS} dimensions"
    return ""


def drawn(run: Run, posterior: Any) -> np.ndarray | None:
    """Draws of all chains as the kernel's positions (n, dim), n by their dimension; None where they can't be had."""
    n = min(CONFIRMED * 2 ** max(0, (run.target.dim - 1).bit_length() - 3), MOST_ROWS)
    if not {leaf.name for leaf in run.target.leaves} <= set(map(str, posterior.data_vars)):
        return None
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    rows = np.unravel_index(np.linspace(0, shape[0] * shape[1] - 1, n).astype(int), shape)
    values = {leaf: np.asarray(posterior[leaf.name])[rows] for leaf in run.target.leaves}
    if all(isinstance(leaf.support, Real) for leaf in run.target.leaves):  # positions are values: no program
        plain = np.concatenate([value.reshape(n, -1) for value in values.values()], 1)
        return moved((), run.layers, plain.astype(float))
    try:
        return moved((), run.layers, unconstrained(run.target, values, n, run.plan.dtype))
    except ValueError:  # a value that lies on its bound, to rounding
        return None


def _directions(rng: np.random.Generator, dim: int) -> np.ndarray:
    """Pairs of opposite directions (PATHS, dim), of length 1 a coordinate."""
    half = rng.standard_normal((PATHS // 2, dim))
    half /= np.sqrt((half**2).mean(1, keepdims=True))
    return np.stack([half, -half], 1).reshape(PATHS, dim)


def evaluations(run: Run) -> Any:
    """Log densities and gradients of positions (1, n, dim), as many at once as there are chains."""
    chains, dtype = run.plan.settings.chains, run.plan.dtype

    def evaluate(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at, lps, gradients = at[0], [], []
        for i in range(0, len(at), chains):
            part = at[i : i + chains]
            rows = np.concatenate([part, np.repeat(part[:1], chains - len(part), 0)]).astype(dtype)
            made = run.joined(run.begin(rows)[0]).state
            lps.append(np.asarray(made.lp, float)[: len(part)])
            slopes = made.gradient if run.has_gradient else np.full(rows.shape, np.nan)
            gradients.append(np.asarray(slopes, float)[: len(part)])
        return np.concatenate(lps)[None], np.concatenate(gradients)[None]

    return evaluate


def by_differences(evaluate: Any, sd: np.ndarray) -> Any:
    """The same, of a kernel without gradients: the slopes by differences, so many as there are dimensions."""
    steps = np.diag(STEP * sd)

    def both(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        around = np.concatenate([at[0][:, None], at[0][:, None] + steps], 1)
        lps = evaluate(around.reshape(1, -1, len(sd)))[0].reshape(around.shape[:2])
        return lps[None, :, 0], ((lps[:, 1:] - lps[:, :1]) / np.diag(steps))[None]

    return both


def most_mass(lps: np.ndarray, sd: np.ndarray, n: int) -> float:
    """An upper bound of the log mass where the chains are, three errors up; n positions told mean and sds."""
    dim = len(sd)
    quadratic = 0.5 * dim * (n + 1) / (n - 3) + dim / n
    return float(
        lps.mean() + ERRORS * lps.std() / n**0.5 + np.log(sd).sum() + 0.5 * dim * np.log(2 * np.pi) + quadratic
    )


def least_mass(law: Normals, evaluate: Any, rng: np.random.Generator) -> float:
    """A lower bound of the log mass where a law is, three errors down, by draws of it that did not choose it."""
    z = rng.standard_normal((CONFIRMED, law.mean.shape[-1]))
    logs = evaluate(law.at(z)[None])[0][0] + 0.5 * (z**2).sum(1)
    known = float(law.log_sizes) + 0.5 * law.mean.shape[-1] * np.log(2 * np.pi)
    return float(logs.mean() - ERRORS * logs.std() / CONFIRMED**0.5 + known) if np.isfinite(logs).all() else -np.inf


def _apart(laws: Normals, at: np.ndarray) -> np.ndarray:
    """Which laws (set, path) lie beyond the chains in some coordinate, by six sds of theirs and two of its own."""
    outside = np.exp(laws.size)[..., None] ** 2 * (1 - (laws.basis**2).sum(-1))
    sd = np.sqrt(np.maximum(outside, 0) + ((laws.basis @ laws.inside) ** 2).sum(-1))
    beyond = np.abs(laws.mean - at.mean(0)) - 2 * sd
    return (beyond > APART * at.std(0)).any(-1)


def _outside(run: Run, there: np.ndarray, posterior: Any) -> bool:
    """Whether no draw has such a value of some parameter."""
    for name, value in run.target.describe(there).items():
        if name in posterior:
            drawn = posterior[name]
            low, high = (np.asarray(getattr(drawn, end)(("chain", "draw"))) for end in ("min", "max"))
            if ((value < low) | (value > high)).any():
                return True
    return False
