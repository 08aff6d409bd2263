"""Where the mass of a law on the integers is: a range of values, and a bound on what lies outside."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcmc.errors import SamplingError

FARTHEST = 2.0**62
MOST = 2**24  # values in a table
ZOOM = 513


@dataclass(frozen=True)
class Window:
    """The values first ... last, and a bound on the mass beyond them, both in units of exp(top)."""

    first: int
    last: int
    top: float
    outside: float


def window(log_pmf: Callable[[np.ndarray], np.ndarray], low: float, high: float, tol: float) -> Window:
    """The least range found that leaves out less than tol of the mass; SamplingError where there is none."""
    start = int(low) if math.isfinite(low) else int(high) if math.isfinite(high) else 0
    mode, top = _mode(log_pmf, start, low, high)
    (first, below), (last, above) = (
        _end(log_pmf, mode, top, side, end, tol / 4) for side, end in ((-1, low), (1, high))
    )
    return Window(first, last, top, below + above)


def _mode(log_pmf: Callable, start: int, low: float, high: float) -> tuple[int, float]:
    """The most probable value that is found: on a geometric grid from `start`, then closer and closer."""
    steps = np.unique(np.rint(np.concatenate([[0.0], 2.0 ** np.arange(0, 62, 1 / 8)])))
    at = np.unique(np.concatenate([start - steps, start + steps]))
    at = at[(at >= low) & (at <= high)]
    for _ in range(12):
        values = log_pmf(at)
        k = int(np.argmax(values))
        left, right = at[max(k - 1, 0)], at[min(k + 1, len(at) - 1)]
        if right - left <= ZOOM:
            break
        at = np.unique(np.rint(np.linspace(left, right, ZOOM)))
    at = np.arange(left, right + 1)
    values = log_pmf(at)
    k = int(np.argmax(values))
    if not np.isfinite(values[k]):
        remedy = "Check it, or give a support where it is positive."
        raise SamplingError(f"log_pmf: got no value with a finite log probability; expected one. {remedy}")
    return int(at[k]), float(values[k])


def _end(log_pmf: Callable, mode: int, top: float, side: int, end: float, tol: float) -> tuple[int, float]:
    """The nearest value on one side of the mode beyond which less than `tol` lies, and the bound."""
    room = FARTHEST if math.isinf(end) else abs(end - mode)
    if room <= MOST / 2:
        return int(end), 0.0
    bound, near, far = math.inf, 1, 1
    while far < room:
        bound = _beyond(log_pmf, mode, top, side, far, room)
        if bound <= tol or far > MOST:
            break
        near, far = far, 2 * far
    if far >= room:
        far, bound = int(room), 0.0
    if far > MOST:
        said = f"log_pmf: got a law of whose mass {bound:.2g}, relative to the most probable value, may lie beyond "
        remedy = f"Allow a larger tol, or give a support that ends; a table holds {MOST:,} values."
        raise SamplingError(f"{said}{mode + side * far}; expected at most {tol:.2g}. {remedy}")
    while far - near > max(1, near // 16):
        middle = (near + far) // 2
        found = _beyond(log_pmf, mode, top, side, middle, room)
        near, far, bound = (near, middle, found) if found <= tol else (middle, far, bound)
    return mode + side * far, bound


def _beyond(log_pmf: Callable, mode: int, top: float, side: int, k: int, room: float) -> float:
    """A bound on the mass farther than k from the mode, in units of exp(top), from points ever farther out.

    Either of two lines from log f at k holds it, where no point that is seen lies above: geometric in the distance,
    f(k) r / (1 - r), or a power s > 1 of it, f(k) k / (s - 1).
    """
    steps = np.unique(np.rint(k * (2.0 ** np.arange(0, 62, 1 / 4) - 1.0)))
    steps = np.concatenate([[0.0, 1.0, 2.0], steps[steps > 2]])
    steps = steps[k + steps <= room]
    values = log_pmf(mode + side * (k + steps)) - top
    here = values[0]
    if here == -math.inf:
        return 0.0 if np.all(values == -math.inf) else math.inf
    drops = here - values[1:]
    if len(drops) == 0:
        return 0.0
    rate = np.min(drops / steps[1:])  # of the geometric line above all points
    power = np.min(drops / np.log1p(steps[1:] / k))
    bounds = [math.inf]
    if rate > 0:
        bounds.append(math.exp(here) / math.expm1(rate))
    if power > 1:
        bounds.append(math.exp(here) * k / (power - 1))
    return min(bounds)
