"""What lies beyond the reach of any draw: panels and quantiles down to masses of 1e-300, for tails that are asked for.

In panels of a few nats the log distance is a polynomial of the log of the mass beyond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.direct.inverse_cdf.lookup import as_type, inside
from mcmc.direct.inverse_cdf.panels import Panels, build
from mcmc.direct.inverse_cdf.quadrature import XI
from mcmc.direct.inverse_cdf.scan import FAR, HostDensity

DEPTH, NATS = 650.0, 3.0  # of the density times the distance: how far it may fall, and in one panel
GRID, ZOOMS = 512, 4
TERMS = 8
CUT = 2.0**-62  # masses below which the far quantile is taken
BEGIN = 2.0**-50  # masses from which it is known


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Far:
    """Of each side, log masses where pieces begin, from the least on, and coefficients (piece, TERMS) of log distances.

    A piece ends where the next begins; `anchor` and `sign` are the side's coordinates; sign 0: nothing is known.
    """

    knots: Any
    rows: Any
    anchor: Any
    sign: Any


def with_far(density: HostDensity, p: Panels, ends: tuple[float, float]) -> tuple[Panels, tuple[float, float]]:
    """The panels with those left of the first and right of the last, and the masses beyond these."""
    parts, masses = [p], list(ends)
    for side, k, t in ((0, 0, p.t0[0]), (1, -1, p.t1[-1])):
        anchor, sign, limit = float(p.anchor[k]), float(p.sign[k]), density.support[side]
        edges = _edges(density, anchor, sign, float(t), sign if side else -sign, limit)
        if edges is None or (masses[side] > 0 and anchor != limit):
            continue
        if anchor == limit:  # a power law goes on to the end
            log = _log_mass(density, anchor, sign, edges[[-2, -1]])
            rate = (log[0] - log[1]) / abs(edges[-2] - edges[-1])
            masses[side] = math.exp(log[1]) / rate if rate > 0 else 0.0
        edges = np.sort(edges)
        t0, t1 = (edges[:-1], edges[1:]) if sign > 0 else (edges[1:][::-1], edges[:-1][::-1])
        new = build(density, np.full(t0.size, anchor), np.full(t0.size, sign), t0, t1)
        parts.insert(len(parts) if side else 0, new)
    every = Panels(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Panels)))
    return every, (masses[0], masses[1])


def _edges(
    density: HostDensity, anchor: float, sign: float, t: float, outward: float, limit: float
) -> np.ndarray | None:
    """Log distances from t outwards, between which the density times the distance falls by about `NATS`."""
    if sign == 0:
        return None
    room = math.log(abs(limit - anchor)) if math.isfinite(limit) and outward > 0 else outward * (FAR - 2)
    last = room if outward > 0 else max(room, math.log(np.spacing(abs(anchor)) * 64 + 1e-300))
    if (last - t) * outward <= 1e-9 * abs(t):
        return None
    for _ in range(ZOOMS):  # to where it has fallen so far
        at = np.linspace(t, last, GRID)
        g = _log_mass(density, anchor, sign, at)
        g = g - g[0]
        gone = np.flatnonzero(~(g > -DEPTH))
        if not gone.size or gone[0] > GRID // 4:
            break
        last = float(at[max(gone[0], 1)])
    if gone.size:
        at, g = at[: gone[0]], g[: gone[0]]
    if at.size < 3:
        return None
    way = np.append(0.0, np.cumsum(np.abs(np.diff(g))))
    pieces = max(int(way[-1] / NATS), 1)
    return np.interp(np.linspace(0, way[-1], pieces + 1), way + 1e-9 * np.arange(way.size), at)


def _log_mass(density: HostDensity, anchor: float, sign: float, t: np.ndarray) -> np.ndarray:
    """The log of the density times the distance."""
    return density.near(np.full(t.shape, anchor), np.full(t.shape, sign), np.exp(t)) + t


def far_of(p: Panels, ends: tuple[float, float]) -> Far:
    """The quantiles of small masses, from all panels and the masses beyond them."""
    total = p.mass.sum() + sum(ends)
    sides = [_side(p, ends[0] / total, total, 0), _side(p, ends[1] / total, total, -1)]
    size = max(1, *(len(knots) for knots, *_ in sides))
    knots = np.stack([np.append(k, np.full(size - len(k), np.inf)) for k, *_ in sides])
    rows = np.stack([np.concatenate([r, np.zeros((size - len(r), TERMS + 2))]) for _, r, *_ in sides])
    return Far(knots, rows, np.array([s[2] for s in sides]), np.array([s[3] for s in sides]))


def _side(p: Panels, end: float, total: float, k: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    anchor, sign = float(p.anchor[k]), float(p.sign[k])
    order = np.arange(p.mass.size)[:: 1 if k == 0 else -1]
    beyond = end + np.append(0.0, np.cumsum(p.mass[order]))[:-1] / total
    alike = np.cumprod((p.anchor[order] == anchor) & (p.sign[order] == sign)).astype(bool)
    some = alike & (beyond < BEGIN) & (p.mass[order] > 0)
    nothing = np.zeros(0), np.zeros((0, TERMS + 2)), 0.0, 0.0
    if sign == 0 or some.sum() < 2:
        return nothing
    at, first = order[some], beyond[some]
    share = np.column_stack([np.zeros(at.size), p.below[at] / p.mass[at][:, None], np.ones(at.size)])
    share = share if k == 0 else 1 - share
    with np.errstate(all="ignore"):
        log = np.log(first[:, None] + share * p.mass[at][:, None] / total)
    t = 0.5 * (p.t0 + p.t1)[at, None] + 0.5 * (p.t1 - p.t0)[at, None] * np.concatenate([[-1.0], XI, [1.0]])
    good = np.isfinite(log)
    low = np.min(log, 1, where=good, initial=np.inf)
    rate = 2 / np.maximum(np.max(log, 1, where=good, initial=-np.inf) - low, 1e-300)
    scaled = np.where(good, (log - low[:, None]) * rate[:, None] - 1, 0.0)
    matrix = scaled[..., None] ** np.arange(TERMS) * good[..., None]
    c = (np.linalg.pinv(matrix) @ np.where(good, t, 0.0)[..., None])[..., 0]
    return low, np.column_stack([low, rate, c]), anchor, sign


def far_quantile(far: Far, support: tuple[float, float], right: jax.Array, w: jax.Array, x: jax.Array) -> jax.Array:
    """x where w is not small; else what the side's polynomials say, if they know."""
    f = jax.tree.map(lambda a: as_type(a, w.dtype), far)
    side = right.astype(jnp.int32)
    log = jnp.log(jnp.maximum(w, jnp.finfo(w.dtype).tiny))
    at = [jnp.searchsorted(f.knots[i], log, side="right") - 1 for i in (0, 1)]
    known = jnp.where(right, f.sign[1] != 0, f.sign[0] != 0) & (w < CUT)
    row = jnp.where(
        known[..., None], f.rows[side, jnp.clip(jnp.where(right, at[1], at[0]), 0, f.knots.shape[1] - 1)], 0
    )
    s = jnp.clip((log - row[..., 0]) * row[..., 1] - 1, -1, 1)
    t = row[..., TERMS + 1]
    for j in range(TERMS, 1, -1):
        t = t * s + row[..., j]
    found = f.anchor[side] + f.sign[side] * jnp.exp(jnp.where(known, t, 0.0))
    return jnp.where(known, jnp.clip(found, *inside(support, w.dtype)), x)
