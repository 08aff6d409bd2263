"""Where the mass of a law on the integers is: a range of values, and a bound on what lies outside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mcmc.direct.discrete.log_pmf import LogPmf
from mcmc.direct.inverse_cdf.scan import overflow_ends
from mcmc.errors import SamplingError

FARTHEST = 2.0**62
MOST = 2**24  # values in a table
ZOOM = 513
DENSE, DENSE_SLOW = 2**13, 2**11  # values looked at one by one, on each side of where the search begins
ABOUT, ABOUT_SLOW = 2**9, 2**6  # and about the highest one of these
WIDEST = 2**12  # the longest gap that a law may have throughout
WINDOW = 64  # values looked at together on the way, at most
SLACKS = 0.0, 0.01, 0.1, 1.0  # nats that a bounding line is above where it begins


@dataclass(frozen=True)
class Window:
    """The values first ... last, and a bound on the mass beyond them, both in units of exp(top)."""

    first: int
    last: int
    top: float
    outside: float


def window(log_pmf: LogPmf, low: float, high: float, tol: float) -> Window:
    """The least range found that leaves out less than tol of the mass; SamplingError where there is none."""
    start = int(low) if math.isfinite(low) else int(high) if math.isfinite(high) else 0
    mode, top, gap = _mode(log_pmf, start, low, high)
    tails = [_Tail(log_pmf, mode, top, side, end, gap) for side, end in ((-1, low), (1, high))]
    mass = max(1.0, sum(tail.width() for tail in tails) / (8 * gap))  # a guess, of which the table tells the truth
    (first, below), (last, above) = (tail.end(tol * mass / 4) for tail in tails)
    return Window(first, last, top, below + above)


def _mode(log_pmf: LogPmf, start: int, low: float, high: float) -> tuple[int, float, int]:
    """The most probable value that is found, its log probability, and how far apart values with mass are.

    All values near the start are looked at, then those on a geometric grid, then closer and closer about the highest.
    """
    dense = np.arange(1.0, DENSE_SLOW if log_pmf.slow else DENSE)
    steps = np.union1d(dense, np.rint(2.0 ** np.arange(0, 62, 1 / 8)))
    sides = [start + side * np.append(0.0, steps) for side in (-1, 1)]
    sides = [at[(at >= low) & (at <= high)] for at in sides]
    values = np.concatenate([log_pmf.outward(at) for at in sides])
    at, first = np.unique(np.concatenate(sides), return_index=True)
    values = values[first]
    good = ~(np.isnan(values) | (values == np.inf))
    if good.any() and not good.all():
        log_pmf.vanished = overflow_ends(at[good], values[good], (low, high), float(at[0]), float(at[-1]))
        values = np.where(good, values, log_pmf(at))
    reach = ABOUT_SLOW if log_pmf.slow else ABOUT
    about = at[np.argmax(values)] + np.arange(-reach, reach)
    about = np.setdiff1d(about[(about >= low) & (about <= high)], at)
    at, values = np.append(at, about), np.append(values, log_pmf(about))
    values, at = values[np.argsort(at)], np.sort(at)
    gap = _longest_gap(at, values)
    if 1 < gap <= WINDOW:  # what lies on the grid alone may be without mass
        far = start + np.concatenate([-steps[dense.size :], [0.0], steps[dense.size :]])
        at = np.union1d(at, far[:, None] + np.arange(gap))
        at = at[(at >= low) & (at <= high)]
        values = log_pmf(at)
    for _ in range(12):
        k = int(np.argmax(values))
        left, right = max(at[k] - gap, at[0]), min(at[k] + gap, at[-1])
        left, right = at[at <= left][-1], at[at >= right][0]
        if right - left <= max(ZOOM, 2 * gap):
            break
        at = np.unique(np.rint(np.linspace(left, right, ZOOM))[:, None] + np.arange(gap))
        at = at[(at >= low) & (at <= high)]
        values = log_pmf(at)
    at = np.arange(left, right + 1)
    values = log_pmf(at)
    k = int(np.argmax(values))
    if not np.isfinite(values[k]):
        remedy = "Check it, or give a support where it is positive."
        raise SamplingError(f"log_pmf: got no value with a finite log probability; expected one. {remedy}")
    return int(at[k]), float(values[k]), gap


def _longest_gap(at: np.ndarray, values: np.ndarray) -> int:
    """The longest way from one value with mass to the next, among values that were looked at one by one."""
    there = at[np.isfinite(values)]
    steps = np.diff(there)
    seen = np.searchsorted(at, there[1:]) - np.searchsorted(at, there[:-1]) == steps
    return int(min(np.max(steps, where=seen, initial=1.0), WIDEST))


@dataclass(frozen=True)
class _Tail:
    """One side of the most probable value."""

    log_pmf: LogPmf
    mode: int
    top: float
    side: int
    last: float
    gap: int

    def width(self) -> float:
        """How far away the law has fallen by a nat."""
        room = abs(self.last - self.mode)
        steps = 2.0 ** np.arange(0, 62)
        at = np.rint(np.minimum(steps, room)[:, None]) + np.arange(self.gap)
        at = np.minimum(at, room)
        values = self.log_pmf.outward(self.mode + self.side * at.ravel()).reshape(at.shape).max(1)
        fallen = np.flatnonzero(~(values > self.top - 1.0))
        return float(min(steps[fallen[0]] if fallen.size else 1.0, room))

    def end(self, tol: float) -> tuple[int, float]:
        """The nearest value beyond which less than `tol` lies, and the bound."""
        room = FARTHEST if math.isinf(self.last) else abs(self.last - self.mode)
        if room <= MOST / 2:
            return int(self.last), 0.0
        bound, near, far = math.inf, 1, 1
        while far < room:
            bound = self.beyond(far, room)
            if bound <= tol or far > MOST:
                break
            near, far = far, 2 * far
        if far >= room:
            far, bound = int(room), 0.0
        while bound <= tol and far - near > max(1, near // 16):
            middle = (near + far) // 2
            found = self.beyond(middle, room)
            near, far, bound = (near, middle, found) if found <= tol else (middle, far, bound)
        if far > MOST:
            self._refuse(min(bound, self.beyond(MOST, room)), tol)
        return self.mode + self.side * far, bound

    def beyond(self, k: int, room: float) -> float:
        """A bound on the mass farther than k from the mode, in units of exp(top), from points ever farther out.

        Next to k as many values are summed as the law may have gaps wide. From there on either of two lines holds it,
        above which no point lies that is seen: geometric in the distance, e^M r / (1 - r), or a power s > 1 of it,
        e^M k / (s - 1), M the highest of those values and a little more, or as much as rounding may need.
        """
        near = np.arange(0.0, self.gap + 1)
        starts = np.rint(k * (2.0 ** np.arange(0, 62, 1 / 4) - 1.0))
        far = np.unique(starts[:, None] + np.arange(self.gap))
        steps = np.concatenate([near, far[far > self.gap]])
        if self.gap == 1:
            steps = np.union1d(steps, [2.0, 3.0])
        steps = steps[k + steps <= room]
        values = self.log_pmf.outward(self.mode + self.side * (k + steps))
        bad = np.isnan(values) | (values == np.inf)
        values = np.where(bad, self.log_pmf(self.mode + self.side * (k + steps)), values) if bad.any() else values
        values = values - self.top
        beside, outside = values[: near.size], values[near.size :]
        summed = float(np.exp(np.minimum(beside[1:], 700.0)).sum())
        here, away = beside.max(), steps[near.size :] - self.gap
        if not np.any(outside > -math.inf):
            return summed
        if here == -math.inf:
            return math.inf
        bounds = [math.inf]
        for slack in SLACKS:
            drops = here + slack - outside
            rate, power = np.min(drops / away), np.min(drops / np.log1p(away / (k + self.gap)))
            if rate > 0:
                bounds.append(math.exp(min(here + slack, 700.0)) / math.expm1(min(rate, 700.0)))
            if power > 1:
                bounds.append(math.exp(min(here + slack, 700.0)) * (k + self.gap) / (power - 1))
        return summed + min(bounds)

    def _refuse(self, bound: float, tol: float) -> None:
        raise SamplingError(
            f"log_pmf: got a law of whose mass {bound:.2g}, relative to the most probable value, may lie beyond "
            f"{self.mode + self.side * MOST}; expected at most {tol:.2g}. Allow a larger tol, or give a support that "
            f"ends; a table holds {MOST:,} values."
        )
