"""The look-up table of the quantile function, built from panels on the host."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from mcmc.direct.inverse_cdf.lookup import CELLS, GUIDED, OCTAVES, Table
from mcmc.direct.inverse_cdf.panels import Panels, build
from mcmc.direct.inverse_cdf.polynomials import DEGREE, LOBATTO, fit, horner
from mcmc.direct.inverse_cdf.scan import FAR, HostDensity
from mcmc.direct.inverse_cdf.zones import TINY
from mcmc.errors import SamplingError

FINEST, MOST, ROWS = 10, 4096, 1024  # mantissa bits of a cell, cells of a side, and what their number is a multiple of
LOW, EVEN, GUIDE = 2, 5, 9  # mantissa bits: the fewest, the most in a table of equal octaves, those of a guide
COMMON = 16  # octaves with so many
TAIL_REACH, MOST_BEND = 64.0, 0.9  # log distances over which a tail's power is looked at, and how much it may change
TAIL = 1e-5  # u-error relative to the mass beyond
SHORT, SHORT_TAIL, SHORTEST = 1e-7, 1e-4, 2.0**-34  # u-errors for draws in float32, and their least mass
EXPONENTS = np.arange(-OCTAVES, -1)
CHECKS = 0.5 - 0.5 * np.cos(np.pi * (np.arange(DEGREE) + 0.5) / DEGREE)  # between the points of LOBATTO
POINTS = np.concatenate([0.5 + 0.5 * LOBATTO, CHECKS])
POWERS = np.arange(1, DEGREE + 1)[:, None]
FIT = np.linalg.inv(POINTS[1 : DEGREE + 1] ** POWERS)  # from x at points to the coefficients of s, ..., s^5
VALUES, DERIVATIVES = CHECKS**POWERS, POWERS * CHECKS ** (POWERS - 1)
FOUR = np.array([0.25, 0.75, 1.0])
LOWER = FOUR**POWERS @ np.linalg.inv(FOUR ** POWERS[:3])  # to those of s, s^2, s^3 with the same values at four points


@dataclass
class Side:
    """Panels from one end inwards: the mass beyond each, 1 / its own mass, and x = c0 + s (c1 + … + c5 s⁴)."""

    first: np.ndarray
    rate: np.ndarray
    c: np.ndarray

    def at(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """x at masses w (cell, point), and the density there."""
        w, shape = w.ravel(), w.shape
        i = np.maximum(np.searchsorted(self.first, w, side="right") - 1, 0)
        rate, c = self.rate[i], self.c.T[:, i]
        s = np.clip((w - self.first[i]) * rate, 0, 1)
        value, rise = c[DEGREE].copy(), np.zeros_like(s)
        for k in range(DEGREE - 1, -1, -1):
            rise = rise * s + value
            value = value * s + c[k]
        with np.errstate(all="ignore"):
            return value.reshape(shape), (1 / np.abs(rise * rate)).reshape(shape)


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


def beyond(density: HostDensity, p: Panels, tol: float) -> tuple[tuple[float, float], float]:
    """The mass between the ends of the support and the first and last panel, and by how much that may be wrong.

    With g the density times the distance, in log distances t, and s the rate at which g falls: g / s by a power law,
    g / (s - |s'| / s) by a power of t. What there is no draw of, beyond the last panel of an infinite end, is error.
    """
    total, masses, wrong = p.mass.sum(), [], 0.0
    for end, k, t in ((density.support[0], 0, p.t0[0]), (density.support[1], -1, p.t1[-1])):
        anchored = p.anchor[k] == end and p.sign[k] != 0
        if p.sign[k] == 0 or not (anchored or abs(t) > FAR - 2):
            masses.append(0.0)
            continue
        alike = (p.anchor == p.anchor[k]) & (p.sign == p.sign[k])
        reach = min(TAIL_REACH, np.ptp(np.append(p.t0[alike], p.t1[alike])) / 4)
        at = t + (reach if anchored else -reach) * np.arange(3.0)
        log = density.near(np.full(3, p.anchor[k]), np.full(3, p.sign[k]), np.exp(at)) + at
        masses.append(0.0)
        empty = anchored and _empty(density, float(p.anchor[k]), float(p.sign[k]), t)
        if empty or log[0] + math.log(1e6) < math.log(TINY * total):
            continue
        near, far = np.diff(log) / reach
        rate, bend = 1.5 * near - 0.5 * far, abs(far - near) / reach
        ratio = bend / rate**2 if rate > 0 else math.inf
        masses[-1] = math.exp(log[0]) / rate if ratio < MOST_BEND else math.inf
        doubt = masses[-1] * ratio / (1 - ratio) + (0.0 if anchored else masses[-1])
        if not doubt <= 0.1 * tol * total:
            place = f"nearer than 1e-299 to {end:g}" if anchored else "beyond 1e299"
            share = f"{masses[-1] / total:.2g} of the mass" if ratio < MOST_BEND else "a mass without a bound"
            raise SamplingError(
                f"tol: not reached, because {share} lies {place}, out of reach of the table (in doubt: "
                f"{doubt / total:.2g}; expected at most {0.1 * tol:.2g}). Narrow the support, transform x, or allow a "
                "larger tol."
            )
        wrong += doubt
    return (masses[0], masses[1]), wrong + _law_doubt(density, p)


def _empty(density: HostDensity, anchor: float, sign: float, t: float) -> bool:
    """Whether the density is 0 at all points tried between an end and the first panel, which a jump begins."""
    d = np.exp(t) * 2.0 ** -np.array([1, 2, 4, 8, 16])
    d = d[d > 8 * np.spacing(abs(anchor))]
    return bool(d.size and np.all(density.near(np.full(d.size, anchor), np.full(d.size, sign), d) == -math.inf))


def _law_doubt(density: HostDensity, p: Panels) -> float:
    """How much of the mass near poles and ends hangs on powers that rounding leaves in doubt, or is out of reach."""
    doubt = 0.0
    for (anchor, sign), law in density.powers.items():
        there = (p.anchor == anchor) & (p.sign == sign)
        if there.any():
            reach = math.exp(min(p.t0[there].min(), p.t1[there].min()))
            f = np.exp(law(np.array([law.limit, reach])) - density.shift)
            far, near = f * [law.limit, reach] / (1 + law.power)
            of_power = far * law.doubt / (1 + law.power) - np.spacing(abs(anchor)) * f[0]
            doubt += max(of_power, 0.0) + (near if anchor not in density.support else 0.0)
    return float(doubt)


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
    found = [_cells(side, end, 0.4 * tol) for side, end in zip(sides, support, strict=True)]
    left, right = found
    if left is None or right is None:
        return _guided(sides, support), 0.0
    over = max(left.over, right.over)
    fine = int(max(left.bits.max(), right.bits.max()))
    if fine <= EVEN:  # look-up is quicker in a table of all octaves alike
        rows, short = (
            np.concatenate([_evenly(a, left.bits, fine), _evenly(b, right.bits, fine)])
            for a, b in ((left.rows, right.rows), (left.short, right.short))
        )
        return Table(rows, short, None, None, None, CELLS, fine, 0, support), over
    rows, short = (_padded(np.concatenate(pair)) for pair in ((left.rows, right.rows), (left.short, right.short)))
    octaves = np.concatenate([_octaves(left.bits, 0), _octaves(right.bits, left.rows.shape[0])])
    return Table(rows, short, octaves, None, None, CELLS, 0, 0, support), over


def _padded(rows: np.ndarray) -> np.ndarray:
    """So that tables of different densities have few shapes, and draws from them few programs."""
    return np.concatenate([rows, np.repeat(rows[-1:], -rows.shape[0] % ROWS, 0)])


def _evenly(rows: np.ndarray, bits: np.ndarray, fine: int) -> np.ndarray:
    """A side's rows, those of octaves with fewer bits divided: the same polynomials, of parts of their cells."""
    first, terms = 1 + np.cumsum(1 << bits) - (1 << bits), rows.shape[1]
    out = np.empty((1 + (bits.size << fine), terms))
    out[0] = rows[0]
    body = out[1:].reshape(bits.size, -1)
    for b in np.unique(bits):
        of = np.flatnonzero(bits == b)
        old = rows[first[of][:, None] + np.arange(1 << b)]
        body[of] = (old.reshape(-1, terms) @ _divided(terms, 1 << int(fine - b))).reshape(of.size, -1)
    return out


@functools.cache
def _divided(terms: int, parts: int) -> np.ndarray:
    """The matrix from the coefficients of a polynomial to those on each of so many equal parts of [0, 1]."""
    n = np.arange(terms)
    choose = np.array([[math.comb(i, j) for j in n] for i in n], float)[:, None]
    at = np.arange(parts)[:, None] / parts
    powers = at ** np.maximum(n[:, None, None] - n, 0)
    return (choose * powers / float(parts) ** n).reshape(terms, -1)


def _octaves(bits: np.ndarray, first: int) -> np.ndarray:
    """The entries of a side's octaves, the one below all of them first."""
    before = first + np.cumsum(np.append(0, 1 << np.append(0, bits)))[:-1]
    return (16 * before + np.append(0, bits)).astype(np.int32)


@dataclass
class Cells:
    """A side's cells: mantissa bits by octave; rows by cell, and shorter ones; and the largest error."""

    bits: np.ndarray
    rows: np.ndarray
    short: np.ndarray
    over: float


def _cells(side: Side, end: float, tol: float) -> Cells | None:
    """Cells as fine in each octave as they must be; None where that is too fine."""
    bits = np.clip(4 + (EXPONENTS + 2) // 6 + 1, LOW, 4)
    missing, owner, built = np.ones_like(bits), np.empty(0, int), np.empty((0, 10))
    while (todo := np.flatnonzero(missing)).size:
        new, missing[todo] = _octaves_of(side, EXPONENTS[todo], bits[todo], tol)
        keep = np.isin(owner, todo, invert=True)
        owner = np.concatenate([owner[keep], np.repeat(todo, 1 << bits[todo])])
        built = np.concatenate([built[keep], new])
        bits = bits + missing
        if bits.max() > FINEST or (1 << bits).sum() > MOST:
            return None
    built = built[np.argsort(owner, kind="stable")]
    inner = built[0, 0]
    outer = end if math.isfinite(end) and side.rate[0] > 0 and side.c[0, 0] == end else inner
    zero = np.array([[outer, inner - outer, 0, 0, 0, 0]])
    rows, short = np.concatenate([zero, built[:, :6]]), np.concatenate([zero[:, :4], built[:, [0, 6, 7, 8]]])
    return Cells(bits, rows, short, float(built[:, 9].max()))


def _starts(exponents: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of these octaves begin, and how wide they are."""
    many = 1 << bits
    scale = np.repeat(2.0 ** (exponents - bits), many)
    number = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    return scale * (np.repeat(many, many) + number), scale


def _octaves_of(side: Side, exponents: np.ndarray, bits: np.ndarray, tol: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each cell x, c1 to c5, those of the shorter row, and the error; of each octave how many bits are missing."""
    start, width = (a[:, None] for a in _starts(exponents, bits))
    w = start + width * POINTS
    x, f = side.at(w)
    y, x0 = x[:, 1 : DEGREE + 1] - x[:, :1], x[:, :1]
    c = y @ FIT
    few = np.abs(y[:, -1]) < 64 * np.spacing(np.abs(x[:, 0]))  # a few numbers: a line is exact
    c[few] = np.where(np.arange(DEGREE) == 0, y[few, -1:], 0.0)
    w, exact, f = (a[:, DEGREE + 1 :] for a in (w, x, f))
    sign = np.sign(side.c[-1, 0] - side.c[0, 0]) or 1.0
    short, apart = c @ LOWER, np.spacing(np.abs(exact))
    apart32, apart64 = np.spacing(np.abs(exact).astype(np.float32)) * f, apart * f
    error, error32 = (np.abs(x0 + a @ VALUES[: a.shape[1]] - exact) * f for a in (c, short))
    falls = ((a @ DERIVATIVES[: a.shape[1]] * sign < -4 * apart).any(1) for a in (c, short))
    most = np.minimum(tol, TAIL * w) + 2 * apart64 + 2 * TINY
    most32 = np.minimum(np.maximum(SHORT - 1.5 * apart32, 0.5 * apart32), SHORT_TAIL * w + 0.5 * apart32)
    missing, missing32 = (np.log2(np.maximum((a / b).max(1), 1e-9)) for a, b in ((error, most), (error32, most32)))
    missing = np.maximum(missing / (DEGREE + 1), np.where(start[:, 0] < SHORTEST, 0, missing32 / 4))
    missing = np.where(np.logical_or(*falls) | np.isnan(missing), 3, missing)
    missing = np.maximum.reduceat(missing, np.cumsum(1 << bits) - (1 << bits))
    over = np.maximum(error - 2 * apart64, 0).max(1)
    return np.column_stack([x0, c, short, over]), np.ceil(np.clip(missing, 0, 3)).astype(int)


def _guided(sides: tuple[Side, Side], support: tuple[float, float]) -> Table:
    bits = np.where(EXPONENTS >= -1 - COMMON, GUIDE, LOW)
    every = np.concatenate([[0.0], _starts(EXPONENTS, bits)[0], [0.5]])
    starts, lasts = [], []
    for side in sides:  # for knots as they are, and as they round to float32
        both = side.first, side.first.astype(np.float32)
        starts.append(np.minimum(*(np.searchsorted(knots, every[:-1], side="right") for knots in both)) - 1)
        lasts.append(np.maximum(*(np.searchsorted(knots, every[1:], side="right") for knots in both)) - 1)
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
    guide = np.concatenate(guide).astype(np.int32)
    octaves = np.concatenate([_octaves(bits, 0), _octaves(bits, every.size - 1)])
    return Table(np.concatenate(rows), None, octaves, np.concatenate(knots), guide, GUIDED, 0, steps, support)
