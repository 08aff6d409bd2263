"""Setup under jit, vmap or grad: a fixed number of panels, placed by mass, tails and distance; all in jax.numpy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.direct.inverse_cdf.cumulative import Ranges, before, integrals
from mcmc.direct.inverse_cdf.lookup import SEARCHED, Table, inside, quantile
from mcmc.direct.inverse_cdf.polynomials import DEGREE, fit, horner
from mcmc.direct.inverse_cdf.quadrature import DOUBT, INTEGRATE, TO, WEIGHTS
from mcmc.direct.inverse_cdf.scan import grid

PANELS, STEPS = 256, 8
ZOOMS, POINTS = 8, 64
MOVES = 2


@partial(jax.jit, static_argnames=("log_density", "support", "breaks"))
def setup(log_density: Callable, params: tuple, support: tuple[float, float], breaks: tuple[float, ...]) -> tuple:
    """The table, the panels, log ∫ exp(log_density) and the u-error, of a density that may depend on tracers."""
    fixed = jax.tree.map(lax.stop_gradient, params)
    edges, first = _place(lambda x: log_density(x, *fixed), support, breaks)

    def move(_: int, edges: jax.Array) -> jax.Array:
        table, masses, _ = tabulate(lambda x: log_density(x, *fixed) - first, edges, support)
        share = jnp.cumsum(masses) / jnp.sum(masses)
        return _moved(table, edges, jnp.concatenate([jnp.zeros(1, edges.dtype), share]), breaks)

    edges = lax.fori_loop(0, MOVES, move, edges)
    table, _, u_error = tabulate(lambda x: log_density(x, *fixed) - first, edges, support)
    zero = jnp.zeros_like(edges[:-1])
    masses = integrals(lambda x: log_density(x, *params) - first, zero, zero, edges[:-1], edges[1:], support)
    total = jnp.sum(masses)
    ranges = Ranges(zero, zero, edges[:-1], edges[1:], edges[:-1], jnp.zeros(2, edges.dtype), masses / total)
    return table, ranges, first + jnp.log(total), u_error


def _place(log_density: Callable, support: tuple[float, float], breaks: tuple[float, ...]) -> tuple:
    """Edges from a scan over all magnitudes and a finer one at the highest mode, and a first log normaliser."""
    dtype = jnp.result_type(float)
    info = np.finfo(dtype)
    low, high = inside(support, dtype)
    x = grid(support, breaks)
    x = jnp.asarray(np.unique(np.clip(x[np.abs(x) < info.max**0.9], low, high).astype(dtype)))
    mode, width = _climb(log_density, x)
    near = np.exp(np.linspace(-6, 12, 500)).astype(dtype)
    x = jnp.sort(jnp.concatenate([x, jnp.clip(jnp.concatenate([mode - width * near, mode + width * near]), low, high)]))
    log = log_density(x)
    top = jnp.max(log)
    f = jnp.exp(log - top)
    masses = 0.5 * (f[1:] + f[:-1]) * jnp.diff(x)
    total = jnp.sum(masses)
    share = jnp.concatenate([jnp.zeros(1, dtype), jnp.cumsum(masses) / total])
    first = jnp.maximum(jnp.argmax(share > 0) - 2, 0)
    last = jnp.minimum(x.size - jnp.argmax(share[::-1] < 1 - np.finfo(dtype).eps) + 1, x.size - 1)
    return _spread(x, share, mode, width).at[0].set(x[first]).at[-1].set(x[last]), top + jnp.log(total)


def _climb(log_density: Callable, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The highest mode, by finer and finer grids, and the distance from it to where the density is lower by e^½."""
    log = log_density(x)
    at = jnp.clip(jnp.argmax(log), 1, x.size - 2)

    def zoom(_: int, state: tuple) -> tuple:
        a, b, best, mode, width = state
        points = a + (b - a) * jnp.linspace(0, 1, POINTS, dtype=x.dtype)
        log = log_density(points)
        at = jnp.argmax(log)
        mode = jnp.where(log[at] > best, points[at], mode)
        best = jnp.maximum(best, log[at])
        width = jnp.minimum(width, _reach(points, log, mode, best))
        return points[jnp.maximum(at - 1, 0)], points[jnp.minimum(at + 1, POINTS - 1)], best, mode, width

    start = x[at - 1], x[at + 1], log[at], x[at], _reach(x, log, x[at], log[at])
    _, _, _, mode, width = lax.fori_loop(0, ZOOMS, zoom, start)
    width = jnp.minimum(width, jnp.maximum(x[-1] - mode, mode - x[0]))
    return mode, jnp.maximum(width, 4 * jnp.abs(mode) * np.finfo(x.dtype).eps)


def _reach(x: jax.Array, log: jax.Array, mode: jax.Array, best: jax.Array) -> jax.Array:
    return jnp.min(jnp.where(log < best - 0.5, jnp.abs(x - mode), jnp.inf))


def _spread(x: jax.Array, share: jax.Array, mode: jax.Array, width: jax.Array) -> jax.Array:
    """Edges at equal steps of a mix of the mass, the logarithm of the mass beyond, and the distance."""
    dtype = x.dtype
    floor = 2.0**-60 if dtype == jnp.float64 else 2.0**-34
    left, right = jnp.clip(share, floor, 1), jnp.clip(1 - share, floor, 1)
    tails = (jnp.log(left) - jnp.log(right)) / (2 * np.log(1 / floor))
    big = np.finfo(dtype).max ** 0.9
    distance = jnp.arcsinh(jnp.clip((x - mode) / width, -big, big))
    some = (share > 4 * floor) & (share < 1 - 4 * floor)
    least, most = jnp.min(jnp.where(some, distance, jnp.inf)), jnp.max(jnp.where(some, distance, -jnp.inf))
    distance = (jnp.clip(distance, least, most) - least) / (most - least)
    mixed = 0.4 * share + 0.3 * tails + 0.3 * distance
    mixed = lax.cummax(mixed)
    levels = jnp.linspace(0, 1, PANELS + 1, dtype=dtype) * (mixed[-1] - mixed[0]) + mixed[0]
    edges = jnp.interp(levels, mixed, x)
    return lax.cummax(edges)


def _moved(table: Table, edges: jax.Array, share: jax.Array, breaks: tuple[float, ...]) -> jax.Array:
    """Edges spread again, by the distribution function that the table now has; some of them at the breaks."""
    w = share[:-1, None] + jnp.diff(share)[:, None] * np.array([0.25, 0.5, 0.75], edges.dtype)
    right = w > 0.5
    inner = quantile(table, right, jnp.where(right, 1 - w, w))
    inner = jnp.clip(inner, edges[:-1, None], edges[1:, None]).ravel()
    order = jnp.argsort(jnp.concatenate([edges, inner]))
    x, v = jnp.concatenate([edges, inner])[order], lax.cummax(jnp.concatenate([share, w.ravel()])[order])
    quarters = jnp.interp(np.array([0.25, 0.5, 0.75], edges.dtype), v, x)
    out = _spread(x, v, quarters[1], quarters[2] - quarters[0])
    out = out.at[0].set(edges[0]).at[-1].set(edges[-1])
    for point in breaks:
        out = out.at[jnp.argmin(jnp.abs(out - point))].set(point)
    return out


def tabulate(log_density: Callable, edges: jax.Array, support: tuple[float, float]) -> tuple:
    """The table of these panels, their masses, and the u-error."""
    dtype = edges.dtype
    half, middle = 0.5 * jnp.diff(edges), 0.5 * (edges[1:] + edges[:-1])
    x = middle[:, None] + half[:, None] * TO.astype(dtype)
    x = x.at[:, 0].set(edges[:-1]).at[:, DEGREE].set(edges[1:])
    f = jnp.exp(log_density(jnp.clip(x[:, DEGREE + 1 :], *inside(support, dtype))))
    g = f * half[:, None]
    mass = g @ WEIGHTS.astype(dtype)
    below = g @ INTEGRATE.astype(dtype).T
    total = jnp.sum(mass)
    doubt = jnp.sum(jnp.max(jnp.abs(g @ DOUBT.astype(dtype).T), 1))
    rate = jnp.where(mass > 0, 1 / jnp.where(mass > 0, mass, 1), 0)
    share = below * rate[:, None]
    rows, errors = [], []
    for flip in (False, True):
        s = (1 - share if flip else share)[:, : DEGREE + 1]
        y = x[:, : DEGREE + 1]
        s, y = (s[:, ::-1], y[:, ::-1]) if flip else (s, y)
        c = fit(s, y - y[:, :1], jnp)
        inner = (1 - share if flip else share)[:, DEGREE + 1 :]
        rise = horner(c, inner)[1] * (-1 if flip else 1)
        fine = jnp.all(jnp.isfinite(c), 1) & jnp.all(rise >= 0, 1)  # else a line: it is wrong by the mass at most
        c = jnp.where(fine[:, None], c, (y[:, -1:] - y[:, :1]) * (np.arange(DEGREE) == 0))
        value, _ = horner(c, inner)
        error = jnp.abs(y[:, :1] + value - x[:, DEGREE + 1 :]) * f
        errors.append(jnp.max(jnp.where(fine, jnp.minimum(jnp.max(error, 1), mass), mass)))
        first = before(mass[::-1])[::-1] if flip else before(mass)
        row = jnp.concatenate([(first / total)[:, None], (rate * total)[:, None], y[:, :1], c], 1)
        rows.append(row[::-1] if flip else row)
    rows = jnp.concatenate(rows)
    big = np.finfo(dtype).max ** 0.97
    table = Table(jnp.clip(rows, -big, big), None, None, rows[:, 0], None, SEARCHED, 0, STEPS, support)
    return table, mass, (jnp.maximum(*errors) + doubt) / total + 4 * np.finfo(dtype).eps
