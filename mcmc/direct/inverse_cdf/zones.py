"""Coordinates of the first panels of an adaptive setup: logarithmic towards ends and tails, linear in the middle."""

from __future__ import annotations

import copy
import itertools
import math
from dataclasses import dataclass

import numpy as np

from mcmc.direct.inverse_cdf.powers import SLIGHT
from mcmc.direct.inverse_cdf.scan import FAR, HostDensity, Scan, within
from mcmc.errors import SamplingError

TINY = 2.0**-75  # of the mass: outside the reach of any draw
START = 128
DISTANT = 1e7  # in widths of the highest mode: an end farther than that is no place to measure from

BETWEEN = 1e-3  # of the support: where two zones may meet


@dataclass(frozen=True)
class Zone:
    """x = anchor + t (sign 0), or anchor + sign · exp(t), for t from `near` to `far`; f beyond, as a power law."""

    anchor: float
    sign: int
    near: float
    far: float
    share: float = 1.0

    def edges(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the panels begin and end, t0 below t1 in x, some of them at these points."""
        t = np.linspace(self.near, self.far, max(8, int(START * self.share)) + 1)
        d = (points - self.anchor) * (self.sign or 1)
        if self.sign:
            d = np.log(np.where(d > 0, d, 1e-307))
        inside = d[(d > self.near) & (d < self.far)]
        t = np.unique(np.concatenate([t, inside]))
        t = t[np.concatenate([[True], np.diff(t) > 1e-15 * np.abs(t[1:])])]
        return (t[:-1], t[1:]) if self.sign >= 0 else (t[1:][::-1], t[:-1][::-1])


def zones(density: HostDensity, scan: Scan, cuts: tuple[float, ...]) -> list[Zone]:
    """The zones from left to right, those on either side of the cuts apart."""
    out = []
    for ends in itertools.pairwise((density.support[0], *cuts, density.support[1])):
        part = within(scan, ends) if cuts else scan
        between = copy.copy(density)
        between.support = ends
        out += _zones(between, part) if part is not None else []
    return out


def _zones(density: HostDensity, scan: Scan) -> list[Zone]:
    lo, hi = density.support
    top = int(np.argmax(scan.log[np.searchsorted(scan.x, scan.modes)]))
    centre, width = float(scan.modes[top]), max(float(scan.widths[top]), 1e-290)
    weights = np.exp(scan.log) * np.gradient(scan.x)
    middle = float(np.interp(0.5, np.cumsum(weights) / weights.sum(), scan.x))
    bulk = max(width, abs(middle - centre))
    reach = DISTANT * bulk
    low, high = (
        math.isfinite(e)
        and (abs(middle - e) < reach or ((e, sign) in density.powers and density.powers[e, sign].power < -SLIGHT))
        for e, sign in ((lo, 1), (hi, -1))
    )
    if low and high:
        middle = min(max(middle, lo + BETWEEN * (hi - lo)), hi - BETWEEN * (hi - lo))
        left, right = _tail(density, scan, lo, 1), _tail(density, scan, hi, -1)
        near = Zone(lo, 1, left[0], min(left[1], math.log(middle - lo)), 0.5)
        return [near, Zone(hi, -1, right[0], min(right[1], math.log(hi - middle)), 0.5)]
    if low or high:
        end, sign = (lo, 1) if low else (hi, -1)
        return [Zone(end, sign, *_tail(density, scan, end, sign))]
    inner = math.log(width)
    out = [Zone(centre, 0, -width, width, 0.125)]
    for sign in (-1, 1):
        far = _tail(density, scan, centre, sign)[1]
        if far > inner:
            out.insert(0 if sign < 0 else 2, Zone(centre, sign, inner, far, 0.44))
    return out


def _tail(density: HostDensity, scan: Scan, anchor: float, sign: int) -> tuple[float, float]:
    """The range of log distances from the anchor outside of which there is no mass worth counting."""
    d = (scan.x - anchor) * sign
    if not (scan.log[d > 0] > -math.inf).any():
        return -math.inf, -math.inf
    log = scan.log[d > 0][::sign]
    t = np.log(d[d > 0])[::sign]
    law = density.powers.get((anchor, sign))
    if law is not None:
        far = t > math.log(law.limit)
        closer = np.arange(-FAR, math.log(law.limit), 1.0)
        log = np.concatenate([law(np.exp(closer)) - density.shift, log[far]])
        t = np.concatenate([closer, t[far]])
    g = log + t
    top = g.max()
    weights = np.exp(g - top) * np.gradient(t)
    total = weights.sum()
    cumulative, beyond = np.cumsum(weights), np.cumsum(weights[::-1])[::-1]
    first = np.flatnonzero(cumulative > TINY * total)[0]
    last = np.flatnonzero(beyond > TINY * total)[-1]
    if anchor in density.support and first == 0:
        _decays(g[: t.searchsorted(t[0] + 30)], t[: t.searchsorted(t[0] + 30)], 1, anchor)
    end = density.support[1 if sign > 0 else 0]
    if not math.isfinite(end) and last >= t.size - 2:
        _decays(g[t > t[-1] - 30], t[t > t[-1] - 30], -1, end)
    far = t[min(last + 1, t.size - 1)]
    if math.isfinite(end) and last >= t.size - 2:
        far = math.log(abs(end - anchor))
    return float(t[max(first - 1, 0)]), float(far)


def _decays(g: np.ndarray, t: np.ndarray, sign: int, end: float) -> None:
    """An error where |x - end| f(x) does not go to 0 at the end: then the integral is not finite."""
    half = t.size // 2
    inner, outer = (g[half:], g[:half]) if sign > 0 else (g[:half], g[half:])
    decay = (inner.max() - outer.max()) / (abs(t[-1] - t[0]) / 2)
    if not decay > 1e-3:
        raise SamplingError(
            f"log_density: not integrable towards {end:g}, where the density times the distance does not fall "
            "(1/x, or slower); expected a finite integral. Narrow the support, or mend the tail."
        )
