"""Centres of conditional laws: where a term's centre is nearly another coordinate, it is exactly that one.

A prior N(μ, τ) has its mean at μ and nowhere else; far in the neck of a funnel any other is many deviations off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcmc.warmup.geometry.conditional_fit import Solution, columns, loss_of, solve_gram, without_terms
from mcmc.warmup.geometry.conditional_forms import Form, Rows

NEAR, ALLOWED, PRUNED = 0.1, 1.5, 1e-9
ALIKE, NEAR_ALIKE, ALLOWED_ALIKE = 0.5, 0.5, 2.0

Centre = tuple[tuple[int, float], ...]
"""Coordinates and their weights, which add up to a centre."""


def snapped(rows: Rows, which: np.ndarray, solution: Solution, forms: list[Form]) -> Solution:
    """Terms whose centre is nearly another coordinate, or nearly 0, with exactly that centre, where rows do not object.

    Where most coordinates with a term have its centre at one place, the others are moved there from farther away.
    """
    laws = _laws(rows, which, solution, forms)
    found: dict[tuple[int, int], Centre] = {}
    for q, law in enumerate(laws):
        for t in law.terms():
            weights, _ = law.centre(t)
            centre = tuple((j, w) for j, w in zip(law.form.parents, np.round(weights).tolist(), strict=True) if w)
            if sum(abs(w) for _, w in centre) <= 1 and law.moved(t, centre, NEAR, ALLOWED):
                found[q, t] = centre
    for (term, centre), count in Counter((laws[q].form.terms[t - 1], at) for (q, t), at in found.items()).items():
        alike = [(q, t) for q, law in enumerate(laws) for t in law.terms() if law.form.terms[t - 1] == term]
        for q, t in alike if count > ALIKE * len(alike) else ():
            if (q, t) not in found and {j for j, _ in centre} <= set(laws[q].form.parents):
                laws[q].moved(t, centre, NEAR_ALIKE, ALLOWED_ALIKE)
    return replace(solution, coefficients=np.array([law.coefficients for law in laws]))


def _laws(rows: Rows, which: np.ndarray, solution: Solution, forms: list[Form]) -> list[_Law]:
    at = columns(max(len(f.terms) for f in forms) + 1, max(len(f.parents) for f in forms))
    own = zip(which.tolist(), forms, solution.coefficients, solution.used, *solution.grams, strict=True)
    return [_Law(rows, i, form, at, row, used, grams, np.eye(len(row) + 1)) for i, form, row, used, *grams in own]


@dataclass
class _Law:
    """The conditional law of coordinate i: which columns it uses, and the Gram matrices of rows to fit and held out.

    Coefficients are `bound` @ free ones: a bound centre hangs on its term's precision alone.
    """

    rows: Rows
    i: int
    form: Form
    at: dict[str, Any]
    coefficients: np.ndarray
    used: np.ndarray
    grams: list[np.ndarray]
    bound: np.ndarray

    def terms(self) -> Iterator[int]:
        """The terms besides the constant one that have a precision."""
        kappa = self.coefficients[self.at["kappa"]]
        return (t for t in range(1, len(self.form.terms) + 1) if kappa[t] > 0)

    def centre(self, t: int) -> tuple[np.ndarray, float]:
        """The weights of the parents in a term's centre, and its constant part."""
        rows, i, ends = self.rows, self.i, list(self.form.parents)
        kappa, b = (self.coefficients[self.at[name][t]] for name in ("kappa", "b"))
        weights = rows.sd[i] * self.coefficients[self._slopes(t)] / (kappa * rows.sd[ends])
        return weights, rows.mid[i] + rows.sd[i] * b / kappa - weights @ rows.mid[ends]

    def moved(self, t: int, centre: Centre, near: float, allowed: float) -> bool:
        """Move a term's centre there, if it is near, and little more is left of the gradient."""
        rows, i, ends = self.rows, self.i, list(self.form.parents)
        weights, constant = self.centre(t)
        whole = np.array([dict(centre).get(j, 0.0) for j in ends])
        if np.abs(weights - whole).max(initial=0) >= near or abs(constant) >= near * (abs(rows.mid[i]) + rows.sd[i]):
            return False
        columns = [*self._slopes(t), self.at["b"][t]]
        self.bound[columns] = 0.0
        self.bound[columns, self.at["kappa"][t]] = [
            *(whole * rows.sd[ends] / rows.sd[i]),
            (whole @ rows.mid[ends] - rows.mid[i]) / rows.sd[i],
        ]
        most = allowed * self._loss(self.coefficients) + PRUNED
        for tried in (self.bound[:-1, :-1] @ self.coefficients, self._refitted()):
            if self._loss(tried) < most and (tried[self.at["kappa"]] >= 0).all():
                self.coefficients = tried
                return True
        self.bound[columns] = np.eye(len(self.bound))[columns]
        return False

    def _refitted(self) -> np.ndarray:
        """The least squares under all centres that are bound, without terms that have no precision then."""
        used = (self.used & (np.diagonal(self.bound)[:-1] != 0))[None]
        gram, kappa = (self.bound.T @ self.grams[0] @ self.bound)[None], self.at["kappa"]
        found = solve_gram(gram, used)
        while (bad := used[0, kappa] & ~(found[0, kappa] > 0)).any():
            used = without_terms(used, np.array([0]), np.flatnonzero(bad)[:1], self.at)
            found = solve_gram(gram, used)
        return self.bound[:-1, :-1] @ found[0]

    def _loss(self, coefficients: np.ndarray) -> float:
        return loss_of(self.grams[1][None], coefficients[None])[0]

    def _slopes(self, t: int) -> list[int]:
        return [self.at["B"][k][t] for k in range(len(self.form.parents))]
