r"""Directions in which a hierarchy lies askew: one that scales the others, and those that it scales.

Where a linear combination h = a·y scales the others, the log of the gradient's length falls or rises along it: a is the
regression of log |∂ log π| on y. In the coordinates in which the covariances of gradients at low and at high h are both
diagonal, the others are normal each by itself.
"""

from __future__ import annotations

import numpy as np

from mcmc.warmup.geometry.linear_layer import LinearLayer

EXPLAINED, ASKEW, RIDGE, ROUNDS = 0.25, 0.95, 1e-6, 4
ROWS, CLIP, FLOOR, STEPS, FULL_UP_TO = 300, 40.0, 1e-3, 30, 40


def find_directions(y: np.ndarray, g: np.ndarray) -> LinearLayer | None:
    """New coordinates of these rows (row, dim), the one that scales first; None where no combination stands out."""
    from scipy.linalg import eigh, null_space

    mid, sd = y.mean(0), y.std(0)
    x, score = (y - mid) / sd, g * sd
    others = np.eye(x.shape[1])
    for _ in range(ROUNDS):  # the gradient along h itself is left out once h is known about
        level = np.log(np.sum((score @ others) ** 2, 1) + 1e-300)
        level = level - level.mean()
        slope = np.linalg.lstsq(x, level, rcond=None)[0]
        others = null_space(slope[None])
    h = x @ slope
    if h.var() < EXPLAINED * level.var() or np.abs(slope).max() > ASKEW * np.linalg.norm(slope):
        return None
    slope = _refined(x, score, slope)
    h = x @ slope
    others = null_space(slope[None])
    low, high = (np.cov((score[rows] @ others).T) for rows in (h < np.quantile(h, 0.3), h > np.quantile(h, 0.7)))
    if others.shape[1] > 1:
        ridge = RIDGE * np.trace(low) / len(low) * np.eye(len(low))
        others = others @ eigh(high + ridge, low + ridge)[1]
    along = x.T @ h / len(h) / h.std()
    matrix = np.concatenate([(along / (slope @ along))[:, None], others], 1)
    return LinearLayer(sd[:, None] * matrix)


def _refined(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The slope of h for which −∂ log π across it is best linear in y given h, with precisions exp(h) and constant.

    Rows far out weigh most: where a little of the others leaks into h, a neck is missed by much. A step takes time as
    the cube of the dimension: of many, fewer steps are made, or none.
    """
    steps = int(STEPS * min(1.0, (FULL_UP_TO / len(slope)) ** 3))
    if steps == 0:
        return slope
    from scipy.optimize import least_squares

    rows = np.linspace(0, len(x) - 1, min(ROWS, len(x))).astype(int)
    x, score = x[rows], score[rows]

    def left(slope: np.ndarray) -> np.ndarray:
        h = np.clip(x @ slope, -CLIP, CLIP)
        across = score - np.outer(score @ slope, slope) / (slope @ slope)
        own = np.concatenate([x, np.ones((len(x), 1))], 1)
        design = np.concatenate([np.exp(h)[:, None] * own, own], 1)
        weights = 1 / np.sqrt(np.exp(h) + np.median(np.exp(h)) * FLOOR)[:, None]
        design, wanted = design * weights, across * weights
        scale = np.sqrt(np.mean(design**2, 0)) + 1e-300
        r = wanted - design @ (np.linalg.lstsq(design / scale, wanted, rcond=1e-12)[0] / scale[:, None])
        return np.arcsinh(r / (np.median(np.abs(wanted)) + 1e-300)).ravel()

    try:
        return least_squares(left, slope, max_nfev=steps).x
    except (np.linalg.LinAlgError, ValueError):
        return slope
