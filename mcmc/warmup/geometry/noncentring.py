r"""Non-centring found from draws and gradients: which coordinates are normal given which others.

For a coordinate that is normal given some others h, −∂ᵢ log π = Pᵢ(h) yᵢ − Lᵢ(h): a least-squares problem of its own,
without noise where the form is right, whether or not the draws are stationary. Precisions are sums of exponentials.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mcmc.warmup.geometry.conditional_fit import columns, loss_of, solve_gram
from mcmc.warmup.geometry.conditional_forms import (
    Form,
    Rows,
    common_forms,
    fit_forms,
    forms_to_spread,
    placed,
    residuals,
)

SEARCH_ROWS, FIT_ROWS = 320, 1200
SCALES, SEARCH_PARENTS, PARENTS = 5, 4, 8
SAMPLE, COMMON, RELATIVES, COMMON_FACTOR = 12, 3, 2, 3.0
RIDGE, SIGNIFICANT = 0.05, 4.0
WORTHWHILE, MANY, SHARE, MOST_LEFT, EXPLAINED = 0.05, 30, 0.3, 10.0, 1e-5
PRUNE_FACTOR, PRUNE_LOSS, PARENT_FACTOR, PARENT_COST = 1.15, 1e-6, 0.05, 1e-6
EXACT, MAJORITY, BETTER, MUCH_BETTER = 1e-3, 0.5, 0.9, 0.5
POWERS = (2.0, 1.0)


@dataclass
class Laws:
    """Conditional laws of coordinates: forms, held-out divergences of the affine law and of these, coefficients."""

    which: np.ndarray
    forms: list[Form]
    before: np.ndarray
    after: np.ndarray

    def better(self, new: np.ndarray, forms: list[Form | None], factor: Any = 1.0) -> None:
        """Take those new forms whose divergence is below `factor` times the old one; of equal ones the simpler."""
        factors = np.broadcast_to(factor, new.shape)
        for q, (loss, form) in enumerate(zip(new, forms, strict=True)):
            if (
                form is not None
                and _cost(loss, form) < factors[q] * _cost(self.after[q], self.forms[q]) - 0.5 * PARENT_COST
            ):
                self.forms[q], self.after[q] = form, loss

    @property
    def explained(self) -> np.ndarray:
        """Where next to nothing is left."""
        return self.after < EXPLAINED * np.minimum(self.before, 1)

    def where(self, keep: np.ndarray) -> Laws:
        """Those of some coordinates."""
        forms = [form for form, k in zip(self.forms, keep, strict=True) if k]
        return Laws(self.which[keep], forms, self.before[keep], self.after[keep])


def find_laws(rows: Rows, free: np.ndarray) -> Laws | None:
    """The conditional normal laws of those coordinates in `free` that have one worth having.

    First those that hold exactly when a function of the coordinate itself is set aside: a prior, whatever the data say.
    """
    apart, wanted = _found(replace(rows, aside=True), free, free), free
    if apart is not None:
        apart = apart.where(apart.after < EXACT)
        wanted = np.setdiff1d(free, apart.which)
    others = _found(rows, free, wanted)
    if apart is None or not len(apart.which):
        return others
    return apart if others is None else joined(apart, others)


def joined(a: Laws, b: Laws) -> Laws:
    """The laws of both."""
    arrays = (np.concatenate(pair) for pair in ((a.which, b.which), (a.before, b.before), (a.after, b.after)))
    which, before, after = arrays
    return Laws(which, [*a.forms, *b.forms], before, after)


def _found(rows: Rows, free: np.ndarray, wanted: np.ndarray) -> Laws | None:
    """The laws given others in `free` of those coordinates in `wanted` that have one worth having."""
    search = rows.some(SEARCH_ROWS)
    scales, means = candidates(rows, free)
    scaled = [i for i in wanted.tolist() if scales[i]]
    if not scaled:
        return None
    which = np.array(scaled)
    affine = [Form((), tuple(means[i][:SEARCH_PARENTS])) for i in scaled]
    before = fit_forms(search, which, affine).divergence
    worthwhile = WORTHWHILE * min(1.0, MANY / len(scaled))  # what scales many loses a little to each of them
    laws = Laws(which, affine, before, before.copy()).where(before > worthwhile)
    tried = np.zeros(len(laws.which), bool)
    for _ in range(2):
        left = np.flatnonzero(~laws.explained)
        if not len(left):
            break
        sample = _sample(left, tried)
        tried[sample] = True
        some = laws.where(np.isin(np.arange(len(laws.which)), sample))
        _search_terms(search, some, scales)
        _search_parents(rows.some(2 * SEARCH_ROWS), some, means)
        _pursue_parents(rows.some(2 * SEARCH_ROWS), some, free)
        _search_terms(search, some, _own_parents(some, _hubs(means)))
        for q, at in enumerate(sample):
            laws.forms[at], laws.after[at] = some.forms[q], some.after[q]
        _spread(search, laws, some)
    _with_own_parents(rows.some(2 * SEARCH_ROWS), laws, ~tried & ~laws.explained, means)
    good = (laws.after < np.minimum(SHARE * laws.before, MOST_LEFT)) & (laws.before - laws.after > worthwhile)
    good &= np.array([bool(form.terms) for form in laws.forms], bool)
    return _completed(search, laws.where(good), np.setdiff1d(wanted, laws.which[good])) if good.any() else None


def _completed(rows: Rows, laws: Laws, others: np.ndarray) -> Laws:
    """With the other coordinates for which the form that most have is better than none: they belong together."""
    form, distances = common_forms(laws.which, laws.forms, 1)[0]
    count = sum(
        placed(form, distances, i, rows.y.shape[1]) == f for i, f in zip(laws.which.tolist(), laws.forms, strict=True)
    )
    tried = [placed(form, distances, i, rows.y.shape[1]) for i in others.tolist()]
    there = np.array([t is not None for t in tried], bool)
    if count < MAJORITY * len(laws.which) or not there.any():
        return laws
    forms, others = [t for t in tried if t is not None], others[there]
    before = fit_forms(rows, others, [Form((), form.parents) for form in forms]).divergence
    after = fit_forms(rows, others, forms).divergence
    good = after < BETTER * before
    return joined(laws, Laws(others, forms, before, after).where(good))


def _cost(loss: float, form: Form | None) -> float:
    """The divergence, and a little for every parent and term: right forms leave nothing and have what they need."""
    if form is None:
        return np.inf
    size = len(form.needs) + len(form.terms)
    return loss * (1 + PARENT_FACTOR * size) + PARENT_COST * size


def _spread(rows: Rows, laws: Laws, some: Laws) -> None:
    """Give coordinates the forms that some have in common, the one first that suits the most of them best.

    A form suits a coordinate where it costs at most COMMON_FACTOR times the least: coordinates with one prior have one
    law, and what a richer one gains on these rows it may lose beyond them.
    """
    tried = _tried_on(laws, forms_to_spread(some.which, some.forms, COMMON), rows.y.shape[1])
    if not tried:
        return
    losses = np.array([_losses(rows, laws.which, forms) for forms in tried])
    costs = np.array(
        [[_cost(x, f) for x, f in zip(loss, forms, strict=True)] for loss, forms in zip(losses, tried, strict=True)]
    )
    own = np.array([_cost(x, f) for x, f in zip(laws.after, laws.forms, strict=True)])
    room = np.where(laws.explained, 1.0, COMMON_FACTOR)
    excess = costs / np.clip(np.minimum(costs.min(0), own), 1e-300, 1e300)
    suits = (excess <= room) & ((losses < SHARE * laws.before) | (costs < own))
    gain = np.where(suits, 0.1 + np.log(room / np.clip(excess, 1.0, COMMON_FACTOR)), 0.0)
    while (total := gain.sum(1)).max() > 0:
        best = int(total.argmax())
        taken = gain[best] > 0
        for q, form in enumerate(tried[best]):
            if form is not None and taken[q]:
                laws.forms[q], laws.after[q] = form, losses[best, q]
        gain[:, taken] = 0.0


def _tried_on(laws: Laws, common: list[tuple[Form, dict[int, int]]], dim: int) -> list[list[Form | None]]:
    """Each common form, and the relatives of the first of them, in the place of every coordinate."""
    relatives = [(form, distances) for whole, distances in common[:RELATIVES] for form in whole.relatives]
    forms = dict.fromkeys((form, tuple(distances.items())) for form, distances in [*common, *relatives])
    placings = [[placed(form, dict(at), i, dim) for i in laws.which.tolist()] for form, at in forms]
    return [placing for placing in placings if any(placing)]


def _losses(rows: Rows, which: np.ndarray, forms: list[Form | None]) -> np.ndarray:
    """The held-out divergences of these forms, infinite where there is none or where it is no start for a search."""
    there = np.array([form is not None for form in forms])
    loss = np.full(len(forms), np.inf)
    loss[there] = fit_forms(rows, which[there], [form for form in forms if form is not None]).divergence
    loss[loss > MOST_LEFT] = np.inf
    return loss


def _sample(left: np.ndarray, tried: np.ndarray) -> np.ndarray:
    """Some of what is left, evenly: those first that were not tried."""
    fresh = left[~tried[left]]
    some = fresh if len(fresh) else left
    return some[np.linspace(0, len(some) - 1, min(SAMPLE, len(some))).astype(int)]


def _with_own_parents(rows: Rows, laws: Laws, others: np.ndarray, means: dict[int, list[int]]) -> None:
    """Parents of the mean for those coordinates that have their terms from others."""
    chosen = np.flatnonzero(others & np.array([bool(form.terms) for form in laws.forms], bool))
    if not len(chosen):
        return
    some = laws.where(np.isin(np.arange(len(laws.which)), chosen))
    _search_parents(rows, some, means)
    better = some.after < MUCH_BETTER * laws.after[chosen]
    for q, at in enumerate(chosen):
        if better[q]:
            laws.forms[at], laws.after[at] = some.forms[q], some.after[q]


def _hubs(means: dict[int, list[int]]) -> list[int]:
    """Coordinates that may move the means of most others."""
    return [j for j, _ in Counter(j for parents in means.values() for j in parents).most_common(SCALES)]


def _own_parents(laws: Laws, hubs: list[int]) -> dict[int, list[tuple[int, float]]]:
    """What moves the mean, of this coordinate or of most, may scale it too: a log scale that varies little does."""
    found = {}
    for i, form in zip(laws.which.tolist(), laws.forms, strict=True):
        scaled = {i} | {j for term in form.terms for j, _ in term}
        found[i] = [(j, -1.0) for j in dict.fromkeys([*hubs, *form.parents]) if j not in scaled][:SCALES]
    return found


def _search_terms(rows: Rows, laws: Laws, scales: dict[int, list[tuple[int, float]]]) -> None:
    """One term after the other, each the best of a grid, while the divergence halves."""
    halved = np.ones(len(laws.which), bool)
    for _ in range(2):
        best, old = Laws(laws.which, list(laws.forms), laws.before, laws.after.copy()), list(laws.forms)
        for attempt in range(SCALES * len(POWERS) + 3 * len(POWERS)):
            tried = [_with_term(f, scales[i], attempt) for i, f in zip(laws.which.tolist(), laws.forms, strict=True)]
            there = np.array([t is not None for t in tried]) & ~laws.explained & halved
            loss = np.full(len(tried), np.inf)
            if there.any():
                chosen = [t for t, k in zip(tried, there, strict=True) if t is not None and k]
                loss[there] = fit_forms(rows, laws.which[there], chosen).divergence
            best.better(loss, tried)
        laws.better(best.after, list(best.forms), 0.5)
        halved = np.array([new is not form for new, form in zip(laws.forms, old, strict=True)], bool)


def _with_term(form: Form, scales: list[tuple[int, float]], attempt: int) -> Form | None:
    """The form with one more term: the `attempt`-th of the grid of single parents and pairs."""
    slot, power = divmod(attempt, len(POWERS))
    slots = [(a,) for a in range(SCALES)] + [(0, 1), (0, 2), (1, 2)]
    if any(a >= len(scales) for a in slots[slot]):
        return None
    term = tuple(sorted((scales[a][0], scales[a][1] * POWERS[power]) for a in slots[slot]))
    return None if term in form.terms else Form((*form.terms, term), form.parents)


def _pursue_parents(rows: Rows, laws: Laws, free: np.ndarray) -> None:
    """Parents of the mean by what residuals have in common with each coordinate, two at a time (matching pursuit)."""
    for _ in range(2):
        solution = fit_forms(rows, laws.which, laws.forms)
        residual, weights = residuals(rows, laws.which, laws.forms, solution)
        x = rows.x[:, free]
        with np.errstate(divide="ignore", invalid="ignore"):
            shared = [np.abs((w * residual) @ x) / np.sqrt((w**2) @ x**2) for w in weights]
        strength = np.nan_to_num(np.max(shared, 0)) / (np.sqrt(np.mean(residual**2, 1, keepdims=True)) + 1e-300)
        more = {}
        for q, (i, form) in enumerate(zip(laws.which.tolist(), laws.forms, strict=True)):
            order = [k for k in np.argsort(-strength[q])[:4] if strength[q, k] > SIGNIFICANT]
            new = [int(free[k]) for k in order if free[k] != i and free[k] not in form.parents][:2]
            more[i] = [*new, *form.parents][: PARENTS + 2]
        trial, old = Laws(laws.which, list(laws.forms), laws.before, laws.after.copy()), list(laws.forms)
        _search_parents(rows, trial, more)
        laws.better(trial.after, list(trial.forms), 0.9)
        if all(new is form for new, form in zip(laws.forms, old, strict=True)):
            return


def _search_parents(rows: Rows, laws: Laws, means: dict[int, list[int]]) -> None:
    """All candidate parents of the mean, and then without those whose loss the held-out rows do not notice."""
    forms = [Form(f.terms, tuple(means[i])) for i, f in zip(laws.which.tolist(), laws.forms, strict=True)]
    solution = fit_forms(rows, laws.which, forms)
    terms, width = max(len(f.terms) for f in forms) + 1, max(len(f.parents) for f in forms)
    at, used = columns(terms, width), solution.used.copy()
    kept = np.array([[k < len(f.parents) for k in range(width)] for f in forms]).reshape(len(forms), width)
    loss = solution.divergence
    limit = PRUNE_FACTOR * loss + PRUNE_LOSS
    for k in reversed(range(width)):
        fewer = used.copy()
        fewer[:, at["B"][k]] = False
        tried = solve_gram(solution.grams[0], fewer)
        without = loss_of(solution.grams[1], tried)
        positive = (np.where(fewer[:, at["kappa"]], tried[:, at["kappa"]], 1) > 0).all(1)
        dropped = positive & (without < limit) & kept[:, k]
        used[dropped], kept[dropped, k], loss = fewer[dropped], False, np.where(dropped, without, loss)
    for q, form in enumerate(forms):
        live = used[q, at["kappa"]][1:]
        parents = tuple(j for k, j in enumerate(form.parents) if kept[q, k])
        laws.forms[q] = Form(tuple(t for m, t in enumerate(form.terms) if live[m]), parents)
        laws.after[q] = loss[q]


def candidates(rows: Rows, free: np.ndarray) -> tuple[dict[int, list], dict[int, list]]:
    """For each free coordinate what may scale it, with the sign, and what may move its mean.

    Scales by a ridge regression of log |∂ᵢ| on positions, means by correlations of gradients; each coordinate's own
    best, and the best of all.
    """
    n, x = len(rows.y), rows.x[:, free]
    level = _standard(np.log(np.abs(rows.score[:, free]) + 1e-12))
    slopes = np.linalg.solve(x.T @ x / n + RIDGE * np.eye(len(free)), x.T @ level / n)  # (by, of)
    bounded = _standard(np.tanh(rows.score[:, free] / (np.median(np.abs(rows.score[:, free]), 0) + 1e-300)))
    together, beside = np.abs(bounded.T @ bounded / n), np.abs(x.T @ x / n)
    noise = SIGNIFICANT / np.sqrt(n)
    by = [np.where(np.abs(a) > noise, np.abs(a), 0) * (1 - np.eye(len(free))) for a in (slopes, together, beside)]
    scales, means = {}, {}
    strong, signs = by[0].any(1), (np.sign(slopes) * by[0] ** 2).sum(1)
    pooled = [np.argsort(-(a**2).sum(1))[:PARENTS] for a in by]
    for q, i in enumerate(free.tolist()):
        mine = [np.argsort(-a[:, q])[:3] for a in by]
        mine = [[j for j in m if a[j, q] > 0] for m, a in zip(mine, by, strict=True)]
        scaled = [j for j in dict.fromkeys([*mine[0][:2], *pooled[0][:3]]) if j != q and strong[j]][:SCALES]
        moved = dict.fromkeys([*mine[1], *scaled[:2], *pooled[1][:4], *mine[2][:1]])
        scales[i] = [(int(free[j]), float(np.sign(slopes[j, q] if by[0][j, q] else signs[j]))) for j in scaled]
        means[i] = [int(free[j]) for j in moved if j != q][:PARENTS]
    return scales, means


def _standard(a: np.ndarray) -> np.ndarray:
    return (a - a.mean(0)) / (a.std(0) + 1e-300)
