"""Whether a run with discrete parameters missed a part of its target: values of them that no draw has."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.sampling.elsewhere import (
    ENOUGH,
    ROUNDS,
    SHARE,
    by_differences,
    drawn,
    evaluations,
    least_mass,
    most_mass,
)
from mcmc.warmup.normal_laws import Normals
from mcmc.warmup.pathfinder import approximations

MOST_FLIPS, PATHS, MOST_VALUES = 16, 2, 3


def unseen_values(run: Run, state: Progress, posterior: Any, effective: float) -> dict[str, Any] | None:
    r"""A value of a discrete parameter that no draw has, with 1 % of the mass where they are, or more; or None.

    A kernel that changes one value at a time can't reach a value that needs others to change with it. So of each
    parameter that has one value in all draws another is tried, and the continuous ones climb to where they go with it.
    The bounds are those of `elsewhere`; of the draws' discrete values the law r has the marginals.
    """
    if run.layout.processes.count > 1 or not state.chains:
        return None
    at = drawn(run, posterior)
    if at is None or effective < ENOUGH:
        return None
    whole = np.zeros(run.target.dim, bool)
    for leaf in run.target.leaves:
        whole[leaf.start : leaf.stop] = leaf.support.discrete
    sd = at[:, ~whole].std(0) + 1e-300
    with np.errstate(all="ignore"):
        lps = evaluations(run)(at[None])[0][0]
        level = most_mass(lps, sd, int(min(len(at), effective))) + sum(map(_entropy, at[:, whole].T))
        for name, i, value in _tried(run, posterior):
            start = at[:: max(1, len(at) // PATHS)][:PATHS].copy()
            start[:, i] = value
            found = _mass(run, start, whole, sd, level + np.log(SHARE))
            if found is not None:
                share = float(np.exp(min(found - level, 50.0)))
                return {"share": share, "centre": {name: [float(value)]}, "discrete": True}
    return None


def _mass(run: Run, start: np.ndarray, whole: np.ndarray, sd: np.ndarray, enough: float) -> float | None:
    """The log mass, at least, of where the continuous parameters go from here (path, dim); None where not enough."""
    if not np.isfinite(evaluations(run)(start[None])[0]).all():
        return None
    fixed = start[0]

    def evaluate(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.repeat(fixed[None], at.shape[1], 0)
        rows[:, ~whole] = at[0]
        return evaluations(run)(rows[None])

    both, rng = by_differences(evaluate, sd), np.random.default_rng(0)
    best = approximations(np.repeat(fixed[None, None, ~whole], PATHS, 1), both, [rng], ROUNDS)
    path = int(np.argmax(best.elbo[0]))
    if not best.elbo[0, path] + 0.5 * len(sd) * np.log(2 * np.pi) > enough:
        return None
    least = least_mass(Normals(*(part[0, path] for part in best.laws)), both, rng)
    return least if least > enough else None


def _tried(run: Run, posterior: Any) -> list[tuple[str, int, float]]:
    """Other values of discrete parameters that have one value in all draws: label, coordinate, value."""
    found = []
    for leaf in run.target.leaves:
        if not leaf.support.discrete or leaf.name not in posterior:
            continue
        x = np.asarray(posterior[leaf.name])
        flat = x.reshape(x.shape[0] * x.shape[1], -1).astype(float)
        for j in np.flatnonzero((flat == flat[0]).all(0)):
            index = f"[{', '.join(map(str, np.unravel_index(j, leaf.support.shape)))}]" if leaf.support.shape else ""
            found += [
                (leaf.name + index, leaf.start + int(j), v) for v in _others(leaf.support, int(j), float(flat[0, j]))
            ]
    return found[:MOST_FLIPS]


def _others(support: Any, j: int, value: float) -> list[float]:
    """Other values that a discrete parameter may have, the nearest ones."""
    if support.name == "boolean":
        return [1.0 - value]
    ends = [getattr(support, end, None) for end in "ab"]
    low, high = (e if callable(e) or e is None else float(np.broadcast_to(e, support.shape).ravel()[j]) for e in ends)
    near = [value + step for n in range(1, MOST_VALUES) for step in (-n, n)]
    return [v for v in near if not callable(low) and not callable(high)
            and (low is None or v >= low) and (high is None or v <= high)]  # fmt: skip


def _entropy(x: np.ndarray) -> float:
    """The entropy of values."""
    share = np.unique(x, return_counts=True)[1] / len(x)
    return float(-(share * np.log(share)).sum())
