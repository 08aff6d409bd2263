"""Starts by Pathfinder: draws from normal approximations on an optimiser's ways uphill, of the ways that matter."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

PAIRS, DRAWS, POINTS, ITERATIONS = 6, 8, 12, 300
POINT_NUMBERS = 1200
NEAR, NEGLIGIBLE, HUGE = 1e-12, 10.0, 1e300


class Normal(NamedTuple):
    """A normal approximation N(mean, F Fᵀ) of a target, and its E[log π − log q]."""

    mean: np.ndarray
    factor: np.ndarray
    elbo: float


def pathfinder(starts: np.ndarray, evaluate: Callable, rng: np.random.Generator) -> np.ndarray:
    r"""Positions (path, dim) in the target's bulk, from starts anywhere.

    From each start L-BFGS maximises log π. At a point x of its way, with gradient g and inverse Hessian H as L-BFGS
    knows it, N(x + H g, H) is an approximation; the path's is the one with the largest E_q[log π − log q]: where the
    mass is, not at the mode. Paths that end in a mode of mass below e⁻¹⁰ of the best take the approximation of another.
    Each path gives one draw; where none is finite its start comes back.

    Args:
        starts: (path, dim), where the log density is finite.
        evaluate: positions (n, dim) to log densities (n,) and gradients (n, dim).
        rng: a generator.

    Source: Zhang, Carpenter, Gelman & Vehtari 2022.
    """
    found = [_best(way, evaluate, rng) for way in _climb(starts, evaluate)]
    top = max((normal.elbo for normal in found if normal), default=-np.inf)
    good = [normal for normal in found if normal and normal.elbo > top - NEGLIGIBLE]
    if not good:
        return starts
    ends = np.array(starts, float)
    for path, normal in enumerate(found):
        kept = normal if normal and normal.elbo > top - NEGLIGIBLE else good[rng.integers(len(good))]
        draws = kept.mean + rng.standard_normal((DRAWS, starts.shape[1])) @ kept.factor.T
        lps, gradients = evaluate(draws)
        finite = np.isfinite(lps) & np.isfinite(gradients).all(1)
        if finite.any():
            ends[path] = draws[np.argmax(finite)]
    return ends


class _Together:
    """Calls from several threads as one: `serve`, in the thread that made it, evaluates for all that still run."""

    def __init__(self, evaluate: Callable, starts: np.ndarray):
        self.evaluate, self.rows = evaluate, np.array(starts, float)
        self.running, self.waiting, self.turn, self.failed = len(starts), 0, 0, False
        self.changed = threading.Condition()

    def __call__(self, path: int, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log density and gradient at the position of one path."""
        with self.changed:
            self.rows[path] = y
            self.waiting, turn = self.waiting + 1, self.turn
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.turn > turn or self.failed)
            if self.failed:
                raise StopIteration
            lps, gradients = self.results
            return lps[path], gradients[path]

    def leave(self) -> None:
        """One path is done."""
        with self.changed:
            self.running -= 1
            self.changed.notify_all()

    def serve(self) -> None:
        """Evaluate whenever all that still run have called, until none is left."""
        with self.changed:
            try:
                while True:
                    self.changed.wait_for(lambda: self.waiting == self.running)
                    if not self.running:
                        return
                    self.results = self.evaluate(self.rows)
                    self.waiting, self.turn = 0, self.turn + 1
                    self.changed.notify_all()
            except BaseException:
                self.failed = True
                self.changed.notify_all()
                raise


def _climb(starts: np.ndarray, evaluate: Callable) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Positions and gradients on the way of L-BFGS from each start to a mode."""
    together = _Together(evaluate, starts)

    def one(path: int) -> list[tuple[np.ndarray, np.ndarray]]:
        try:
            return _way(starts[path], lambda y: together(path, y))
        finally:
            together.leave()

    with ThreadPoolExecutor(len(starts)) as pool:
        ways = [pool.submit(one, path) for path in range(len(starts))]
        together.serve()
        return [way.result() for way in ways]


def _way(start: np.ndarray, value_and_grad: Callable) -> list[tuple[np.ndarray, np.ndarray]]:
    from scipy.optimize import minimize

    seen: dict[bytes, np.ndarray] = {}
    way = [start]

    def negative(y: np.ndarray) -> tuple[float, np.ndarray]:
        lp, gradient = value_and_grad(y)
        seen[y.tobytes()] = gradient
        good = np.isfinite(lp) and np.isfinite(gradient).all()
        return (-float(lp), -gradient) if good else (HUGE, np.zeros_like(y))

    options = {"maxiter": ITERATIONS, "maxcor": PAIRS}
    minimize(negative, start, jac=True, method="L-BFGS-B", callback=lambda y: way.append(y.copy()), options=options)
    return [(y, seen[y.tobytes()]) for y in way if y.tobytes() in seen]


def _best(way: list[tuple[np.ndarray, np.ndarray]], evaluate: Callable, rng: np.random.Generator) -> Normal | None:
    """The best normal approximation at points of a way, or none."""
    places = list(_approximations(way))
    if not places:
        return None
    z = rng.standard_normal((DRAWS, way[0][0].size))
    draws = np.concatenate([mean + z @ factor.T for mean, factor in places])
    lps = np.nan_to_num(evaluate(draws)[0], nan=-np.inf, posinf=-np.inf).reshape(len(places), DRAWS)
    sizes = np.array([np.sum(np.log(np.diag(factor))) for _, factor in places])
    elbos = lps.mean(1) + sizes + 0.5 * np.sum(z**2, 1).mean()
    best = int(np.argmax(elbos))
    return Normal(*places[best], float(elbos[best])) if np.isfinite(elbos[best]) else None


def _approximations(way: list[tuple[np.ndarray, np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Means and factors of the normal approximations at points of the way, the last among them."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    last = int(np.clip(POINT_NUMBERS // way[0][0].size, 2, POINTS))
    for i, ((before, g_before), (y, g)) in enumerate(itertools.pairwise(way)):
        step, change = y - before, g_before - g
        if step @ change > NEAR * (change @ change):
            pairs = [*pairs, (step, change)][-PAIRS:]
        if pairs and (len(way) - i <= last or i % (1 + len(way) // last) == 0):
            inverse = _inverse_hessian(pairs)
            try:
                found.append((y + inverse @ g, np.linalg.cholesky(inverse)))
            except np.linalg.LinAlgError:
                continue
    return found


def _inverse_hessian(pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The BFGS estimate from pairs of steps and changes of the gradient, begun at the scale of the last."""
    step, change = pairs[-1]
    inverse = (step @ change) / (change @ change) * np.eye(step.size)
    for step, change in pairs:
        weight, moved = 1.0 / (step @ change), inverse @ change
        cross = weight * np.outer(step, moved)
        inverse = inverse - cross - cross.T + (weight + weight**2 * (change @ moved)) * np.outer(step, step)
    return inverse
