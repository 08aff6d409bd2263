"""Tails found from draws and gradients: the powers of a tail layer of least Fisher divergence."""

from __future__ import annotations

import numpy as np

from mcmc.warmup.geometry.conditional_forms import Rows
from mcmc.warmup.geometry.tail_layer import TailLayer, derivatives, invert

ROWS, STEPS, DIFFERENCE = 400, 12, 1e-4
LEAST, MOST = 0.2, 3.0
WORTHWHILE, SHARE, MUCH = 0.03, 0.6, 0.1


def find_tails(y: np.ndarray, g: np.ndarray) -> TailLayer | None:
    """The layer of those coordinates (row, dim) whose conditional law it brings nearer to a normal one, if any."""
    rows = Rows.of(y, g).some(ROWS)
    y, g, train = rows.y, rows.g, rows.train
    loc, scale = y.mean(0), np.sqrt(y.std(0) / (g.std(0) + 1e-300))
    start = np.stack([loc, np.log(scale), np.zeros_like(loc), np.zeros_like(loc)])
    normal = _fitted(start, y[train], g[train], free=2)
    before = _losses(normal, y[~train], g[~train])
    worth = np.flatnonzero(before > WORTHWHILE)
    if not len(worth):
        return None
    found = _fitted(normal[:, worth], y[train][:, worth], g[train][:, worth], free=4)
    after = _losses(found, y[~train][:, worth], g[~train][:, worth])
    good = after < np.maximum(SHARE * before[worth], before[worth] - MUCH)
    if not good.any():
        return None
    dim = y.shape[1]
    numbers = np.stack([np.zeros(dim), np.ones(dim), np.ones(dim), np.ones(dim)])
    kept = found[:, good]
    numbers[:, worth[good]] = np.stack([kept[0], *np.exp(kept[1:])])
    return TailLayer(*numbers)


def _residual(parameters: np.ndarray, y: np.ndarray, g: np.ndarray) -> np.ndarray:
    """z + ∂ log π/∂z (row, coordinate), which is 0 for a normal law, bounded for rows far out."""
    loc, scale, right, left = parameters[0], *np.exp(parameters[1:])
    z = invert((y - loc) / scale, right, left)
    slope, bend = derivatives(z, right, left)
    r = z + g * scale * slope + bend
    return np.nan_to_num(np.sign(r) * np.sqrt(2 * (np.sqrt(1 + r * r) - 1)), nan=1e3, posinf=1e3, neginf=-1e3)


def _losses(parameters: np.ndarray, y: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.mean(_residual(parameters, y, g) ** 2, 0)


def _fitted(start: np.ndarray, y: np.ndarray, g: np.ndarray, free: int) -> np.ndarray:
    """Levenberg–Marquardt for every coordinate apart, in the first `free` of loc, log scale, log δ₊, log δ₋."""
    at, damping = start.copy(), np.full(start.shape[1], 1e-2)
    residual = _residual(at, y, g)
    loss = np.mean(residual**2, 0)
    size = np.stack([np.exp(start[1]), *np.ones((3, start.shape[1]))]) * DIFFERENCE
    for _ in range(STEPS):
        slopes = np.stack(
            [(_residual(at + size * unit, y, g) - residual) / DIFFERENCE for unit in np.eye(4)[:free, :, None]]
        )
        gram = np.einsum("inc,jnc->cij", slopes, slopes) / len(y)
        towards = np.einsum("inc,nc->ci", slopes, residual) / len(y)
        ridge = damping[:, None, None] * (np.eye(free) * (np.einsum("cii->ci", gram)[:, :, None] + 1e-9))
        step = np.clip(np.linalg.solve(gram + ridge, towards[:, :, None])[:, :, 0].T, -1, 1)
        tried = at.copy()
        tried[:free] -= step * size[:free] / DIFFERENCE
        tried[2:] = np.clip(tried[2:], np.log(LEAST), np.log(MOST))
        new = _residual(tried, y, g)
        better = np.mean(new**2, 0) < loss
        at[:, better], residual[:, better] = tried[:, better], new[:, better]
        loss = np.mean(residual**2, 0)
        damping = np.where(better, damping / 4, damping * 8)
    return at
