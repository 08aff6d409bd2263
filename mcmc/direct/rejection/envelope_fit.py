"""Finding an envelope for a log density of one dimension: on the host, in float64, with automatic derivatives.

With h = −1/√f, every piece of the envelope is a straight line above h. Where h is concave, as it is wherever log f is,
a tangent is above it; where h is convex, a chord is; where h has one inflection in a piece, the steeper of a tangent
and the chord is. Which of these holds is read off the signs of h″ at 17 points of every piece. Pieces are halved until
the envelope's integral is within a hundredth of the density's.

Source: Gilks & Wild 1992, Adaptive rejection sampling; Hörmann 1995, A rejection technique for sampling from
T-concave distributions; Leydold, Botts & Hörmann: Tinflex (piecewise T-concavity).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.direct.rejection.envelope import Pieces
from mcmc.errors import SamplingError

POINTS = 17
BATCH = 4096
V, V_WEIGHTS = ((np.polynomial.legendre.leggauss(POINTS)[i] + (1 - i)) / 2 for i in (0, 1))
NODES = 0.5 - 0.5 * np.cos(np.pi * np.arange(POINTS) / (POINTS - 1))
EXCESS = 0.006  # the envelope's integral over the density's, less 1
MOST_EXCESS = 0.2  # with as many pieces as there may be
MOST_PIECES, LAST_PIECES = 2000, 16_000
SLIGHT = 60.0  # nats below the density's mass: what matters to no draw, and need not be close
TURNS = 120
ROUNDING = 1e-10
MARGIN = 0.01
INNER = np.arange(1, POINTS - 1)
CONCAVE, CONVEX, TURNS_UP, TURNS_DOWN, UNCLEAR = range(5)
PROOFS = "log-concave tangents", "T-concave", "piecewise T-concave", "unproven bound"
ZOOMS, ZOOM = 12, 33
FAR = 330.0  # of logarithmic coordinates: x² does not underflow


class Unbounded(Exception):
    """No envelope of this form was found; the message says where."""


@dataclass(frozen=True)
class Region:
    """An interval (low, high) of y, in coordinates of one kind; see `Pieces`."""

    low: float
    high: float
    kind: int


class Values(NamedTuple):
    """The log density of y and its first two derivatives."""

    log_f: np.ndarray
    derivative: np.ndarray
    second_derivative: np.ndarray


class Density:
    """The log density in coordinates y of a kind about a centre, with derivatives, for NumPy arrays."""

    def __init__(self, log_density: Callable, params: tuple, support: tuple[float, float], centre: float):
        self.params, self.support, self.centre = params, support, centre

        def at(y: jax.Array, kind: jax.Array, params: tuple) -> jax.Array:
            x = centre + jnp.where(kind == 0, y, kind * jnp.exp(jnp.where(kind == 0, 0.0, y)))
            return log_density(x, *params) + jnp.where(kind == 0, 0.0, y)

        def derivative(y: jax.Array, kind: jax.Array, params: tuple) -> tuple:
            return jax.grad(at)(y, kind, params)

        def all_three(y: jax.Array, kind: jax.Array, params: tuple) -> tuple:
            second = jax.grad(derivative)(y, kind, params)
            return at(y, kind, params), derivative(y, kind, params), second

        self._function = jax.jit(lambda y, kind, p: jnp.stack(jax.vmap(all_three, (0, 0, None))(y, kind, p)))

    def __call__(self, y: np.ndarray, kind: Any) -> Values:
        """Values at y, an array of any shape; NaN and +inf are errors."""
        shape, flat = y.shape, np.asarray(y, float).ravel()
        kinds = np.broadcast_to(np.asarray(kind, float), shape).ravel()
        parts = []
        for i in range(0, flat.size, BATCH):  # of one size: one program
            some = [a[i : i + BATCH] for a in (flat, kinds)]
            n = some[0].size
            filled = [np.pad(a, (0, BATCH - n), "edge") for a in some]
            with np.errstate(all="ignore"):
                parts.append(np.asarray(self._function(*filled, self.params))[:, :n])
        log_f, first, second = (a.reshape(shape) for a in np.concatenate(parts, 1))
        return Values(self._checked(self.x(y, kind), log_f), first, second)

    def _checked(self, x: np.ndarray, log_f: np.ndarray) -> np.ndarray:
        """The log density; an error where it is NaN."""
        if np.isnan(log_f).any():
            at = float(x[np.isnan(log_f)].flat[0])
            raise SamplingError(f"log_density: NaN at {at!r}. Return a number on the support, -inf where it is zero.")
        return log_f

    def peaks(self, y: np.ndarray, kind: int) -> np.ndarray:
        """Where the derivative falls through 0 between two of these points, by bisection."""
        derivative = self(y, kind).derivative
        varies = (derivative > 0) | (derivative < 0)
        y, derivative = y[varies], derivative[varies]
        i = np.flatnonzero((derivative[:-1] > 0) & (derivative[1:] < 0))
        low, high = y[i], y[i + 1]
        for _ in range(60 if len(i) else 0):
            middle = (low + high) / 2
            up = self(middle, kind).derivative > 0
            before, (low, high) = (low, high), (np.where(up, middle, low), np.where(up, high, middle))
            if np.array_equal(before, (low, high)):
                break
        return np.unique((low + high) / 2)

    def widths(self, peaks: np.ndarray, kind: int) -> np.ndarray:
        """1 / √|(log f)''| at each peak."""
        curvature = self(peaks, kind).second_derivative
        return 1 / np.sqrt(np.maximum(abs(np.where(np.isfinite(curvature), curvature, 1.0)), 1e-300))

    def x(self, y: np.ndarray, kind: Any) -> np.ndarray:
        """The points whose coordinates are y."""
        kind = np.broadcast_to(kind, np.shape(y))
        return self.centre + np.where(kind == 0, y, kind * np.exp(np.where(kind == 0, 0.0, y)))


class HostDensity(Density):
    """The same of a function that JAX can't trace: derivatives by differences of five values within the row's ends."""

    def __init__(self, function: Any, params: tuple, support: tuple[float, float], centre: float):
        self.function, self.params, self.support, self.centre = function, params, support, centre

    def __call__(self, y: np.ndarray, kind: Any) -> Values:
        """Values at y, with derivatives where it has rows (piece, point); NaN is an error."""
        kind = np.broadcast_to(np.asarray(kind, float), y.shape)
        if y.ndim < 2:
            log_f = self._log_f(y, kind)
            return Values(log_f, np.full(y.shape, np.nan), np.full(y.shape, np.nan))
        step = _steps_within(y)
        with np.errstate(all="ignore"):
            left, right = (y - y[:, :1]) / step, (y[:, -1:] - y) / step
        shift = np.where(left < 1, 2, np.where(left < 2, 1, np.where(right < 1, -2, np.where(right < 2, -1, 0))))
        at = y[..., None] + (shift[..., None] + STENCIL) * step[..., None]
        values = self._log_f(at, np.broadcast_to(kind[..., None], at.shape))
        log_f = np.take_along_axis(values, 2 - shift[..., None], -1)[..., 0]
        with np.errstate(all="ignore"):
            first, second = (np.sum(w[shift + 2] * values, -1) / step**n for n, w in ((1, SLOPES), (2, BENDS)))
        return Values(log_f, first, second)

    def _log_f(self, y: np.ndarray, kind: np.ndarray) -> np.ndarray:
        inside = np.nextafter(self.support[0], np.inf), np.nextafter(self.support[1], -np.inf)
        x = np.clip(self.x(y, kind), *inside)
        return self._checked(x, self.function.host(x)) + np.where(kind == 0, 0.0, y)

    def peaks(self, y: np.ndarray, kind: int) -> np.ndarray:
        """Where the density is highest between neighbours of these points, by finer and finer grids."""
        y = np.unique(y)
        log_f = self(y, kind).log_f
        inner = np.flatnonzero((log_f[1:-1] >= log_f[:-2]) & (log_f[1:-1] > log_f[2:])) + 1
        low, high = y[inner - 1], y[inner + 1]
        for _ in range(ZOOMS if len(inner) else 0):
            grid = np.linspace(low, high, ZOOM, axis=1)
            best = np.clip(self(grid.ravel(), kind).log_f.reshape(grid.shape).argmax(1), 1, ZOOM - 2)
            low, high = (grid[np.arange(len(grid)), best + side] for side in (-1, 1))
        return np.unique((low + high) / 2)

    def widths(self, peaks: np.ndarray, kind: int) -> np.ndarray:
        """How far from each peak the log density has fallen by 1/2."""
        ladder = 2.0 ** np.arange(-60, 50, 0.5)
        around = peaks[:, None] + np.r_[ladder, -ladder, 0.0]
        log_f = self(around.ravel(), kind).log_f.reshape(around.shape)
        fallen = log_f < log_f[:, -1:] - 0.5
        return np.min(np.where(fallen[:, :-1], np.r_[ladder, ladder], ladder[-1]), 1)


def density_of(function: Callable, params: tuple, support: tuple[float, float], centre: float) -> Density:
    """The density, by JAX or on the host."""
    kind = HostDensity if hasattr(function, "host") else Density
    return kind(function, params, support, centre)


def _steps_within(y: np.ndarray) -> np.ndarray:
    """Steps of differences for points (piece, point): a share of the piece, and of how far the fourth next point is."""
    apart = np.full(y.shape, np.inf)
    four = (y[:, 4:] - y[:, :-4]) / 8
    apart[:, :-4], apart[:, 4:] = four, np.minimum(apart[:, 4:], four)
    apart[:, 4:-4] = np.minimum(four[:, 4:], four[:, :-4])
    return np.maximum(np.minimum(apart, (y[:, -1:] - y[:, :1]) / 64), 1e-300)


def _difference_weights(order: int) -> np.ndarray:
    """Weights (shift + 2, value) of a derivative at 0, from five values at shift − 2 ... shift + 2."""
    powers = np.arange(5)
    wanted = np.where(powers == order, math.factorial(order), 0.0)
    return np.stack([np.linalg.solve((STENCIL + shift) ** powers[:, None], wanted) for shift in range(-2, 3)])


STENCIL = np.arange(-2.0, 3.0)
SLOPES, BENDS = _difference_weights(1), _difference_weights(2)


class Lines(NamedTuple):
    """Straight lines above h in pieces: through log f = `log_f` at `through`, of relative slope κ = h'/h there."""

    through: np.ndarray
    log_f: np.ndarray
    slope: np.ndarray


def fit_pieces(density: Density, regions: list[Region], modes: list[np.ndarray]) -> tuple[Pieces, float, str]:
    """Pieces for all regions, the share of the envelope that is the density, and why the envelope holds."""
    left = np.concatenate([np.r_[r.low, m] for r, m in zip(regions, modes, strict=True)])
    right = np.concatenate([np.r_[m, r.high] for r, m in zip(regions, modes, strict=True)])
    kind = np.concatenate([np.full(len(m) + 1, r.kind) for r, m in zip(regions, modes, strict=True)])
    for turn in range(TURNS):
        late = turn > TURNS // 2
        step = _steps(density, left, right, kind)
        y = _samples(density, left, right, kind, step)
        values = density(y, kind[:, None])
        if np.any(values.log_f == np.inf):
            raise Unbounded(f"{float(density.x(y, kind[:, None])[values.log_f == np.inf][0]):.6g}")
        form = _forms(y, values)
        lines = _flat_where_slight(_lines(y, values, form, (left, right), late), y, values.log_f, (left, right))
        anchor, width, share, log_area = areas = _areas(lines, left, right)
        covered, below = _covered(density, kind, y[:, POINTS // 2], areas)
        below &= _above(y, values.log_f, areas, left, right)
        empty = values.log_f.max(1) == -np.inf
        top = log_area[np.isfinite(log_area)].max(initial=-1e300)
        area = np.where(empty, 0.0, np.exp(log_area - top))
        inside = np.where(np.isfinite(area), area * covered, 0.0)
        excess = np.where(np.isfinite(area) & (below | empty), area - inside, np.inf)
        if excess.sum() <= EXCESS * inside.sum() or (
            len(left) > MOST_PIECES and excess.sum() <= MOST_EXCESS * inside.sum()
        ):
            break
        if len(left) > LAST_PIECES or turn == TURNS - 1:
            i = int(np.argmax(excess))
            raise Unbounded(f"{float(density.x(y, kind[:, None])[i, POINTS // 2]):.6g}")
        left, right, kind = _halved(left, right, kind, step, excess > EXCESS * inside.sum() / len(left))
    kept = area > 0
    unproven = late and bool(np.any(form[kept] == UNCLEAR))
    pieces = Pieces(*(p[kept] for p in (left, right, kind, anchor, width, share, log_area)))
    return pieces, float(inside.sum() / area.sum()), _proof(form[kept], values.second_derivative[kept], unproven)


def _steps(density: Density, left: np.ndarray, right: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """For pieces with an infinite end: how far from the other end the log density has fallen by 1; else NaN."""
    step = np.full(len(left), np.nan)
    for i in np.flatnonzero(np.isinf(left) | np.isinf(right)):
        end, sign = (left[i], 1.0) if np.isinf(right[i]) else (right[i], -1.0)
        tries = 2.0 ** np.arange(-60, 60, 0.5)
        if kind[i]:
            tries = tries[tries < max(FAR - abs(end), 2.0)]
        log_f = density(end + sign * np.r_[0.0, tries], kind[i]).log_f
        fallen = np.flatnonzero(log_f[1:] < log_f[0] - 1)
        if not len(fallen) or tries[fallen[0]] < np.spacing(abs(end)):
            raise Unbounded(f"the tail beyond {float(density.x(end, kind[i])):.6g}")
        step[i] = tries[fallen[0]]
    return step


def _samples(density: Density, left: np.ndarray, right: np.ndarray, kind: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Points (piece, point): Chebyshev's in a finite piece, a geometric sequence in an infinite one."""
    far = np.r_[0.0, 2.0 ** np.arange(-4, POINTS - 5)]
    width = np.where(np.isfinite(step), 1.0, right - left)
    start = np.where(np.isinf(left), 0.0, left)
    y = start[:, None] + np.where(np.isfinite(width), width, 0)[:, None] * NODES
    y = np.where(np.isinf(right)[:, None], start[:, None] + step[:, None] * far, y)
    y = np.where(np.isinf(left)[:, None], right[:, None] - step[:, None] * far[::-1], y)
    edge = 4 * np.spacing(abs(density.centre) + np.maximum(abs(y[:, 0]), abs(y[:, -1]))) + 1e-300
    edge = np.minimum(edge, 0.01 * (y[:, -1] - y[:, 0]))  # a density may jump at an end: stay inside
    y = np.clip(y, (y[:, 0] + edge)[:, None], (y[:, -1] - edge)[:, None])
    return np.where(kind[:, None] == 0, y, np.clip(y, -FAR, FAR))


def _forms(y: np.ndarray, values: Values) -> np.ndarray:
    """The form of h in each piece, by the signs of h'' / |h| = (log f)'' / 2 - ((log f)' / 2)² up to rounding."""
    first, second, log_f = (v[:, 1:-1] for v in (values.derivative, values.second_derivative, values.log_f))
    with np.errstate(all="ignore"):
        d = second - first**2 / 2
        small = ROUNDING * (abs(second) + first**2 / 2) + ROUNDING / (y[:, -1] - y[:, 0])[:, None] ** 2
        sign = np.where(d > small, 1, np.where(d < -small, -1, 0))
    sign = np.where(log_f == -np.inf, -1, sign)
    form = np.full(len(y), UNCLEAR)
    for i, row in enumerate(sign):
        signs = row[row != 0]
        turns = np.flatnonzero(np.diff(signs))
        if len(turns) == 0:
            form[i] = CONVEX if len(signs) and signs[0] > 0 else CONCAVE
        elif len(turns) == 1:
            form[i] = TURNS_UP if signs[0] < 0 else TURNS_DOWN
    return np.where(np.isnan(d).any(1) & (log_f > -np.inf).all(1), UNCLEAR, form)


def _lines(y: np.ndarray, values: Values, form: np.ndarray, ends: tuple, late: bool) -> Lines:
    """A line above h in each piece: NaN where there is none yet."""
    log_f, tangent = values.log_f, -values.derivative / 2
    rows = np.arange(len(y))
    with np.errstate(all="ignore"):
        width = y[:, -1] - y[:, 0]
        chord_left = np.expm1((log_f[:, 0] - log_f[:, -1]) / 2) / width
        chord_right = -np.expm1((log_f[:, -1] - log_f[:, 0]) / 2) / width
        area = np.stack([_areas(Lines(y[:, j], log_f[:, j], tangent[:, j]), *ends)[3] for j in INNER], 1)
    best = INNER[np.argmin(np.where(np.isnan(area), np.inf, area), 1)]
    through, height, slope = y[rows, best], log_f[rows, best], tangent[rows, best]
    for wanted, at, value in (
        (CONVEX, 0, chord_left),
        (TURNS_UP, 0, np.fmin(tangent[:, 0], chord_left)),
        (TURNS_DOWN, -1, np.fmax(tangent[:, -1], chord_right)),
        (UNCLEAR, 0, np.full(len(y), np.nan)),
    ):
        use = form == wanted
        through, height = np.where(use, y[:, at], through), np.where(use, log_f[:, at], height)
        slope = np.where(use, value, slope)
    infinite = ~np.isfinite(ends[0]) | ~np.isfinite(ends[1])
    slope = np.where(infinite & (form != CONCAVE), np.nan, slope)
    if late:
        flat = ((form == UNCLEAR) | ~np.isfinite(slope)) & ~infinite
        highest = log_f.max(1) + MARGIN + (log_f.max(1) - log_f.min(1))
        height, slope = np.where(flat, highest, height), np.where(flat, 0.0, slope)
    return Lines(through, height, slope)


def _flat_where_slight(lines: Lines, y: np.ndarray, log_f: np.ndarray, ends: tuple) -> Lines:
    """The lines, flat and well above the values where all the mass is slight."""
    with np.errstate(all="ignore"):
        steps = np.abs(np.diff(np.maximum(log_f, np.max(log_f, 1, keepdims=True) - 1e4), axis=1))
        highest = log_f.max(1) + MARGIN + steps.max(1)
        span = np.log(y[:, -1] - y[:, 0])
        mass = np.logaddexp.reduce(log_f, axis=1) - np.log(POINTS) + span
        finite = np.isfinite(ends[0]) & np.isfinite(ends[1])
        slight = finite & (highest + span < mass.max() - SLIGHT)
    return Lines(*(np.where(slight, flat, a) for flat, a in zip((y[:, 0], highest, 0.0), lines, strict=True)))


def _areas(lines: Lines, left: np.ndarray, right: np.ndarray) -> tuple:
    """Anchor, width, share and log area of the envelope under these lines; NaN where a line is not below 0."""
    with np.errstate(all="ignore"):
        at_left = 1 + lines.slope * (left - lines.through)
        at_right = 1 + lines.slope * (right - lines.through)
        at_left = np.where(np.isinf(left) & (lines.slope == 0), -np.inf, at_left)
        at_right = np.where(np.isinf(right) & (lines.slope == 0), -np.inf, at_right)
        from_left = at_left <= at_right
        anchor, factor = np.where(from_left, left, right), np.minimum(at_left, at_right)
        rate = abs(lines.slope / factor)
        length = right - left
        share = np.where(np.isinf(length), 1.0, rate * length / (1 + rate * length))
        width = np.where(np.isinf(length), 1 / rate, length / (1 + rate * length))
        log_area = lines.log_f - 2 * np.log(factor) + np.log(width)
    valid = (factor > 0) & np.isfinite(anchor) & np.isfinite(log_area)
    return anchor, np.where(from_left, width, -width), share, np.where(valid, log_area, np.nan)


def _covered(density: Density, kind: np.ndarray, known: np.ndarray, areas: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The density's share of the envelope in each piece, and whether it is below the envelope at all points."""
    anchor, width, share, log_area = areas
    with np.errstate(all="ignore"):
        y = anchor[:, None] + V * width[:, None] / (1 - share[:, None] * V)
        log_height = (log_area - np.log(abs(width)))[:, None] + 2 * np.log1p(-share[:, None] * V)
        limits = np.where(kind == 0, np.inf, FAR)[:, None]
        usable = np.isfinite(log_area)[:, None] & (abs(y) < limits)
        log_f = density(np.where(usable, y, known[:, None]), kind[:, None]).log_f
        over = np.where(usable, log_f - log_height, -np.inf)
        return np.exp(np.minimum(over, 0)) @ V_WEIGHTS, np.all(over < 1e-6, axis=1)


def _above(y: np.ndarray, log_f: np.ndarray, areas: tuple, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether the envelope is above the density at the sampled points of each piece, its ends among them."""
    anchor, width, share, log_area = (a[:, None] for a in areas)
    with np.errstate(all="ignore"):
        log_height = log_area - np.log(abs(width)) - 2 * np.log1p((y - anchor) * share / width)
    inside = (y >= left[:, None]) & (y <= right[:, None])
    return np.all((log_f <= log_height + 1e-6) | ~inside, axis=1)


def _halved(
    left: np.ndarray, right: np.ndarray, kind: np.ndarray, step: np.ndarray, split: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pieces with some of them cut in two."""
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isinf(right), left + step, np.where(np.isinf(left), right - step, (left + right) / 2))
    split = split & (middle > left) & (middle < right)
    new_left = np.concatenate([left, middle[split]])
    new_right = np.concatenate([np.where(split, middle, right), right[split]])
    return new_left, new_right, np.concatenate([kind, kind[split]])


def _proof(form: np.ndarray, bend: np.ndarray, unproven: bool) -> str:
    if unproven:
        return PROOFS[3]
    if np.any(form != CONCAVE):
        return PROOFS[2]
    return PROOFS[1] if np.nanmax(bend[:, 1:-1], initial=-np.inf) > ROUNDING * np.nanmax(abs(bend)) else PROOFS[0]
