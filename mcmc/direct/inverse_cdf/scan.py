"""Locating the mass of a density: a scan over all magnitudes, then finer grids at each local maximum."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from mcmc.direct.inverse_cdf.elementwise import on_host
from mcmc.direct.inverse_cdf.powers import SLIGHT, fit_power
from mcmc.errors import SamplingError, WrongValue

FAR = 690.0  # in logarithms: distances from 1e-300 to 1e300
TRUSTED = 1e40  # beyond it a NaN is taken for overflow of the user's own arithmetic
BATCH = 4096
MODES, ZOOM = 64, 32
CLOSE = 2.0**-30  # nearer than this floats are too few for a law
MOST_LOG = 690.0  # of the density, in units of its mass
VANISHED = 300.0  # nats below the highest, where no draw lies
NOISE = 1e-9  # a rise less than this, relative to the log density, is rounding


class SingularPoint(SamplingError):
    """NaN, +inf or a pole at one point, with finite values on both sides."""

    @property
    def at(self) -> float:
        """The point."""
        return (self.position or {})["x"]


@dataclass
class HostDensity:
    """A user's log density in float64 on the CPU, checked: by NumPy, or in batches of one size, compiled once.

    `places`: points that a log density of our own says must be looked at.
    """

    log_density: Callable
    support: tuple[float, float]
    params: tuple = ()
    shift: float = 0.0
    powers: dict = field(default_factory=dict)
    breaks: tuple[float, ...] = ()
    vanished: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        host = getattr(self.log_density, "host", None)
        function = lambda x: self.log_density(x, *self.params)  # noqa: E731
        places = getattr(self.log_density, "places", np.empty(0))
        self.places = places[(places > self.support[0]) & (places < self.support[1])]
        self.by_numpy = on_host(function) if host is None else lambda x: host(x, *self.params)

    def __call__(self, x: np.ndarray, trusted: float = math.inf) -> np.ndarray:
        """The log density at points inside the support; an error where it is NaN or +inf, with the point."""
        x = np.where(np.isin(x, self.breaks), np.maximum(np.nextafter(x, np.inf), x + 1e-300), x)  # 0/0 or a pole there
        out = self._values(x.ravel()).reshape(x.shape)
        for (at, sign), law in self.powers.items():
            close = ((x - at) * sign > 0) & ((x - at) * sign < law.limit)
            if close.any():
                out = np.where(close, law((x - at) * sign), out)
        bad = np.isnan(out) | (out == np.inf)
        if bad.any():
            overflow = bad & ((np.abs(x) > trusted) | (x < self.vanished[0]) | (x > self.vanished[1]))
            out = np.where(overflow, -np.inf, out)
            if (bad & ~overflow).any():
                self._refuse(x[bad & ~overflow][0], out[bad & ~overflow][0])
        return out - self.shift

    def see_overflow(self, x: np.ndarray) -> None:
        """Find where arithmetic overflows far beyond the mass: NaN or +inf there stands for no density.

        `x`: points in order. From some point on to an infinite end all are NaN or +inf, and before it the log density
        has fallen by more than 300, and goes on falling.
        """
        if all(map(math.isfinite, self.support)):
            return
        raw = self._values(x)
        good = np.flatnonzero(~(np.isnan(raw) | (raw == np.inf)))
        if not good.size:
            return
        self.vanished = overflow_ends(x[good], raw[good], self.support, float(x[0]), float(x[-1]))

    def _values(self, x: np.ndarray) -> np.ndarray:
        if self.by_numpy:
            return self.by_numpy(x)
        padded = np.concatenate([x, np.full(-x.size % BATCH, x[0])]).reshape(-1, BATCH)
        out = [np.asarray(self.log_density(jnp.asarray(row), *self.params), np.float64) for row in padded]
        if out[0].shape != (BATCH,):
            remedy = "Write it with jax.numpy, elementwise: an array of points in, an array of that shape out."
            raise WrongValue("log_density", f"shape {out[0].shape} for {(BATCH,)}", "the points' shape", remedy)
        return np.concatenate(out)[: x.size]

    def near(self, anchor: np.ndarray, sign: np.ndarray, d: np.ndarray) -> np.ndarray:
        """The log density at anchor + sign · d, by its power law where d is lost in the rounding of that sum."""
        lo, hi = self.support
        x = np.where(sign == 0, anchor + d, anchor + sign * d)
        out = self(np.clip(x, np.nextafter(lo, np.inf), np.nextafter(hi, -np.inf)))
        for (at, side), law in self.powers.items():
            close = (anchor == at) & (sign == side) & (d < law.limit)
            if close.any():
                out = np.where(close, law(d) - self.shift, out)
        return out

    def raw(self, x: np.ndarray) -> np.ndarray:
        """The log density as it is, NaN as −inf."""
        values = self._values(x)
        return np.where(np.isnan(values), -np.inf, values)

    def has_power(self, at: float) -> bool:
        """Whether there is a power law on both sides of a point."""
        other = type(self)(self.log_density, self.support, self.params, breaks=(*self.breaks, at))
        return at in other.find_powers()

    def find_powers(self) -> tuple[float, ...]:
        """Fit power laws at finite ends other than 0, and at breaks; the breaks that have one."""
        edges = np.array([*self.support, *self.breaks, 0.0])
        singular = []
        for at in (*self.support, *self.breaks):
            if not math.isfinite(at) or (at == 0 and at in self.support):
                continue
            inner = at not in self.support
            apart = np.abs(edges - at)
            if apart[apart > 0].min(initial=math.inf) < CLOSE * abs(at):
                continue
            for sign in (1, -1):
                if at == self.support[0 if sign < 0 else 1]:
                    continue
                away = (edges - at) * sign
                room = min(abs(at) or 1.0, float(away[away > 0].min(initial=math.inf)), 1.0 if inner else math.inf)
                law = fit_power(self._values, at, sign, room)
                if law is not None and (not inner or abs(law.power) > SLIGHT):
                    self.powers[at, sign] = law
                    singular += [at] if inner else []
        return tuple(sorted(set(singular)))

    def _alone(self, x: float) -> bool:
        """Whether the log density is finite, or has no mass, at points on both sides of x, near and far."""
        d = max(abs(x), 1e-300) * 2.0 ** -np.arange(8.0, 50.0, 3.0)
        if x == 0:
            d = 10.0 ** -np.arange(1.0, 250.0, 10.0)
        beside = np.concatenate([x - d, x + d])
        beside = beside[(beside > self.support[0]) & (beside < self.support[1])]
        values = self._values(beside)
        return x not in self.breaks and not np.any(np.isnan(values) | (values == np.inf))

    def _refuse(self, x: float, value: float) -> None:
        what = "NaN" if math.isnan(value) else "+inf"
        kind = SingularPoint if self._alone(x) else SamplingError
        raise kind(
            f"log_density: got {what} at x = {x:.17g}, inside the support; expected a finite number or -inf. "
            "Mend the density there, or end the support before it: single points do no harm, here there are more.",
            position={"x": float(x)},
        )


def overflow_ends(
    x: np.ndarray, log: np.ndarray, support: tuple[float, float], first: float, last: float
) -> tuple[float, float]:
    """The points outside of which NaN and +inf are overflow, given the good ones of points in order."""
    ends = [-math.inf, math.inf]
    for k, (at, beside, outer) in enumerate(((0, 1, first), (-1, -2, last))):
        fallen = x.size > 1 and log[at] < log.max() - VANISHED and log[at] <= log[beside]
        if math.isinf(support[k]) and x[at] != outer and fallen:
            ends[k] = float(x[at])
    return ends[0], ends[1]


@dataclass(frozen=True)
class Scan:
    """Points in order with their log densities, and the modes among them: where, and how wide."""

    x: np.ndarray
    log: np.ndarray
    modes: np.ndarray
    widths: np.ndarray


def scan(density: HostDensity, breaks: tuple[float, ...]) -> Scan:
    """Evaluate at every magnitude from both ends, 0 and the breaks; zoom in on local maxima; shift by the mass."""
    x = np.union1d(grid(density.support, breaks), density.places)
    both_finite = all(map(math.isfinite, density.support))
    density.see_overflow(x)
    log = density(x, math.inf if both_finite else TRUSTED)
    brackets = _brackets(x, log)
    for _ in range(12):
        steep = _drop(*brackets) > 0.01
        brackets = [b[steep] for b in brackets]
        if not steep.any():
            break
        inner = np.linspace(brackets[0][:, 0], brackets[0][:, 2], 2 * ZOOM + 1, axis=1)
        values = density(inner)
        x, log = np.concatenate([x, inner.ravel()]), np.concatenate([log, values.ravel()])
        best = np.clip(values.argmax(1), 1, 2 * ZOOM - 1)
        three = best[:, None] + np.arange(-1, 2)
        brackets = [np.take_along_axis(a, three, 1) for a in (inner, values)]
    x, first = np.unique(x, return_index=True)
    log = log[first]
    highest = log.max()
    if highest == -np.inf:
        lo, hi = density.support
        raise SamplingError(
            f"log_density: got -inf at all {x.size} points looked at in ({lo:g}, {hi:g}); expected a finite one. "
            "Give the place of the mass in breaks=, or a narrower support."
        )
    shift = highest + max(_log_mass(x, log - highest), -MOST_LOG)
    density.shift += shift
    log = log - shift
    modes = _brackets(x, log)[0][:, 1]
    return Scan(x, log, modes, _widths(x, log, modes))


@functools.lru_cache(maxsize=16)
def grid(support: tuple[float, float], breaks: tuple[float, ...]) -> np.ndarray:
    """Points inside the support at all distances from its ends, 0 and the breaks."""
    lo, hi = support
    fine = np.exp(np.concatenate([np.arange(-FAR, -46, 1.0), np.arange(-46, 46, 0.025), np.arange(46, FAR, 1.0)]))
    parts = [np.zeros(1), fine, -fine]
    coarse = fine[::8]
    for point in (lo, hi, *breaks):
        if math.isfinite(point) and point != 0:
            parts += [point + coarse, point - coarse]
    if math.isfinite(lo) and math.isfinite(hi):
        parts.append(np.linspace(lo, hi, 4097))
    x = np.concatenate(parts)
    return np.setdiff1d(x[(x > lo) & (x < hi)], breaks)


def within(scan: Scan, ends: tuple[float, float]) -> Scan | None:
    """The part of a scan between two points; None where the density is 0."""
    some = (scan.x > ends[0]) & (scan.x < ends[1])
    x, log = scan.x[some], scan.log[some]
    if not (log > -np.inf).any():
        return None
    modes = scan.modes[(scan.modes > ends[0]) & (scan.modes < ends[1])]
    modes = modes if modes.size else x[[log.argmax()]]
    return Scan(x, log, modes, _widths(x, log, modes))


def _log_mass(x: np.ndarray, log: np.ndarray) -> float:
    """The log of the integral, by trapezoids: with it as shift neither tails nor poles leave the range of floats."""
    parts = np.logaddexp(log[1:], log[:-1]) + np.log(np.diff(x)) - math.log(2)
    return float(np.logaddexp.reduce(parts))


def _brackets(x: np.ndarray, log: np.ndarray) -> list[np.ndarray]:
    """Three neighbours (maximum, 3) about each of the highest local maxima, and their log densities."""
    padded = np.concatenate([[-np.inf], log, [-np.inf]])
    with np.errstate(invalid="ignore"):
        fall = log - np.minimum(padded[:-2], padded[2:])
        peak = (log >= padded[:-2]) & (log > padded[2:]) & (fall > NOISE * (1 + np.abs(log)))
    at = np.union1d(np.flatnonzero(peak), log.argmax())
    at = np.sort(at[np.argsort(-log[at])[:MODES]])
    three = np.clip(at[:, None] + np.arange(-1, 2), 0, x.size - 1)
    return [x[three], log[three]]


def _drop(x: np.ndarray, log: np.ndarray) -> np.ndarray:
    """How far the log density falls from the middle to a neighbour, where there is room between."""
    with np.errstate(invalid="ignore"):
        fall = log[:, 1:2] - log[:, [0, 2]]
    room = np.abs(x[:, [0, 2]] - x[:, 1:2]) > 8 * np.spacing(np.abs(x[:, 1:2]))
    return np.max(np.where(room, fall, 0.0), axis=1, initial=0.0)


def _widths(x: np.ndarray, log: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """The distance from each mode to where the log density is 1/2 lower, or to the last point."""
    at = np.searchsorted(x, modes)
    widths = np.empty(modes.size)
    for i, j in enumerate(at):
        low = np.flatnonzero(log < log[j] - 0.5)
        k = np.searchsorted(low, j)
        sides = [x[j] - x[low[k - 1]] if k else x[j] - x[0], x[low[k]] - x[j] if k < low.size else x[-1] - x[j]]
        widths[i] = max(min(sides), np.spacing(abs(x[j])))
    return widths
