r"""Directions in which a hierarchy lies askew: those that scale the others, and those that are scaled.

Where linear combinations hₘ = aₘ·x scale the others, −∂ log π across them is Σ exp(hₘ)(Kₘx − lₘ) + K₀x − l₀. In the
coordinates in which the Kₘ are diagonal, the others are normal each by itself; where there are none, as a block. Where
the form does not hold, one combination is taken from the regression of log |∂ log π| on x, and covariances of gradients
at low and at high h stand for K₀ and K₁.
"""

from __future__ import annotations

import numpy as np

from mcmc.warmup.geometry.linear_layer import LinearLayer
from mcmc.warmup.geometry.log_scales import Across, exact_slopes

EXPLAINED, ASKEW, RIDGE, EQUAL, ROUNDS = 0.25, 0.95, 1e-6, 1e-4, 4


def find_directions(y: np.ndarray, g: np.ndarray) -> tuple[LinearLayer, int] | None:
    """New coordinates of these rows (row, dim), those that scale first, and how many of these scale all the others
    exactly; None where no combination stands out.
    """
    mid, sd = y.mean(0), y.std(0)
    x, score = (y - mid) / sd, g * sd
    slope, explained = _level(x, score)
    exact = exact_slopes(x, score, slope)
    slopes = slope[None] if exact is None else exact
    if not (explained or exact is not None) or _along_coordinates(slopes):
        return None
    found = None if exact is None else _exact_axes(x, score, exact)
    along, others = found or _axes(x, score, slopes[0])
    layer = LinearLayer(sd[:, None] * np.concatenate([along, others], 1))
    return layer, 0 if found is None else along.shape[1]


def _along_coordinates(slopes: np.ndarray) -> bool:
    """Whether each log scale is a coordinate as it is."""
    return bool((np.abs(slopes).max(1) > ASKEW * np.linalg.norm(slopes, axis=1)).all())


def _level(x: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, bool]:
    """The slope of log |∂ log π| across itself, and whether it explains much."""
    from scipy.linalg import null_space

    others = np.eye(x.shape[1])
    level = slope = np.zeros(0)
    for _ in range(ROUNDS):  # the gradient along h itself is left out once h is known about
        level = np.log(np.sum((score @ others) ** 2, 1) + 1e-300)
        level = level - level.mean()
        slope = np.linalg.lstsq(x, level, rcond=None)[0]
        others = null_space(slope[None])
    return slope, bool((x @ slope).var() >= EXPLAINED * level.var())


def _axes(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction of h (dim, 1), and those across it (dim, dim − 1), from gradients at low and at high h."""
    from scipy.linalg import eigh, null_space

    h, others = x @ slope, null_space(slope[None])
    low, high = (np.cov((score[rows] @ others).T) for rows in (h < np.quantile(h, 0.3), h > np.quantile(h, 0.7)))
    if others.shape[1] > 1:
        ridge = RIDGE * np.trace(low) / len(low) * np.eye(len(low))
        others = others @ eigh(high + ridge, low + ridge)[1]
    along = x.T @ h / len(h) / h.std()
    return (along / (slope @ along))[:, None], others


def _exact_axes(x: np.ndarray, score: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The directions along which one h changes and the gradient across does not but by its exp(h), and those across:
    axes of K₁ beside the sum of all, of K₂ among those of one eigenvalue, and so on.
    """
    from scipy.linalg import null_space

    (count, dim), others = slopes.shape, null_space(slopes)
    found = Across(x, score, np.eye(dim), count).solve(slopes.ravel()).matrices
    parts = [part[:dim] for part in np.split(found, count + 1)]
    along = np.linalg.svd(np.concatenate([part.T for part in parts]))[2][-count:].T
    by = slopes @ along
    if np.linalg.svd(by, compute_uv=False)[-1] < RIDGE * np.linalg.norm(slopes, axis=1).min():
        return None
    across = [-others.T @ part @ others for part in parts]
    across = [(part + part.T) / 2 for part in across]
    size, both = np.linalg.eigh(np.sum(across, 0))
    if not size.sum() > 0:
        return None
    white = both / np.sqrt(np.maximum(size, RIDGE * size.mean()))
    axes = _axes_of([white.T @ part @ white for part in across])
    return along @ np.linalg.inv(by), others @ white @ axes


def _axes_of(matrices: list[np.ndarray]) -> np.ndarray:
    """Orthogonal axes of the first of these symmetric matrices, and where its eigenvalues are equal, of the next."""
    values, axes = np.linalg.eigh(matrices[0])
    if len(matrices) == 1:
        return axes
    equal = np.split(axes, np.flatnonzero(np.diff(values) > EQUAL) + 1, axis=1)
    return np.concatenate([own @ _axes_of([own.T @ part @ own for part in matrices[1:]]) for own in equal], 1)
