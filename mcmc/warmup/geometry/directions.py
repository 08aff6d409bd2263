r"""Directions in which a hierarchy lies askew: one that scales the others, and those that it scales.

Where a linear combination h = a·x scales the others, −∂ log π across a is exp(h)(K₁x − l₁) + K₀x − l₀. K and l given a
are least squares, and a is found by Gauss-Newton steps of what they leave, from the regression of log |∂ log π| on x.
In the coordinates in which K₁ and K₀ are both diagonal, the others are normal each by itself. Where the form does not
hold, covariances of gradients at low and at high h stand for K₀ and K₁.

Source: variable projection, Golub & Pereyra 1973.
"""

from __future__ import annotations

import numpy as np

from mcmc.warmup.geometry.linear_layer import LinearLayer

EXPLAINED, ASKEW, RIDGE, ROUNDS = 0.25, 0.95, 1e-6, 4
ROWS, CLIP, FLOOR, STEPS, FULL_UP_TO, STARTS, EXACT = 300, 40.0, 1e-3, 30, 40, (1.0, 0.5, 2.0), 1e-8


def find_directions(y: np.ndarray, g: np.ndarray) -> LinearLayer | None:
    """New coordinates of these rows (row, dim), the one that scales first; None where no combination stands out."""
    from scipy.linalg import null_space

    mid, sd = y.mean(0), y.std(0)
    x, score = (y - mid) / sd, g * sd
    others = np.eye(x.shape[1])
    level = slope = np.zeros(0)
    for _ in range(ROUNDS):  # the gradient along h itself is left out once h is known about
        level = np.log(np.sum((score @ others) ** 2, 1) + 1e-300)
        level = level - level.mean()
        slope = np.linalg.lstsq(x, level, rcond=None)[0]
        others = null_space(slope[None])
    explained = (x @ slope).var() >= EXPLAINED * level.var()
    slope, exact = _refined(x, score, slope)
    if not (exact or explained) or np.abs(slope).max() > ASKEW * np.linalg.norm(slope):
        return None
    found = _exact_axes(x, score, slope) if exact else None
    along, others = found or _axes(x, score, slope)
    return LinearLayer(sd[:, None] * np.concatenate([along[:, None], others], 1))


def _axes(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction of h, and those across it (dim, dim − 1), from gradients at low and at high h."""
    from scipy.linalg import eigh, null_space

    h, others = x @ slope, null_space(slope[None])
    low, high = (np.cov((score[rows] @ others).T) for rows in (h < np.quantile(h, 0.3), h > np.quantile(h, 0.7)))
    if others.shape[1] > 1:
        ridge = RIDGE * np.trace(low) / len(low) * np.eye(len(low))
        others = others @ eigh(high + ridge, low + ridge)[1]
    along = x.T @ h / len(h) / h.std()
    return along / (slope @ along), others


def _exact_axes(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The direction along which h changes and the gradient across it does not but by exp(h), and those across it."""
    from scipy.linalg import eigh, null_space

    dim, others = len(slope), null_space(slope[None])
    found = _projected(x, score, slope)[1]
    along = np.linalg.svd(np.concatenate([found[:dim].T, found[dim + 1 : -1].T]))[2][-1]
    if abs(slope @ along) < RIDGE * np.linalg.norm(slope):
        return None
    scaled, constant = (-others.T @ part @ others for part in (found[:dim], found[dim + 1 : -1]))
    scaled, constant = (scaled + scaled.T) / 2, (constant + constant.T) / 2
    both = scaled + constant
    both += RIDGE * np.trace(both) / len(both) * np.eye(len(both))
    return along / (slope @ along), others @ eigh(scaled, both)[1]


def _refined(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, bool]:
    """The slope of h for which −∂ log π across it is best linear in y given h, and whether that leaves nothing.

    Rows far out weigh most: where a little of the others leaks into h, a neck is missed by much. A step takes time as
    the cube of the dimension: of many, fewer steps are made, or none.
    """
    steps = int(STEPS * min(1.0, (FULL_UP_TO / len(slope)) ** 3))
    if steps == 0:
        return slope, False
    from scipy.optimize import least_squares

    rows = np.linspace(0, len(x) - 1, min(ROWS, len(x))).astype(int)
    x, score = x[rows], score[rows]
    tried = []
    for factor in STARTS:
        try:
            found = least_squares(lambda s: _projected(x, score, s)[0], factor * slope, max_nfev=steps)
        except (np.linalg.LinAlgError, ValueError):
            continue
        tried.append((found.cost, found.x))
        if found.cost < EXACT * len(x):
            return found.x, True
    return (tried[0][1] if tried else slope), False


def _projected(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the best matrices leave of the gradient across the slope, bounded for rows far out, and these matrices."""
    h = np.clip(x @ slope, -CLIP, CLIP)
    across = score - np.outer(score @ slope, slope) / (slope @ slope)
    own = np.concatenate([x, np.ones((len(x), 1))], 1)
    design = np.concatenate([np.exp(h)[:, None] * own, own], 1)
    weights = 1 / np.sqrt(np.exp(h) + np.median(np.exp(h)) * FLOOR)[:, None]
    design, wanted = design * weights, across * weights
    scale = np.sqrt(np.mean(design**2, 0)) + 1e-300
    matrices = np.linalg.lstsq(design / scale, wanted, rcond=1e-12)[0] / scale[:, None]
    return np.arcsinh((wanted - design @ matrices) / (np.median(np.abs(wanted)) + 1e-300)).ravel(), matrices
