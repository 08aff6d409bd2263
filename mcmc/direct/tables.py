"""From panels to the table of the hot path, on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mcmc.direct.lookup import CELLS, GUIDED, OCTAVES, Table, cells
from mcmc.direct.panels import Panels, build
from mcmc.direct.polynomials import DEGREE, LOBATTO, fit, horner
from mcmc.direct.scan import FAR, HostDensity
from mcmc.direct.zones import TINY
from mcmc.errors import SamplingError

FINE, GUIDE = (4, 5, 6), 7
TAIL = 1e-5  # u-error relative to the mass beyond
CHECKS = 0.5 - 0.5 * np.cos(np.pi * (np.arange(10) + 0.5) / 10)


@dataclass
class Side:
    """Panels from one end inwards: the mass beyond each, 1 / its own mass, and x = c0 + s (c1 + … + c5 s⁴)."""

    first: np.ndarray
    rate: np.ndarray
    c: np.ndarray

    def at(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x at masses w (cell, point), and the density there."""
        i = np.maximum(np.searchsorted(self.first, w, side="right") - 1, 0)
        s = np.clip((w - self.first[i]) * self.rate[i], 0, 1)
        value, rise = (a[:, 0].reshape(w.shape) for a in horner(self.c[i.ravel(), 1:], s.reshape(-1, 1)))
        with np.errstate(all="ignore"):
            return self.c[i, 0] + value, 1 / np.abs(rise * self.rate[i])


def split(density: HostDensity, p: Panels) -> Panels:
    """The same panels, the one that holds the median divided there."""
    half = 0.5 * p.mass.sum()
    after = np.cumsum(p.mass)
    k = int(np.searchsorted(after, half))
    s = (half - (after[k] - p.mass[k])) / p.mass[k]
    if not 1e-9 < s < 1 - 1e-9:
        return p
    offset = horner(p.c[k : k + 1], np.array([[s]]))[0][0, 0]
    t = p.t0[k] + offset if p.sign[k] == 0 else math.log(math.exp(p.t0[k]) + p.sign[k] * offset)
    pair = np.array([k, k])
    two = build(density, p.anchor[pair], p.sign[pair], np.array([p.t0[k], t]), np.array([t, p.t1[k]]))
    p = p[np.sort(np.append(np.arange(p.mass.size), k))]
    p.put(np.array([k, k + 1]), two)
    return p


def beyond(density: HostDensity, p: Panels, tol: float) -> tuple[float, float]:
    """The mass between the ends of the support and the first and last panel, by the power law there."""
    out = []
    for end, k, t in ((density.support[0], 0, p.t0[0]), (density.support[1], -1, p.t1[-1])):
        anchored = p.anchor[k] == end and p.sign[k] != 0
        if p.sign[k] == 0 or not (anchored or abs(t) > FAR - 2):
            out.append(0.0)
            continue
        d = math.exp(t) * np.array([1.0, 4.0 if anchored else 0.25])
        log = density.near(np.full(2, p.anchor[k]), np.full(2, p.sign[k]), d)
        if not np.isfinite(log).all():
            out.append(0.0)
            continue
        power = (log[1] - log[0]) / math.log(d[1] / d[0]) + 1
        mass = math.exp(log[0]) * d[0] / abs(power) if power else math.inf
        if not anchored and mass > 0.1 * tol * p.mass.sum():
            raise SamplingError(
                f"tol: not reached, because {mass / p.mass.sum():.2g} of the mass lies beyond 1e299; "
                f"expected at most {0.1 * tol:.2g}. Narrow the support."
            )
        out.append(mass)
    return out[0], out[1]


def halves(density: HostDensity, p: Panels, ends: tuple[float, float]) -> tuple[Side, Side]:
    """The panels of each side of the median, from its end inwards."""
    total = p.mass.sum() + sum(ends)
    x0, x1 = p.ends()
    left = np.cumsum(np.append(ends[0], p.mass[:-1]))
    right = np.cumsum(np.append(ends[1], p.mass[:0:-1]))[::-1]
    keep = p.mass > TINY * total
    sides = []
    for sign, edge, first, end, tail in ((1, x0, left, 0, ends[0]), (-1, x1, right, 1, ends[1])):
        at = np.flatnonzero(keep & (first < 0.5 * total * (1 - 1e-12)))[::sign]
        c = np.column_stack([edge[at], p.c[at] if sign > 0 else _reversed(p.c[at])])
        side = Side(first[at] / total, total / p.mass[at], c)
        limit = density.support[end]
        if tail > 0 and math.isfinite(limit):
            near = np.array([[limit, edge[at[0]] - limit, 0, 0, 0, 0]])
            rate = total / max(tail, TINY * TINY * total)
            side = Side(np.append(0.0, side.first), np.append(rate, side.rate), np.concatenate([near, side.c]))
        side.first[0] = 0.0
        sides.append(side)
    return sides[0], sides[1]


def _reversed(c: np.ndarray) -> np.ndarray:
    """The polynomials in the share of the mass from the other end, less their value there."""
    s = np.broadcast_to(0.5 + 0.5 * LOBATTO, (c.shape[0], DEGREE + 1))
    return fit(s, horner(c, 1 - s)[0] - horner(c, np.ones((c.shape[0], 1)))[0])


def tabulate(sides: tuple[Side, Side], support: tuple[float, float], tol: float) -> tuple[Table, float]:
    """The table, with a polynomial for each dyadic cell where that is exact enough; and the error that this adds."""
    for fine in FINE:
        both = [_cells(side, end, fine, 0.4 * tol) for side, end in zip(sides, support, strict=True)]
        found = [rows for rows, _ in both if rows is not None]
        if len(found) == 2:
            rows = np.concatenate(found)
            return Table(rows, None, None, CELLS, fine, 0, support), max(error for _, error in both)
    return _guided(sides, support), 0.0


def _cells(side: Side, end: float, fine: int, tol: float) -> tuple[np.ndarray | None, float]:
    many = cells(fine) - 1
    number = np.arange(many)
    scale = 2.0 ** (-OCTAVES + (number >> fine))[:, None]
    start, width = scale * (1 + (number & ((1 << fine) - 1))[:, None] / (1 << fine)), scale / (1 << fine)
    s = np.broadcast_to(0.5 + 0.5 * LOBATTO, (many, DEGREE + 1))
    x, _ = side.at(start + width * s)
    c = fit(s, x - x[:, :1])
    short = np.abs(x[:, DEGREE] - x[:, 0]) < 64 * np.spacing(np.abs(x[:, 0]))  # a few numbers: a line is exact
    c[short] = np.where(np.arange(DEGREE) == 0, (x[:, DEGREE] - x[:, 0])[short, None], 0.0)
    checked = np.broadcast_to(CHECKS, (many, CHECKS.size))
    w = start + width * checked
    exact, f = side.at(w)
    value, rise = horner(c, checked)
    with np.errstate(all="ignore"):
        error = np.abs(x[:, :1] + value - exact) * f
        most = np.minimum(tol, TAIL * w) + 2 * np.spacing(np.abs(exact)) * f + 2 * TINY
        over = np.max(error - 2 * np.spacing(np.abs(exact)) * f)
    sign = np.sign(side.c[-1, 0] - side.c[0, 0]) or 1.0
    if not (error <= most).all() or (rise * sign < -4 * np.spacing(np.abs(exact))).any():
        return None, math.inf
    inner = x[0, 0]
    outer = end if math.isfinite(end) and side.rate[0] > 0 and side.c[0, 0] == end else inner
    zero = np.array([[outer, inner - outer, 0, 0, 0, 0]])
    return np.concatenate([zero, np.column_stack([x[:, 0], c])]), max(float(over), 0.0)


def _guided(sides: tuple[Side, Side], support: tuple[float, float]) -> Table:
    many = cells(GUIDE) - 1
    number = np.arange(many)
    edges = 2.0 ** (-OCTAVES + (number >> GUIDE)) * (1 + (number & ((1 << GUIDE) - 1)) / (1 << GUIDE))
    edges = np.concatenate([[0.0], edges])
    upper = np.append(edges[1:], 0.5)
    starts, lasts = [], []
    for side in sides:  # for knots as they are, and as they round to float32
        both = side.first, side.first.astype(np.float32)
        starts.append(np.minimum(*(np.searchsorted(knots, edges, side="right") for knots in both)) - 1)
        lasts.append(np.maximum(*(np.searchsorted(knots, upper, side="right") for knots in both)) - 1)
    most = max((last - start).max() for start, last in zip(starts, lasts, strict=True))
    steps = int(most).bit_length()
    size = 256 * math.ceil((max(side.first.size for side in sides) + (1 << steps)) / 256)
    rows, knots, guide = [], [], []
    for i, (side, start) in enumerate(zip(sides, starts, strict=True)):
        pad = size - side.first.size
        row = np.column_stack([side.first, side.rate, side.c])
        rows.append(np.concatenate([row, np.repeat(row[-1:], pad, 0)]))
        knots.append(np.append(side.first, np.full(pad, np.inf)))
        guide.append(np.maximum(start, 0) + i * size)
    starts_of = np.concatenate(guide).astype(np.int32)
    return Table(np.concatenate(rows), np.concatenate(knots), starts_of, GUIDED, GUIDE, steps, support)
