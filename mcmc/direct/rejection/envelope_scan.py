"""Locating the mass of a one-dimensional log density, and fitting the envelope there."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import jax
import numpy as np
from jax import lax

from mcmc.direct.inverse_cdf.scan import overflow_ends
from mcmc.direct.rejection.envelope import Envelope, Pieces, make_table
from mcmc.direct.rejection.envelope_fit import FAR, Density, Region, Unbounded, density_of, fit_pieces
from mcmc.errors import SamplingError

LADDER = 2.0 ** np.arange(-60, 50, 0.25)
DEEP = 500.0  # nats below the top, where a density is still a density and not underflow
ROUNDED, MOST_ROUNDING = 16, 0.5  # rounding of log f: units in the last place, and the most nats to be taken for it
REMEDY = "Use mcmc.InverseCDF.fit, or give breaks at jumps, kinks and poles."


def find_envelope(
    log_density: Callable, support: tuple[float, float], breaks: tuple[float, ...], params: tuple
) -> tuple[Envelope, float]:
    """An envelope, and the log of the factor that takes it above the density."""
    dtypes = ("f8",) if jax.config.read("jax_enable_x64") else ("f4", "f8")
    for dtype in dtypes:
        support = _without_overflow(log_density, params, support, np.dtype(dtype))
    with jax.enable_x64(True):
        plain = density_of(log_density, params, support, 0.0)
        edges = [support[0], *sorted(breaks), support[1]]
        x, log_f = _scan(plain, edges)
        parts = _without_gaps(plain, edges, x, log_f)
        pole = _pole(plain, parts, x, log_f)
        centre = 0.0 if pole is not None else _centre(x, log_f)
        density = density_of(log_density, params, support, centre) if centre else plain
        try:
            if pole is not None:
                raise Unbounded(f"{pole:.6g}")
            found = _fit(density, [Region(a - centre, b - centre, 0) for a, b in parts], x, centre)
        except Unbounded:
            try:
                found = _fit(density, _logarithmic(parts, centre), x, centre)
            except Unbounded as error:
                raise SamplingError(
                    f"log_density: no envelope was found near {error}: the density may be unbounded there, have no "
                    f"integral, or a jump. {REMEDY}"
                ) from None
        return _tabled(log_density, params, density, support, dtypes, *found)


def _without_overflow(
    log_density: Callable, params: tuple, support: tuple[float, float], dtype: np.dtype
) -> tuple[float, float]:
    """The support without what lies so far out that the function's own arithmetic overflows, to NaN or +inf."""
    if all(map(math.isfinite, support)):
        return support
    with jax.enable_x64(bool(dtype == np.float64)), np.errstate(over="ignore"):
        x = _between(*support, LADDER).astype(dtype)
        x = np.unique(x[np.isfinite(x) & (x > support[0]) & (x < support[1])])
        log_f = np.asarray(jax.jit(jax.vmap(lambda x: log_density(x, *params)))(x), float)
    good = ~(np.isnan(log_f) | (log_f == np.inf))
    if not good.any():
        return support
    low, high = overflow_ends(x[good].astype(float), log_f[good], support, float(x[0]), float(x[-1]))
    return max(low, support[0]), min(high, support[1])


def _fit(density: Density, regions: list[Region], x: np.ndarray, centre: float) -> tuple[Pieces, float, str]:
    return fit_pieces(density, regions, [_modes(density, region, x - centre) for region in regions])


def _scan(density: Density, edges: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Points, geometric about the ends and about 0 and then denser where the density is high; its logs there."""
    x = np.concatenate([_between(a, b, LADDER) for a, b in itertools.pairwise(edges)])
    log_f = _values(density, x)
    for depth in (1e4, 60.0, 12.0, 2.0):
        top = log_f.max()
        if top == -np.inf:
            raise SamplingError(
                "log_density: -inf at all points tried, finite nowhere. Give a support where it is finite, or breaks."
            )
        for _ in range(3):
            high = np.flatnonzero(log_f > log_f.max() - depth)
            low, up = x[max(high[0] - 1, 0)], x[min(high[-1] + 1, len(x) - 1)]
            x, log_f = _merged(density, x, log_f, np.linspace(low, up, 1025)[1:-1])
        x, log_f = _merged(density, x, log_f, _peaks(density, x, log_f))
    return x, log_f


def _between(a: float, b: float, ladder: np.ndarray) -> np.ndarray:
    """Points of one interval, its ends left out."""
    if math.isinf(a) and math.isinf(b):
        return np.r_[-ladder[::-1], 0.0, ladder]
    if math.isinf(b):
        return a + ladder[ladder > 4 * np.spacing(abs(a))]
    if math.isinf(a):
        return b - ladder[ladder > 4 * np.spacing(abs(b))][::-1]
    near = ladder[ladder < 0.25] * (b - a)
    near = near[near > 4 * max(np.spacing(abs(a)), np.spacing(abs(b)))]
    return np.unique(np.r_[a + near, b - near, np.linspace(a, b, 1025)[1:-1]])


def _values(density: Density, x: np.ndarray) -> np.ndarray:
    log_f = density(x, 0).log_f
    if np.any(log_f == np.inf):
        raise SamplingError(f"log_density: +inf at {float(x[np.argmax(log_f)])!r}, inside. Give it in breaks.")
    return log_f


def _merged(density: Density, x: np.ndarray, log_f: np.ndarray, more: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    more = np.setdiff1d(more, x)
    if not len(more):
        return x, log_f
    x, log_f = np.r_[x, more], np.r_[log_f, _values(density, more)]
    order = np.argsort(x)
    return x[order], log_f[order]


def _peaks(density: Density, x: np.ndarray, log_f: np.ndarray) -> np.ndarray:
    """Peaks between the points, and a ladder of points about each."""
    peaks = density.peaks(x, 0)
    if not len(peaks):
        return peaks
    scale = density.widths(peaks, 0)
    about = (peaks[:, None] + scale[:, None] * np.r_[-np.arange(1, 9), 0, np.arange(1, 9)]).ravel()
    return about[(about > x[0]) & (about < x[-1])]


def _modes(density: Density, region: Region, x: np.ndarray) -> np.ndarray:
    """Modes inside a region, in its coordinates; one point more where an infinite end would have no other."""
    with np.errstate(invalid="ignore", divide="ignore"):
        y = x if region.kind == 0 else np.log(region.kind * x)
    y = np.unique(y[(y > region.low) & (y < region.high) & (abs(y) < (np.inf if region.kind == 0 else FAR))])
    if not len(y):
        return np.array([])
    modes = density.peaks(y, region.kind)
    if len(modes) == 0 and math.isinf(region.low) and math.isinf(region.high):
        modes = y[[np.argmax(density(y, region.kind).log_f)]]
    gap = 1e-12 * (1 + abs(modes))
    return modes[np.r_[True, np.diff(modes) > gap[1:]]] if len(modes) else modes


def _without_gaps(density: Density, edges: list[float], x: np.ndarray, log_f: np.ndarray) -> list[tuple[float, float]]:
    """The intervals between the edges, cut where the density falls to 0 in a jump, those of density 0 left out."""
    finite, deep = np.isfinite(log_f), log_f.max() - DEEP
    i = np.flatnonzero((finite[:-1] != finite[1:]) & (np.fmax(log_f[:-1], log_f[1:]) > deep))
    low, high, first = x[i], x[i + 1], finite[i]
    for _ in range(1100 if len(i) else 0):
        middle = (low + high) / 2
        same = np.isfinite(density(middle, 0).log_f) == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
        if np.all(high - low <= 4 * np.spacing(np.maximum(abs(low), abs(high))) + 1e-300):
            break
    cuts = sorted({*edges, *(float(c) for c in np.where(first, high, low))})
    kept = [cuts[0]]
    for cut in cuts[1:]:
        if cut - kept[-1] > 1e-12 * max(abs(cut), abs(kept[-1])) + 1e-290 or math.isinf(cut) or math.isinf(kept[-1]):
            kept.append(cut)
    pairs = itertools.pairwise(kept)
    return [(a, b) for a, b in pairs if np.any(finite & (x > a) & (x < b))]


def _pole(density: Density, parts: list[tuple[float, float]], x: np.ndarray, log_f: np.ndarray) -> float | None:
    """An end where the density grows without bound: it must be 0, where floats are dense."""
    poles = []
    for a, b in parts:
        for end, sign in ((a, 1.0), (b, -1.0)):
            if math.isinf(end):
                continue
            distance = 2.0 ** -np.arange(10, 40) * min(1.0, b - a)
            distance = distance[distance > 64 * np.spacing(abs(end))]
            values = density(end + sign * distance, 0).log_f
            rise = np.diff(values[-8:]) / np.log(2.0)
            if len(rise) > 3 and np.all(rise > 0.005):
                poles.append(end)
    wrong = [pole for pole in poles if pole != 0.0]
    if wrong:
        raise SamplingError(
            f"log_density: the density has a pole at {wrong[0]:.6g}, where floating-point numbers are too coarse for "
            f"it. Shift the variable so that the pole is at 0, or use mcmc.InverseCDF.fit."
        )
    return poles[0] if poles else None


def _centre(x: np.ndarray, log_f: np.ndarray) -> float:
    """0, or the median where that is far from 0 for the density's width: a number of float32."""
    f = np.exp(log_f - log_f.max())
    mass = np.r_[0.0, np.cumsum((f[1:] + f[:-1]) / 2 * np.diff(x))]
    low, median, high = np.interp(np.array([0.1, 0.5, 0.9]) * mass[-1], mass, x)
    return float(np.float32(median)) if abs(median) > 100 * (high - low) else 0.0


def _logarithmic(parts: list[tuple[float, float]], centre: float) -> list[Region]:
    """The parts in logarithmic coordinates on both sides of the centre."""
    regions = []
    with np.errstate(divide="ignore"):
        for a, b in ((a - centre, b - centre) for a, b in parts):
            if b > 0:
                regions.append(Region(float(np.log(max(a, 0.0))), float(np.log(b)), 1))
            if a < 0:
                regions.append(Region(float(np.log(max(-b, 0.0))), float(np.log(-a)), -1))
    return regions


def _tabled(
    log_density: Callable,
    params: tuple,
    density: Density,
    support: tuple[float, float],
    dtypes: tuple[str, ...],
    pieces: Pieces,
    rate: float,
    proof: str,
) -> tuple[Envelope, float]:
    """Tables for both dtypes, and a log bound that covers what they and the log density are rounded by."""
    ends = np.sort(np.stack([density.x(pieces.left, pieces.kind), density.x(pieces.right, pieces.kind)]), 0)
    order = np.argsort(ends[0])
    pieces, ends = Pieces(*(p[order] for p in pieces)), ends[:, order]
    single, bound = make_table(pieces, density.centre, support, np.float32)
    double, same = make_table(pieces, density.centre, support, np.float64)
    edges = (ends[0], ends[1], np.arange(len(order)))
    mapped = bool(np.any(pieces.kind))
    envelope = Envelope(pieces, single, double, edges, 1.0, proof, mapped)
    log_bound = max(bound, same)
    raised = log_bound + max(_excess(log_density, params, envelope, np.dtype(d), log_bound) for d in dtypes)
    rate = rate * math.exp(min(bound, same) - raised)
    return Envelope(pieces, single, double, edges, rate, proof, mapped), raised


def _excess(log_density: Callable, params: tuple, envelope: Envelope, dtype: np.dtype, log_bound: float) -> float:
    """How far the log bound must rise in this dtype: the most that is found, half as much again and a few ulps."""
    with jax.enable_x64(bool(dtype == np.float64)):
        table = envelope.table(dtype)
        v = np.concatenate([np.linspace(0, 1, 66)[1:-1], 2.0 ** -np.arange(8, 25), 1 - 2.0 ** -np.arange(8, 25)])
        pieces = len(envelope.pieces.left)
        rows, v = (a.ravel() for a in np.meshgrid(2 * np.arange(pieces), v, indexing="ij"))

        @jax.jit
        def evaluate(rows: jax.Array, v: jax.Array) -> tuple:
            x, log_g = lax.optimization_barrier(envelope.place(table, rows, v))
            return x, log_g, lax.optimization_barrier(jax.vmap(lambda x: log_density(x, *params))(x))

        x, log_g, log_f = map(np.asarray, evaluate(rows.astype(np.int32), v.astype(dtype)))
        with np.errstate(invalid="ignore"):
            over = np.where(log_f == -np.inf, -np.inf, log_f - log_g).astype(float) - log_bound
    i = int(np.argmax(over))
    rounding = ROUNDED * float(np.finfo(dtype).eps) * abs(float(log_f[i]))
    if over[i] < rounding and not over[i] < MOST_ROUNDING:
        raise SamplingError(
            f"log_density: near {float(x[i]):.6g} it is {float(log_f[i]):.3g}, which {dtype} rounds by {over[i]:.3g}. "
            "Subtract its maximum inside the function, term by term, or fit and draw with jax.enable_x64(True)."
        )
    if not over[i] < min(max(0.1, rounding), MOST_ROUNDING):
        raise SamplingError(
            f"log_density: it rises above its envelope near {float(x[i]):.6g} (by {over[i]:.3g} in logs, {dtype}): "
            f"there is a feature narrower than the search, or {dtype} can't resolve it. {REMEDY}"
        )
    return max(0.0, 1.5 * over[i]) + 16 * float(np.finfo(dtype).eps)
