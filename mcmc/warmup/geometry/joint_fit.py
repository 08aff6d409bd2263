r"""Coordinates that are about jointly normal given what scales them, found from draws and gradients.

With the terms of their laws as weights wₘᵢ, −∂ᵢ log π = Σₘ wₘᵢ (Σⱼ Aₘᵢⱼ wₘⱼ xⱼ − bₘᵢ): least squares for each i. Terms
that several laws share are one m each; those of one coordinate alone, as of local scales, are one m together.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from mcmc.warmup.geometry.conditional_forms import Form, Rows, Term, common_forms, placed
from mcmc.warmup.geometry.joint_layer import JointLayer
from mcmc.warmup.geometry.noncentring import Laws

MOST_SHARED, FEW, MOST_DIM, CLIP, RIDGE = 3, 0.1, 64, 40.0, 1e-4
ROWS_A_COLUMN, SIGNIFICANT, LEAST = 2.0, 4.0, 1e-6


def find_joint(rows: Rows, laws: Laws, free: np.ndarray) -> tuple[JointLayer, np.ndarray] | None:
    """The layer of all `free` coordinates that scale nothing, and which they are; None where there are too many."""
    shared, own = _terms(laws, free, rows.y.shape[1])
    scaling = np.array(sorted({j for terms in (*shared, own) for term in terms.values() for j, _ in term}), int)
    members = np.setdiff1d(free, scaling)
    terms = len(shared) + 2
    enough = rows.train.sum() >= ROWS_A_COLUMN * (len(members) + 1) * terms
    if not len(scaling) or not 2 <= len(members) <= MOST_DIM or not enough:
        return None
    exponents, there = _exponents([dict.fromkeys(members.tolist(), ()), *shared, own], members, scaling)
    beside = np.zeros((terms, len(scaling)))
    for m in range(1, terms - 1):
        beside[m] = exponents[m].sum(0) / max(1, there[m].sum())  # one for all that have it
    c = (rows.y[:, scaling] - rows.mid[scaling]).T
    weights = np.exp(np.clip(exponents @ c, -CLIP, CLIP)).transpose(2, 0, 1) * there
    levels = np.exp(np.clip(beside @ c, -CLIP, CLIP)).T
    if own:  # the level of a product of scales is where the products are 0
        rows = replace(rows, mid=np.where(np.isin(np.arange(len(rows.mid)), members), 0, rows.mid))
    found = _fitted(rows, members, weights, levels)
    if found is None:
        return None
    used = (found[0] != 0).any((1, 2))
    numbers = (array[used] for array in (exponents, beside, *found))
    return JointLayer(scaling, rows.mid[scaling], members, rows.mid[members], rows.sd[members], *numbers), members


def _terms(laws: Laws, free: np.ndarray, dim: int) -> tuple[list[dict[int, Term]], dict[int, Term]]:
    """The terms that several laws share, each as {coordinate: term}, and those of one coordinate alone.

    What scales more than that which scales it is no member: a chance find.
    """
    scaled = Counter(j for form in laws.forms for j in form.scales)
    forms = {
        i: [term for term in form.terms if scaled[i] < max(scaled[j] for j, _ in term)]
        for i, form in zip(laws.which.tolist(), laws.forms, strict=True)
    }
    counts = Counter(term for terms in forms.values() for term in terms)
    common = [term for term, n in counts.most_common(MOST_SHARED) if n >= max(2, FEW * len(forms))]
    shared = [{i: term for i, terms in forms.items() if term in terms} for term in common]
    alone = {i: [term for term in terms if term not in common] for i, terms in forms.items()}
    return shared, _alike({i: terms[0] for i, terms in alone.items() if terms}, free, dim)


def _alike(own: dict[int, Term], free: np.ndarray, dim: int) -> dict[int, Term]:
    """With terms for the other coordinates as far from theirs as most have it: they may be alike."""
    if not own:
        return own
    which = np.array(list(own))
    form, distances = common_forms(which, [Form((term,)) for term in own.values()], 1)[0]
    placings = {i: placed(form, distances, i, dim) for i in np.setdiff1d(free, which).tolist()}
    more = {i: other.terms[0] for i, other in placings.items() if other is not None}
    scaling = {j for term in own.values() for j, _ in term}
    return own | {i: t for i, t in more.items() if i not in scaling and not {j for j, _ in t} & {*own, *more}}


def _exponents(terms: list[dict[int, Term]], members: np.ndarray, scaling: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Half the logs of what scales each member in each term (m, member, parent), and which have it (m, member)."""
    found = np.zeros((len(terms), len(members), len(scaling)))
    there = np.zeros(found.shape[:2], bool)
    for m, own in enumerate(terms):
        for q in np.flatnonzero(np.isin(members, list(own))):
            there[m, q] = True
            for j, power in own[int(members[q])]:
                found[m, q, np.searchsorted(scaling, j)] = 0.5 * power
    return found, there


def _fitted(
    rows: Rows, members: np.ndarray, weights: np.ndarray, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """The matrices A (m, member, member), positive semidefinite, and levels b (m, member): all entries that rows may
    tell, and then once more without those that they do not notice.
    """
    x, score, n = rows.x[:, members][rows.train], rows.score[:, members][rows.train], len(members)
    weights, levels = weights[rows.train], levels[rows.train]
    own = np.concatenate([weights * x[:, None], -levels[:, :, None]], 2)
    kept = np.broadcast_to((weights != 0).any(0)[:, :, None], (*weights.shape[1:], n + 1)).copy()
    kept[:, :, :n] &= kept[:, :, :n].transpose(0, 2, 1)
    found, noticed = np.zeros(kept.shape), np.zeros(kept.shape, bool)
    for _ in range(2):
        found[:] = 0
        for i in range(n):
            used = kept[:, i]
            design = (weights[:, :, i, None] * own)[:, used]
            at = np.flatnonzero(used[:, i])
            diagonal = [int(used[:m].sum() + used[m, :i].sum()) for m in at]
            solved, significance = _least_squares(design, -score[:, i], weights[:, at, i] ** 2, diagonal)
            found[:, i][used], noticed[:, i][used] = solved, np.abs(significance) > SIGNIFICANT
        joined = noticed[:, :, :n] | noticed[:, :, :n].transpose(0, 2, 1) | np.eye(n, dtype=bool)
        kept &= np.concatenate([joined, noticed[:, :, n:]], 2)
    if not np.isfinite(found).all():
        return None
    return _positive((found[:, :, :n] + found[:, :, :n].transpose(0, 2, 1)) / 2), found[:, :, n]


def _least_squares(
    design: np.ndarray, wanted: np.ndarray, squares: np.ndarray, diagonal: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients, and how many standard errors they are from 0; rows weighed by the precision that they find."""
    scale = np.sqrt(np.mean(design**2, 0)) + 1e-300
    precision, solved, significance = np.ones(len(wanted)), np.zeros(len(scale)), np.zeros(len(scale))
    for _ in range(2):
        root = np.sqrt(precision)
        columns, right = design / scale / root[:, None], wanted / root
        ridge = RIDGE * np.sqrt(np.mean(columns**2)) * np.sqrt(len(wanted))
        q, r = np.linalg.qr(np.concatenate([columns, ridge * np.eye(len(scale))]))
        inverse = np.linalg.inv(r)
        solved = inverse @ (q[: len(wanted)].T @ right)
        noise = np.mean((right - columns @ solved) ** 2) + 1e-300
        significance = solved / np.sqrt(noise * np.sum(inverse**2, 1))
        solved = solved / scale
        precision = squares @ np.maximum(solved[diagonal], 0)
        precision = np.maximum(precision, LEAST * precision.max() + 1e-300)
    return solved, significance


def _positive(matrices: np.ndarray) -> np.ndarray:
    """The nearest positive semidefinite ones."""
    values, vectors = np.linalg.eigh(matrices)
    return (vectors * np.maximum(values, 0)[:, None]) @ vectors.transpose(0, 2, 1)
