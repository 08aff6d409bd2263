"""Least squares of gradients: the conditional normal law of each coordinate given others, all coordinates in one go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

CLIP, ITERATIONS, RIDGE = 40.0, 3, 1e-9


@dataclass(frozen=True)
class Problem:
    r"""Rows of scaled coordinates and gradients, and the terms and parents that each coordinate may use.

    −∂ᵢ log π = Pᵢ(h) xᵢ − Lᵢ(h) − fᵢ(xᵢ), with Pᵢ = Σₘ κᵢₘ exp(eᵢₘ), Lᵢ = Σₘ exp(eᵢₘ)(bᵢₘ + Bᵢₘ·c) + Σₘ aᵢₘ exp(eᵢₘ/2)
    and fᵢ a sum of given functions.

    x, g are (row, coordinate), `logs` (coordinate, row, term) the eᵢₘ, whose first is 0, `parents` (coordinate, row,
    parent) the c, 0 where there is none, and `own` (coordinate, row, function) those of the coordinate itself.
    """

    x: np.ndarray
    g: np.ndarray
    logs: np.ndarray
    parents: np.ndarray
    own: np.ndarray
    train: np.ndarray

    @property
    def columns(self) -> dict[str, Any]:
        """Where the coefficients lie among the columns."""
        return columns(self.logs.shape[2], self.parents.shape[2], self.own.shape[2])


@dataclass(frozen=True)
class Solution:
    """Coefficients (coordinate, column), which columns are in use, the held-out divergence, and the Gram matrices."""

    coefficients: np.ndarray
    used: np.ndarray
    divergence: np.ndarray
    grams: tuple[np.ndarray, np.ndarray]


def columns(terms: int, parents: int, own: int = 0) -> dict[str, Any]:
    """Where κ, b, B, a and f lie among the columns: B is (parent, term), a has no entry of the first term."""
    law = terms * (2 + parents) + terms - 1
    order = np.arange(law + own)
    return {
        "kappa": order[:terms],
        "b": order[terms : 2 * terms],
        "B": order[2 * terms : (2 + parents) * terms].reshape(parents, terms),
        "a": order[(2 + parents) * terms : law],
        "own": order[law:],
        "count": len(order),
    }


def solve(problem: Problem, usable: np.ndarray, iterations: int = ITERATIONS) -> Solution:
    """The weighted least squares of each coordinate with positive precisions, over its usable columns.

    Weights are one over the precision, so that the loss is the Fisher divergence from the conditional normal law.
    """
    matrix, powers = design(problem)
    at = problem.columns
    used = usable.copy()
    precision = np.mean(powers / np.median(powers, 1, keepdims=True), 2)
    gram, found = np.zeros(0), np.zeros(0)
    left = iterations
    while left:
        gram = _gram(matrix[:, problem.train], precision[:, problem.train])
        found = solve_gram(gram, used)
        kappa = found[:, at["kappa"]]
        bad = used[:, at["kappa"]] & ~(kappa > 0)
        if bad.any():
            worst = np.where(bad, kappa * np.diagonal(gram, 0, 1, 2)[:, at["kappa"]] ** 0.5, 0).argmin(1)
            rows = np.flatnonzero(bad.any(1))
            used = without_terms(used, rows, worst[rows], at)
            continue
        left -= 1
        precision = np.maximum(np.einsum("dnm,dm->dn", powers, np.where(used[:, at["kappa"]], kappa, 0)), 1e-300)
    kappa = np.where(used[:, at["kappa"]], found[:, at["kappa"]], 0)
    held = _gram(matrix[:, ~problem.train], precision[:, ~problem.train])
    good = used[:, at["kappa"]].any(1) & (np.where(used[:, at["kappa"]], found[:, at["kappa"]], 1) > 0).all(1)
    loss = np.where(good, loss_of(held, found), np.inf)
    return Solution(found, used, np.where(np.isfinite(loss), loss, np.inf), (gram, held))


def without_terms(used: np.ndarray, rows: np.ndarray, terms: np.ndarray, at: dict) -> np.ndarray:
    """Without a term's precision its linear parts go too: what they give would not be bounded by the precision."""
    used = used.copy()
    used[rows, terms] = False
    used[rows, at["b"][terms]] = False
    for parent in at["B"]:
        used[rows, parent[terms]] = False
    for row, term in zip(rows, terms, strict=True):
        used[row, at["a"] if term == 0 else at["a"][term - 1 : term]] = False
    return used


def design(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The columns (coordinate, row, column), the gradient last, and the terms (coordinate, row, term)."""
    powers = np.exp(np.clip(problem.logs, -CLIP, CLIP))
    halves = np.exp(np.clip(problem.logs[:, :, 1:] / 2, -CLIP, CLIP))
    x, g, c = problem.x.T[:, :, None], problem.g.T[:, :, None], problem.parents
    linear = [powers * c[:, :, k : k + 1] for k in range(c.shape[2])]
    return np.concatenate([-powers * x, powers, *linear, halves, problem.own, g], 2), powers


def _gram(design: np.ndarray, precision: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # a law without a precision has an infinite loss
        weighted = design / precision[:, :, None]
        gram = weighted.transpose(0, 2, 1) @ design / design.shape[1]
    return np.nan_to_num(gram, nan=0.0, posinf=1e300, neginf=-1e300)


def solve_gram(gram: np.ndarray, used: np.ndarray) -> np.ndarray:
    """The least squares of each coordinate over the used columns, from its Gram matrix; 0 elsewhere."""
    c = used.shape[1]
    scale = np.sqrt(np.maximum(np.diagonal(gram, 0, 1, 2)[:, :c], 1e-290))
    both = used[:, :, None] & used[:, None, :]
    left = np.where(both, gram[:, :c, :c] / (scale[:, :, None] * scale[:, None, :]), 0.0) + (1 + RIDGE) * np.eye(c)
    left -= np.eye(c) * used[:, None, :]
    right = np.where(used, gram[:, :c, c] / scale, 0.0)
    return np.linalg.solve(left, right[:, :, None])[:, :, 0] / scale * used


def polished(problem: Problem, solution: Solution) -> Solution:
    """The same least squares without the rounding of normal equations: a law far out hangs on the last digits."""
    matrix, powers = design(problem)
    at, coefficients = problem.columns, solution.coefficients.copy()
    kappa = np.where(solution.used[:, at["kappa"]], coefficients[:, at["kappa"]], 0)
    root = np.sqrt(np.maximum(np.einsum("dnm,dm->dn", powers, kappa), 1e-300))
    for i, used in enumerate(solution.used):
        rows = matrix[i] / root[i][:, None]
        scale = np.sqrt(np.mean(rows[:, :-1][:, used] ** 2, 0)) + 1e-300
        found = np.linalg.lstsq(rows[:, :-1][:, used] / scale, rows[:, -1], rcond=1e-13)[0] / scale
        if (found[np.flatnonzero(used) < len(at["kappa"])] > 0).all() and np.isfinite(found).all():
            coefficients[i, used] = found
    return replace(solution, coefficients=coefficients)


def loss_of(gram: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """The mean weighted square that these coefficients leave of the gradient."""
    v = np.concatenate([-coefficients, np.ones((len(coefficients), 1))], 1)
    return np.maximum(np.einsum("dc,dce,de->d", v, gram, v), 0.0)
