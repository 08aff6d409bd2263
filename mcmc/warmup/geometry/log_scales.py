r"""Linear combinations of coordinates that are log scales of all the others, exactly.

Where hₘ = aₘ·x scale the others, −∂ log π across all aₘ is Σₘ exp(hₘ)(Kₘ x − lₘ) + K₀x − l₀. With aₘ known, K and l
are least squares, and Gauss-Newton steps of what these leave find aₘ. Where the form holds, nothing is left.

Sources: variable projection, Golub & Pereyra 1973; its derivatives, Kaufman 1975.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mcmc.warmup.geometry.conditional_forms import evenly

MOST_DIM, MOST_SCALES, SEEN, LINEAR = 150, 3, 4, 1e-4
ROWS, ROWS_A_COLUMN, ROWS_NEEDED, CLIP, FLOOR = 300, 4, 2.5, 40.0, 1e-3
FACTORS, DRAWN, REFINED, STEPS, STALLED, EXACT, RANK = (1.0, 0.5, 2.0), 24, 4, 40, 1e-2, 1e-8, 1e-12


def exact_slopes(x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> np.ndarray | None:
    """The fewest slopes a (scale, dim) of log scales for which nothing of the gradient across them is left, or None.

    `x` and `score` (row, dim) are positions and gradients, `slope` (dim,) a first guess for a single one.
    """
    dim = len(slope)
    if dim > MOST_DIM or _linear(x, score):
        return None
    seen = np.random.default_rng(0).normal(size=(dim, min(dim, SEEN))) / np.sqrt(dim)
    for count in range(1, min(MOST_SCALES, dim - 1) + 1):
        columns = (count + 1) * (dim + 1)
        if len(x) < ROWS_NEEDED * columns:
            return None
        some = evenly(len(x), max(ROWS, ROWS_A_COLUMN * columns // 2))
        problem = Across(x[some], score[some], seen, count)
        starts = [factor * slope for factor in FACTORS] if count == 1 else _drawn(problem, x, score, slope)
        if (found := _solved(problem, starts)) is not None:
            return _fewer(problem, found)
    return None


def _fewer(problem: Across, slopes: np.ndarray) -> np.ndarray:
    """These slopes without those that are not needed."""
    if len(slopes) == 1:
        return slopes
    less = replace(problem, count=len(slopes) - 1)
    found = _solved(less, [np.delete(slopes, m, 0) for m in range(len(slopes))])
    return slopes if found is None else _fewer(less, found)


def _solved(problem: Across, starts: list[np.ndarray]) -> np.ndarray | None:
    """The slopes (scale, dim) that Gauss-Newton steps from one of these starts lead to, if they leave nothing."""
    from scipy.optimize import least_squares

    for start in starts:
        try:
            found = least_squares(problem.left, start.ravel(), jac=problem.jacobian, max_nfev=STEPS, ftol=STALLED)  # pyright: ignore
        except (np.linalg.LinAlgError, ValueError):
            continue
        if found.cost < EXACT * len(problem.x):
            return found.x.reshape(problem.count, -1)
    return None


def _drawn(problem: Across, x: np.ndarray, score: np.ndarray, slope: np.ndarray) -> list[np.ndarray]:
    """The best of some starts drawn among those directions along which covariances of the gradient change most.

    That is where Σₙₘ xₙ xₘᵀ (sₙ·sₘ)² has its largest eigenvalues: ∂ₖ E[s sᵀ] is a sum of aₘₖ Kₘ.
    """
    bounded = score / np.sqrt(np.mean(score**2, 0) + 1e-300)
    bounded = bounded / np.sqrt(1 + np.mean(bounded**2, 1, keepdims=True))
    together = (bounded @ bounded.T) ** 2
    together = together - together.mean(0)
    np.fill_diagonal(together, 0)
    moved = np.linalg.eigh(x.T @ (together + together.T) @ x)[1][:, -problem.count :]
    rng = np.random.default_rng(1)
    tried = []
    for _ in range(DRAWN):
        directions = rng.normal(size=(problem.count, problem.count)) @ moved.T
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        start = directions * np.linalg.norm(slope) * rng.choice(FACTORS, (problem.count, 1))
        try:
            tried.append((float(np.sum(problem.left(start.ravel()) ** 2)), start))
        except np.linalg.LinAlgError:
            continue
    return [start for _, start in sorted(tried, key=lambda pair: pair[0])[:REFINED]]


def _linear(x: np.ndarray, score: np.ndarray) -> bool:
    """Whether gradients are linear in positions as they are, so that nothing scales anything."""
    own = np.concatenate([x, np.ones((len(x), 1))], 1)
    left = score - own @ np.linalg.lstsq(own, score, rcond=1e-12)[0]
    return bool(np.mean(np.arcsinh(left / (np.median(np.abs(score)) + 1e-300)) ** 2) < LINEAR)


@dataclass(frozen=True)
class Across:
    """Rows (row, dim) of positions and gradients, the combinations `seen` (dim, out) of gradients to explain, and by
    how many log scales. Their slopes are passed as one vector (scale · dim,).
    """

    x: np.ndarray
    score: np.ndarray
    seen: np.ndarray
    count: int = 1

    def solve(self, slopes: np.ndarray) -> Left:
        """What the best matrices leave of the gradient across the slopes.

        Rows far out weigh most: where a little of the others leaks into h, a neck is missed by much.
        """
        a = slopes.reshape(self.count, -1)
        powers = np.exp(np.clip(self.x @ a.T, -CLIP, CLIP))
        across = (self.score - (self.score @ np.linalg.pinv(a)) @ a) @ self.seen
        own = np.concatenate([self.x, np.ones((len(self.x), 1))], 1)
        parts = [powers[:, [m]] * own for m in range(self.count)]
        weights = 1 / np.sqrt(np.sum(powers / np.median(powers, 0), 1) + FLOOR)[:, None]
        columns, wanted = np.concatenate([*parts, own], 1) * weights, across * weights
        scale = np.sqrt(np.mean(columns**2, 0)) + 1e-300
        q, r = np.linalg.qr(columns / scale)
        diagonal = np.abs(np.diag(r))
        if not diagonal.min() > RANK * diagonal.max():
            raise np.linalg.LinAlgError("the log scales are the same, or nothing")
        explained = q.T @ wanted
        matrices = np.linalg.solve(r, explained) / scale[:, None]
        unit = np.median(np.abs(wanted)) + 1e-300
        return Left(wanted - q @ explained, weights, columns, matrices, q, float(unit))

    def left(self, slopes: np.ndarray) -> np.ndarray:
        """What is left, bounded for rows far out."""
        found = self.solve(slopes)
        return np.arcsinh(found.left / found.unit).ravel()

    def jacobian(self, slopes: np.ndarray) -> np.ndarray:
        """Its derivatives by the slopes, with the weights held and the matrices free (Kaufman 1975)."""
        found, a = self.solve(slopes), slopes.reshape(self.count, -1)
        back, width = np.linalg.pinv(a), a.shape[1] + 1
        across, seen = self.score - (self.score @ back) @ a, self.seen - back @ (a @ self.seen)
        parts = []
        for m in range(self.count):
            scaled = found.columns[:, m * width : (m + 1) * width] @ found.matrices[m * width : (m + 1) * width]
            turned = across[:, :, None] * (back[:, m] @ self.seen)
            turned += (self.score @ back[:, m])[:, None, None] * seen
            by = -found.weights[:, :, None] * turned - self.x[:, :, None] * scaled[:, None, :]
            flat = by.reshape(len(by), -1)
            by = (flat - found.q @ (found.q.T @ flat)).reshape(by.shape)
            bounded = by / np.sqrt(found.unit**2 + found.left**2)[:, None, :]
            parts.append(bounded.transpose(0, 2, 1).reshape(-1, self.x.shape[1]))
        return np.concatenate(parts, 1)


@dataclass(frozen=True)
class Left:
    """What is left (row, out), weights of rows, columns and orthonormal ones, the matrices (K₁, −l₁, …, K₀, −l₀)
    transposed, and the size of what there was.
    """

    left: np.ndarray
    weights: np.ndarray
    columns: np.ndarray
    matrices: np.ndarray
    q: np.ndarray
    unit: float
