r"""Directions in which a hierarchy lies askew: one that scales the others, and those that it scales.

Where a linear combination h = a·x scales the others, −∂ log π across a is exp(h)(K₁x − l₁) + K₀x − l₀. K and l given a
are least squares, and a is found by Gauss-Newton steps of what they leave, from the regression of log |∂ log π| on x.
In the coordinates in which K₁ and K₀ are both diagonal, the others are normal each by itself. Where the form does not
hold, covariances of gradients at low and at high h stand for K₀ and K₁.

Sources: variable projection, Golub & Pereyra 1973; its derivatives, Kaufman 1975.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcmc.warmup.geometry.linear_layer import LinearLayer

EXPLAINED, ASKEW, RIDGE, ROUNDS = 0.25, 0.95, 1e-6, 4
ROWS, ROWS_A_DIM, CLIP, FLOOR, STEPS, STARTS, EXACT = 300, 4, 40.0, 1e-3, 30, (1.0, 0.5, 2.0), 1e-8
MOST_DIM, SEEN, LINEAR = 150, 12, 1e-4


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
    found = _Across(x, score, np.eye(dim)).solve(slope)[3]
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

    Rows far out weigh most: where a little of the others leaks into h, a neck is missed by much.
    """
    dim = len(slope)
    if dim > MOST_DIM or len(x) < 3 * dim:
        return slope, False
    from scipy.optimize import least_squares

    rows = np.linspace(0, len(x) - 1, min(max(ROWS, ROWS_A_DIM * dim), len(x))).astype(int)
    seen = np.random.default_rng(0).normal(size=(dim, min(dim, SEEN))) / np.sqrt(dim)
    problem = _Across(x[rows], score[rows], seen)
    if _linear(x[rows], score[rows]):
        return slope, False
    tried = []
    for factor in STARTS:
        try:
            found = least_squares(problem.left, factor * slope, jac=problem.jacobian, max_nfev=STEPS)  # pyright: ignore
        except (np.linalg.LinAlgError, ValueError):
            continue
        tried.append((found.cost, found.x))
        if found.cost < EXACT * len(rows):
            return found.x, True
    return (tried[0][1] if tried else slope), False


def _linear(x: np.ndarray, score: np.ndarray) -> bool:
    """Whether gradients are linear in positions as they are, so that nothing scales anything."""
    own = np.concatenate([x, np.ones((len(x), 1))], 1)
    left = score - own @ np.linalg.lstsq(own, score, rcond=1e-12)[0]
    return bool(np.mean(np.arcsinh(left / (np.median(np.abs(score)) + 1e-300)) ** 2) < LINEAR)


@dataclass(frozen=True)
class _Across:
    """Rows (row, dim) of positions and gradients, and the combinations `seen` (dim, out) of gradients to explain."""

    x: np.ndarray
    score: np.ndarray
    seen: np.ndarray

    def solve(self, slope: np.ndarray) -> tuple[np.ndarray, ...]:
        """What the best matrices leave of the gradient across the slope, with the weights of rows, the columns, these
        matrices, and the unit of what is left.
        """
        h = np.clip(self.x @ slope, -CLIP, CLIP)
        across = (self.score - np.outer(self.score @ slope, slope) / (slope @ slope)) @ self.seen
        own = np.concatenate([self.x, np.ones((len(h), 1))], 1)
        columns = np.concatenate([np.exp(h)[:, None] * own, own], 1)
        weights = 1 / np.sqrt(np.exp(h) + np.median(np.exp(h)) * FLOOR)[:, None]
        columns, wanted = columns * weights, across * weights
        scale = np.sqrt(np.mean(columns**2, 0)) + 1e-300
        matrices = np.linalg.lstsq(columns / scale, wanted, rcond=1e-12)[0] / scale[:, None]
        return wanted - columns @ matrices, weights, columns, matrices, np.median(np.abs(wanted)) + 1e-300

    def left(self, slope: np.ndarray) -> np.ndarray:
        """What is left, bounded for rows far out."""
        left, *_, unit = self.solve(slope)
        return np.arcsinh(left / unit).ravel()

    def jacobian(self, slope: np.ndarray) -> np.ndarray:
        """Its derivatives by the slope, with the weights held and the matrices free (Kaufman 1975)."""
        left, weights, columns, matrices, unit = self.solve(slope)
        dim, square, along = len(slope), slope @ slope, self.score @ slope
        scaled = columns[:, : dim + 1] @ matrices[: dim + 1]
        turned = self.score[:, :, None] * (slope @ self.seen) + along[:, None, None] * self.seen
        turned -= 2 * (along[:, None] * slope / square)[:, :, None] * (slope @ self.seen)
        by = -weights[:, :, None] * turned / square - self.x[:, :, None] * scaled[:, None, :]
        q = np.linalg.qr(columns)[0]
        flat = by.reshape(len(by), -1)
        by = (flat - q @ (q.T @ flat)).reshape(by.shape)
        return (by / np.sqrt(unit**2 + left**2)[:, None, :]).transpose(0, 2, 1).reshape(-1, dim)
