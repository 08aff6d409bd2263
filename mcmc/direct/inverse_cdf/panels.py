"""Adaptive setup on the host: piecewise polynomials of the quantile function, each with its error checked.

Source: Derflinger, Hörmann & Leydold 2010, Random variate generation by numerical inversion when only the density is
known. There each interval is interpolated at points found by Newton steps; here the mass up to fixed points comes from
one set of Gauss–Legendre values, so no root is sought.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from mcmc.direct.inverse_cdf.polynomials import DEGREE, fit, horner
from mcmc.direct.inverse_cdf.quadrature import DOUBT, GAP, INTEGRATE, NODES, TO, TO_ENDS, WEIGHTS
from mcmc.direct.inverse_cdf.scan import HostDensity, Scan
from mcmc.direct.inverse_cdf.zones import TINY, zones
from mcmc.errors import SamplingError

ROUNDS, MOST, EACH = 80, 20_000, 16  # panels at most, and as many more for each place
TAIL = 1e-6  # u-error relative to the mass beyond, so that tails keep their shape
DEEP = 16  # bisections after which a point is taken for a jump or a kink
STEEP = 0.2  # of the log density from one float to the next: no integral can be told
PART = 0.3  # of the tolerance, for the polynomials of the panels


@dataclass
class Panels:
    """Panels from left to right, each in its own coordinate t: x = anchor + t, or anchor + sign · exp(t).

    t0, t1: its ends. mass: its integral; doubt: of how much that depends on the order. below, error: at the inner
    nodes, the mass from the panel's left end and the u-error (not yet divided by the whole mass); rounding: what one
    spacing of x is worth there; blur: the same for the panel, where x is a sum; rough: it can't be a polynomial; c: x
    as one of the share of the mass, x0 + s (c1 + ... + c5 s^4); depth: bisections.
    """

    anchor: np.ndarray
    sign: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    depth: np.ndarray
    mass: np.ndarray
    doubt: np.ndarray
    below: np.ndarray
    error: np.ndarray
    rounding: np.ndarray
    blur: np.ndarray
    rough: np.ndarray
    c: np.ndarray

    def __getitem__(self, at: np.ndarray | slice) -> Panels:
        return Panels(*(getattr(self, f.name)[at] for f in fields(self)))

    def put(self, at: np.ndarray, other: Panels) -> None:
        """Write other panels into these places."""
        for f in fields(self):
            getattr(self, f.name)[at] = getattr(other, f.name)

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """x at both ends of each."""
        return self.place(self.t0[:, None])[1][:, 0], self.place(self.t1[:, None])[1][:, 0]

    def u_error(self) -> np.ndarray:
        """The largest u-error of each, in units of mass, apart from what the spacing of x is worth."""
        return np.nanmax(np.maximum(self.error - 0.5 * self.rounding, 0.0), axis=1)

    def place(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances from the anchor, x, and dx/dt at t (panel, point)."""
        anchor, sign = self.anchor[:, None], self.sign[:, None]
        d = np.where(sign == 0, t, np.exp(np.where(sign == 0, 0.0, t)))
        return d, anchor + np.where(sign == 0, d, sign * d), np.where(sign == 0, 1.0, d)


def build(density: HostDensity, anchor: np.ndarray, sign: np.ndarray, t0: np.ndarray, t1: np.ndarray) -> Panels:
    """Integrate the density over these panels, and see how well x is a polynomial of the mass."""
    blank = np.zeros((t0.size, NODES))
    blanks = {f.name: blank for f in fields(Panels)} | {"anchor": anchor, "sign": sign, "t0": t0, "t1": t1}
    p = Panels(**(blanks | {"depth": np.zeros(t0.size, int)}))
    d, x, jacobian = p.place(_nodes(p))
    f, at_ends = _values(density, p, d, x)
    with np.errstate(all="ignore"):
        scale = 0.5 * np.abs(t1 - t0)[:, None]
        g = f * jacobian[:, DEGREE + 1 :] * scale
        missed = GAP * np.abs(g @ TO_ENDS - at_ends * jacobian[:, [0, DEGREE]] * scale).max(1)  # between end and node
        p.mass, p.doubt = g @ WEIGHTS, np.abs(g @ DOUBT.T).max(1) + np.where(np.isfinite(missed), missed, 0.0)
        below = g @ INTEGRATE.T
        p.below = below[:, DEGREE + 1 :]
        y = np.where(sign[:, None] == 0, d, sign[:, None] * d)
        y = y - y[:, :1]
        share = below / p.mass[:, None]
        p.c = fit(share[:, : DEGREE + 1], y[:, : DEGREE + 1])
        inner = share[:, DEGREE + 1 :]
        value, rise = horner(p.c, inner)
        p.error = np.abs(value - y[:, DEGREE + 1 :]) * f
        p.rounding = np.spacing(np.abs(x[:, DEGREE + 1 :])) * f
        p.blur = np.spacing(np.maximum(np.abs(x).max(1), np.abs(anchor))) * f.max(1)
        p.rough = ~np.isfinite(p.error).all(1) | (rise < 0).any(1)
        p.error = np.where(p.rough[:, None], p.mass[:, None], p.error)
        p.c[p.rough] = np.where(np.arange(DEGREE) == 0, y[p.rough, DEGREE, None], 0.0)
    return p


def _values(density: HostDensity, p: Panels, d: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The density at the inner nodes, and just inside both ends; NaN there where a panel has no room."""
    inside = 8 * np.spacing(np.maximum(np.abs(x).max(1), np.abs(p.anchor)))
    inside = np.where(np.abs(d[:, DEGREE] - d[:, 0]) > 64 * inside, inside, np.nan)[:, None]
    d_ends = d[:, [0, DEGREE]] + inside * np.where(p.sign[:, None] < 0, [-1.0, 1.0], [1.0, -1.0])
    points = np.concatenate([d[:, DEGREE + 1 :], np.where(np.isnan(d_ends), d[:, DEGREE + 1 : DEGREE + 3], d_ends)], 1)
    anchor, sign = (np.broadcast_to(a[:, None], points.shape) for a in (p.anchor, p.sign))
    f = np.exp(density.near(anchor, sign, points))
    return f[:, :NODES], np.where(np.isnan(d_ends), np.nan, f[:, NODES:])


def _nodes(p: Panels) -> np.ndarray:
    """t at the ends and nodes of each panel."""
    t = 0.5 * (p.t0 + p.t1)[:, None] + 0.5 * (p.t1 - p.t0)[:, None] * TO
    t[:, 0], t[:, DEGREE] = p.t0, p.t1
    return t


def adapt(density: HostDensity, scan: Scan, breaks: tuple[float, ...], cuts: tuple[float, ...], tol: float) -> Panels:
    """Bisect until every panel's error is allowed; jumps and kinks found on the way become ends of panels."""
    found: tuple[float, ...] = ()
    for _ in range(3):
        start = _start(density, scan, (*breaks, *found), cuts)
        panels = _bisect(density, start, tol)
        new = _singular(panels, start.ends()[0])
        if not new:
            break
        found += new
    return panels


def _start(density: HostDensity, scan: Scan, points: tuple[float, ...], cuts: tuple[float, ...]) -> Panels:
    spread = (scan.modes[:, None] + scan.widths[:, None] * np.array([-16, -4, -1, 0, 1, 4, 16])).ravel()
    inner = np.concatenate([spread, points, density.places])
    parts = []
    for zone in zones(density, scan, cuts):
        t0, t1 = zone.edges(inner)
        parts.append((np.full(t0.size, zone.anchor), np.full(t0.size, zone.sign), t0, t1))
    return build(density, *(np.concatenate(a) for a in zip(*parts, strict=True)))


def _bisect(density: HostDensity, p: Panels, tol: float) -> Panels:
    for _ in range(ROUNDS):
        times = _missing(density, p, tol)
        if not times.any():
            return p
        parts = 1 << times
        if parts.sum() > MOST + EACH * density.places.size:
            break
        owner = np.repeat(np.arange(parts.size), parts)
        number = np.arange(owner.size) - np.repeat(np.cumsum(parts) - parts, parts)
        p, new = p[owner], parts[owner] > 1
        q = p[new]
        low, high = ((number[new] + end) / parts[owner][new] for end in (0, 1))
        both = build(density, q.anchor, q.sign, *(q.t0 * (1 - share) + q.t1 * share for share in (low, high)))
        both.depth = q.depth + times[owner][new]
        p.put(new, both)
    return p


def allowed(p: Panels, tol: float) -> np.ndarray:
    """The u-error allowed at the inner nodes, in units of mass."""
    total = p.mass.sum()
    left = np.cumsum(p.mass) - p.mass
    right = np.cumsum(p.mass[::-1])[::-1] - p.mass
    near = np.minimum(left[:, None] + p.below, right[:, None] + p.mass[:, None] - p.below)
    return np.minimum(PART * tol * total, TAIL * np.maximum(near, 0)) + 0.5 * p.rounding + TINY * total


def unresolved(density: HostDensity, p: Panels, tol: float) -> float:
    """The mass of panels that are too narrow for floats to halve, and not exact: next to poles without a power law."""
    bad, narrow, _ = _bad(density, p, tol)
    length = np.abs(np.diff(p.place(np.column_stack([p.t0, p.t1]))[0], axis=1)[:, 0])
    with np.errstate(all="ignore"):
        change = np.abs(np.diff(np.log(p.mass / length)))
    steep = np.maximum(np.append(change, 0), np.append(0, change)) > STEEP
    return float(p.mass[narrow & (bad | steep)].sum())


def densest(density: HostDensity, p: Panels) -> float:
    """The float where the density is highest in and beside the panel of the largest error."""
    worst = int((p.u_error() + p.doubt).argmax())
    x0, x1 = (end[worst] for end in p.ends())
    if x1 - x0 > 1e3 * np.spacing(max(abs(x0), abs(x1))):
        return float(x0)
    x = np.unique(x0 + np.spacing(x0) * np.arange(-64, 65 + int((x1 - x0) / np.spacing(x0))))
    x = x[(x > density.support[0]) & (x < density.support[1])]
    return float(x[density.raw(x).argmax()]) if x.size else float(x0)


def _bad(density: HostDensity, p: Panels, tol: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which panels are not exact enough, which too narrow to be halved, and their errors over those allowed."""
    total = p.mass.sum()
    most = allowed(p, tol)
    noise = 1e-15 * p.mass + p.blur + np.minimum(1e-4 * tol * total, 1e-2 * most.max(1))
    with np.errstate(invalid="ignore"):
        ratio = (p.error / most).max(1)
        bad = p.rough | ~(ratio <= 1) | (p.doubt > noise)
    x0, x1 = p.ends()
    narrow = x1 - x0 <= 4 * np.spacing(np.maximum(np.abs(x0), np.abs(x1)))
    for (at, sign), law in density.powers.items():  # exact nearer than floats can tell
        narrow &= (p.anchor != at) | (p.sign != sign) | (np.maximum(p.t0, p.t1) > math.log(law.limit))
    return bad, narrow, ratio


def _missing(density: HostDensity, p: Panels, tol: float) -> np.ndarray:
    """How often each panel is to be halved: 0 where it is exact enough."""
    total = p.mass.sum()
    if not (math.isfinite(total) and total > 0):
        raise SamplingError(f"log_density: got an integral of {total:g}; expected a finite one. Narrow the support.")
    bad, narrow, ratio = _bad(density, p, tol)
    with np.errstate(invalid="ignore"):
        times = np.where((ratio > 2.0 ** (DEGREE + 1)) & ~p.rough, 2, 1)
    room = ~narrow & (np.maximum(p.mass, p.doubt) > TINY * total) & (np.abs(p.t1 - p.t0) > 8 * np.spacing(np.abs(p.t0)))
    return np.where(bad & room, times, 0)


def _singular(p: Panels, known: np.ndarray) -> tuple[float, ...]:
    """A point in each run of deeply bisected panels, unless one of the points known lies there."""
    deep = np.flatnonzero(p.depth >= DEEP)
    if not deep.size:
        return ()
    x0, x1 = p.ends()
    points = []
    for run in np.split(deep, np.flatnonzero(np.diff(deep) > 1) + 1):
        at = run[p.depth[run].argmax()]
        if not ((x0[run[0]] <= known) & (known <= x1[run[-1]])).any():
            points.append(float(0.5 * (x0[at] + x1[at])))
    return tuple(points)
