"""Forms of conditional normal laws: which coordinates scale another, and which move its mean."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mcmc.warmup.geometry.conditional_fit import ITERATIONS, Problem, Solution, columns, design, polished, solve

SHARED, FITTED = 0.25, 0.6
OWN_POWERS, NEAR, NEW = (1.0, -1.0, 2.0, -2.0), 6.0, 1e-5

Term = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Form:
    """The terms of a precision, each a product of exp(power · y[parent]), and the parents of the mean."""

    terms: tuple[Term, ...] = ()
    parents: tuple[int, ...] = ()

    @property
    def scales(self) -> set[int]:
        """The coordinates that the precision depends on."""
        return {j for term in self.terms for j, _ in term}

    @property
    def needs(self) -> set[int]:
        """All coordinates that the law depends on."""
        return set(self.parents) | self.scales

    @property
    def relatives(self) -> list[Form]:
        """The forms with other powers of all that scales, with one term less, and with one parent of the mean less."""
        powers = [tuple(tuple((j, p * by) for j, p in term) for term in self.terms) for by in (0.5, 2.0)]
        fewer = [self.terms[:k] + self.terms[k + 1 :] for k in range(len(self.terms))]
        forms = [Form(terms, self.parents) for terms in (*powers, *fewer) if terms and _usual(terms)]
        return forms + [Form(self.terms, self.parents[:k] + self.parents[k + 1 :]) for k in range(len(self.parents))]

    def moved(self, change: dict[int, int]) -> Form:
        """The same form with other coordinates in the places of these."""
        terms = tuple(tuple(sorted((change.get(j, j), p) for j, p in term)) for term in self.terms)
        return Form(tuple(sorted(terms)), tuple(sorted(change.get(j, j) for j in self.parents)))


def _usual(terms: tuple[Term, ...]) -> bool:
    """Whether the powers are those of a variance or of a standard deviation."""
    return all(abs(p) in (1.0, 2.0) for term in terms for _, p in term)


@dataclass(frozen=True)
class Rows:
    """Positions and gradients (row, dim), their means and deviations, and which rows fit; the rest are held out.

    With `aside`, a law may leave a function of the coordinate itself, such as what its own data say.
    """

    y: np.ndarray
    g: np.ndarray
    mid: np.ndarray
    sd: np.ndarray
    train: np.ndarray
    aside: bool = False

    @classmethod
    def of(cls, y: np.ndarray, g: np.ndarray) -> Rows:
        """Rows for a fit: the first three fifths to fit, so that whole chains are held out."""
        return cls(y, g, y.mean(0), y.std(0), np.arange(len(y)) < FITTED * len(y))

    @cached_property
    def x(self) -> np.ndarray:
        """Positions with mean 0 and deviation 1."""
        return (self.y - self.mid) / self.sd

    @cached_property
    def score(self) -> np.ndarray:
        """Gradients by the scaled positions."""
        return self.g * self.sd

    @cached_property
    def own(self) -> np.ndarray:
        """Functions of each coordinate (coordinate, row, function) that its law may leave."""
        return own_functions(self)

    def some(self, most: int) -> Rows:
        """At most so many of the rows, evenly spaced."""
        chosen = evenly(len(self.y), most)
        return Rows(self.y[chosen], self.g[chosen], self.mid, self.sd, self.train[chosen], self.aside)


def evenly(count: int, most: int) -> np.ndarray:
    """The indices of at most `most` of so many rows, evenly spaced, so that chains stay in order."""
    return np.linspace(0, count - 1, min(most, count)).astype(int)


def fit_forms(rows: Rows, which: np.ndarray, forms: list[Form]) -> Solution:
    """The least squares of the coordinates `which`, each by its own form, padded to the largest of them."""
    return solve(*_problem(rows, which, forms))


def fit_exactly(rows: Rows, which: np.ndarray, forms: list[Form]) -> Solution:
    """`fit_forms`, and then once more by orthogonal factors of all rows."""
    problem, usable = _problem(rows, which, forms)
    return polished(problem, solve(problem, usable))


def fit_first_term(rows: Rows, which: np.ndarray, forms: list[Form], solution: Solution) -> Solution:
    """These laws, with the function of the coordinate itself replaced by the normal law nearest to it."""
    problem, usable = _problem(replace(rows, aside=False), which, forms)
    (matrix, powers), at = design(problem), problem.columns
    first = np.array([at["kappa"][0], at["b"][0], *at["B"][:, 0]], int)
    kept, used = solution.coefficients[:, : at["count"]].copy(), solution.used[:, : at["count"]].copy()
    kept[:, first], used[:, first] = 0.0, usable[:, first]
    left = matrix[:, :, -1] - np.einsum("dnc,dc->dn", matrix[:, :, :-1], kept)
    for i, row in enumerate(kept):
        own = first[usable[i, first]]
        precision = powers[i] @ row[at["kappa"]] + 1e-300
        for _ in range(ITERATIONS):
            root = np.sqrt(precision)[:, None]
            found = np.linalg.lstsq(matrix[i][:, own] / root, left[i] / root[:, 0], rcond=1e-12)[0]
            precision = powers[i] @ row[at["kappa"]] + max(found[0], 0.0) + 1e-300
        if found[0] > 0 and np.isfinite(found).all():
            kept[i, own] = found
        else:
            used[i, first] = False
    return replace(solution, coefficients=kept, used=used)


def residuals(rows: Rows, which: np.ndarray, forms: list[Form], solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """What laws leave of the whitened gradient (coordinate, row), and exp(eₘ)/√P (term, coordinate, row)."""
    problem, _ = _problem(rows, which, forms)
    matrix, powers = design(problem)
    kappa = problem.columns["kappa"]
    used = np.where(solution.used[:, kappa], solution.coefficients[:, kappa], 0)
    root = np.sqrt(np.maximum(np.einsum("dnm,dm->dn", powers, used), 1e-300))
    left = matrix[:, :, -1] - np.einsum("dnc,dc->dn", matrix[:, :, :-1], solution.coefficients)
    return left / root, powers.transpose(2, 0, 1) / root


def _problem(rows: Rows, which: np.ndarray, forms: list[Form]) -> tuple[Problem, np.ndarray]:
    """The least-squares problem of these forms, and which of its columns each may use."""
    terms, parents = max(len(f.terms) for f in forms), max(len(f.parents) for f in forms)
    d, n = len(which), len(rows.y)
    c = rows.y - rows.mid
    logs, beside = np.zeros((d, n, terms + 1)), np.zeros((d, n, parents))
    own = rows.own[which] if rows.aside else np.zeros((d, n, 0))
    at = columns(terms + 1, parents, own.shape[2])
    usable = np.zeros((d, at["count"]), bool)
    usable[:, [at["kappa"][0], at["b"][0]]] = True
    usable[:, at["own"]] = own.any(1)
    for i, form in enumerate(forms):
        for t, term in enumerate(form.terms):
            logs[i, :, t + 1] = sum(p * c[:, j] for j, p in term)
            usable[i, [at["kappa"][t + 1], at["b"][t + 1], at["a"][t]]] = True
        for k, j in enumerate(form.parents):
            beside[i, :, k] = c[:, j] / rows.sd[j]
            usable[i, at["B"][k][: len(form.terms) + 1]] = True
    return Problem(rows.x[:, which], rows.score[:, which], logs, beside, own, rows.train), usable


def own_functions(rows: Rows) -> np.ndarray:
    """Functions of each coordinate (coordinate, row, function), orthogonal to each other and to a line; 0 if redundant.

    Sums of them are the gradients of log likelihoods of counts by their log mean, of proportions by their logit or
    probit, and of normal data by their log standard deviation.
    """
    from scipy.special import expit, log_ndtr

    x, y, u = rows.x.T, rows.y.T, (rows.y - rows.mid).T
    near = np.abs(u).max(1, keepdims=True) < NEAR
    powers = [np.where(near, np.exp(k * np.clip(u, -NEAR, NEAR)), 0.0) for k in OWN_POWERS]
    probit = [np.exp(-0.5 * y * y - log_ndtr(sign * y)) for sign in (1.0, -1.0)]
    every = np.stack([np.ones_like(x), x, x**2, x**3, *powers, expit(y), *probit], 2)
    every /= np.sqrt(np.mean(every**2, 1, keepdims=True)) + 1e-300
    q, r = np.linalg.qr(every)
    new = np.abs(np.diagonal(r, 0, 1, 2)) > NEW * np.sqrt(x.shape[1])
    return (q * np.sqrt(x.shape[1]) * new[:, None, :])[:, :, 2:]


def common_forms(which: np.ndarray, forms: list[Form], most: int) -> list[tuple[Form, dict[int, int]]]:
    """The forms that most of these coordinates have, as (form, {parent: its distance from the coordinate}).

    A parent of many is the same for all; one of few lies at a distance that is the same for all.
    """
    times = Counter(j for form in forms for j in form.needs)
    coded = Counter()
    for i, form in zip(which.tolist(), forms, strict=True):
        own = {j: j - i for j in form.needs if times[j] <= max(1, SHARED * len(forms))}
        marks = {j: -1 - rank for rank, j in enumerate(sorted(own, key=lambda j: own[j]))}
        distances = tuple(sorted((marks[j], own[j]) for j in own))
        coded[form.moved(marks), distances] += 1
    return [(form, dict(distances)) for (form, distances), _ in coded.most_common(most)]


def forms_to_spread(which: np.ndarray, forms: list[Form], most: int) -> list[tuple[Form, dict[int, int]]]:
    """The common forms with terms; then the common terms, with the means of what scales, and with none.

    Coordinates with one prior have terms in common, and means with parents of their own.
    """
    scaled = np.array([bool(form.terms) for form in forms], bool)
    which, forms = which[scaled], [form for form in forms if form.terms]
    found = common_forms(which, forms, most)
    for form, distances in common_forms(which, [Form(form.terms) for form in forms], most):
        found += [(Form(form.terms, tuple(sorted(form.needs))), distances), (form, distances)]
    return found


def placed(form: Form, distances: dict[int, int], i: int, dim: int) -> Form | None:
    """A common form for coordinate `i`; None where it is its own parent, has one twice, or leaves the vector."""
    new = form.moved({mark: i + distance for mark, distance in distances.items()})
    twice = len(new.needs) < len(form.needs) or len(set(new.terms)) < len(new.terms)
    return new if all(0 <= j < dim and j != i for j in new.needs) and not twice else None
