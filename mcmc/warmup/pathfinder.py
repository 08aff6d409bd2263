"""Starts by Pathfinder: draws from normal approximations along L-BFGS paths, of the paths that matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcmc.warmup.blas import one_blas_thread
from mcmc.warmup.climb import Climb
from mcmc.warmup.normal_laws import Best, Normals

JUDGES, DRAWS, ROUNDS = 7, 4, 300
NEGLIGIBLE = 10.0
EVERY_POINT_UP_TO = 50


def pathfinder(starts: np.ndarray, evaluate: Callable, rng: np.random.Generator) -> np.ndarray:
    """Positions (path, dim) in the target's bulk, from starts anywhere: `pathfinders` of one target.

    Args:
        starts: (path, dim), where the log density is finite.
        evaluate: positions (n, dim) to log densities (n,) and gradients (n, dim).
        rng: a generator.
    """

    def alone(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lps, gradients = evaluate(positions[0])
        return lps[None], gradients[None]

    return pathfinders(starts[None], alone, [rng])[0]


def pathfinders(starts: np.ndarray, evaluate: Callable, rngs: list[np.random.Generator]) -> np.ndarray:
    r"""Positions (set, path, dim) in the bulk of the target of each data set, from starts anywhere.

    From each start L-BFGS maximises log π, all paths by the same evaluations. At a point x of its way, with gradient g
    and inverse Hessian H as L-BFGS knows it, N(x + H g, H) is an approximation; the path's is the one with the largest
    E_q[log π − log q]: where the mass is, not at the mode. Paths that end in a mode of mass below e⁻¹⁰ of the best of
    their data set take the approximation of another. Each path gives one draw; where none is finite its start comes
    back.

    Args:
        starts: (set, path, dim), where the log density is finite.
        evaluate: positions (set, n, dim) to log densities (set, n) and gradients (set, n, dim).
        rngs: a generator for each data set.

    Source: Zhang, Carpenter, Gelman & Vehtari 2022; for the line search Lewis & Overton 2013.
    """
    with np.errstate(all="ignore"), one_blas_thread():
        return _draws(starts, approximations(starts, evaluate, rngs), evaluate, rngs)


def approximations(
    starts: np.ndarray, evaluate: Callable, rngs: list[np.random.Generator], rounds: int = ROUNDS
) -> Best:
    """The best normal approximation on the way of every path (set, path, ...), as in `pathfinders`."""
    paths, dim = starts.shape[1:]
    climb = Climb(starts.astype(float), evaluate)
    best = Best(starts, np.stack([rng.standard_normal((paths, JUDGES, dim)) for rng in rngs]))
    waiting, every = None, 1 + dim // EVERY_POINT_UP_TO
    for turn in range(rounds):
        to = climb.next()
        lps, gradients = evaluate(to if waiting is None else np.concatenate([to, best.judges(waiting[1])], 1))
        if waiting:
            best.take(*waiting, lps[:, paths:])
        moved = climb.take(to, lps[:, :paths], gradients[:, :paths])
        if turn % every:
            moved &= climb.done
        waiting = (moved, climb.approximation(moved)) if moved.any() else None
        if climb.done.all():
            break
    if waiting:
        best.take(*waiting, evaluate(best.judges(waiting[1]))[0])
    return best


def reach(dim: int) -> float:
    """How far apart log densities in one bulk may lie: ½ dim and six standard deviations of it for a normal target,
    and 10.
    """
    return 0.5 * dim + 6.0 * (0.5 * dim) ** 0.5 + 10.0


def _draws(starts: np.ndarray, best: Best, evaluate: Callable, rngs: list) -> np.ndarray:
    """A draw a path of its approximation, or of a better path's: its first that lies where those of all paths lie,
    else its highest; where none is finite, its start.
    """
    sets, paths, dim = starts.shape
    good = (best.elbo > best.elbo.max(1, keepdims=True) - NEGLIGIBLE) & np.isfinite(best.elbo)
    at = np.repeat(starts[:, :, None], DRAWS, 2).astype(float)
    for s, rng in enumerate(rngs):
        for path in range(paths if good[s].any() else 0):
            kept = path if good[s, path] else rng.choice(np.flatnonzero(good[s]))
            at[s, path] = Normals(*(part[s, kept] for part in best.laws)).at(rng.standard_normal((DRAWS, dim)))
    lps, gradients = evaluate(at.reshape(sets, -1, dim))
    finite = np.isfinite(lps) & np.isfinite(gradients).all(-1)
    lps = np.where(finite, lps, -np.inf)
    lowest = np.median(lps, 1) - reach(dim)
    lps = lps.reshape(sets, paths, DRAWS)
    near = lps > lowest[:, None, None]
    index = np.where(near.any(2), near.argmax(2), lps.argmax(2))
    chosen = np.take_along_axis(at, index[:, :, None, None], 2)[:, :, 0]
    return np.where(finite.reshape(lps.shape).any(2)[:, :, None], chosen, starts)
