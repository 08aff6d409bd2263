r"""A block of coordinates that is jointly normal given others, found from draws and gradients by least squares.

With the terms eₘ = exp(Eₘ·c) that scale it known, −∂ᵢ log π = Σₘ eₘ (Kₘ x − lₘ)ᵢ for every i of the block: linear in Kₘ
and lₘ, with the same columns for all i, and without noise where the form is right.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from mcmc.warmup.geometry.block_layer import BlockLayer
from mcmc.warmup.geometry.conditional_forms import Rows, Term
from mcmc.warmup.geometry.noncentring import Laws

MOST_TERMS, FEW, MOST_REST, CLIP = 3, 0.1, 64, 40.0
MOST, ROWS_PER_COLUMN, EXACT, SMALL, SYMMETRIC, NOTICED, RANK, WHOLE = 0.5, 1.3, 1e-5, 1e-5, 1e-3, 10, 1e-6, 1e-5
ABSENT = -1e30


@dataclass(frozen=True)
class Quadratic:
    """The matrices (Kₘ, −lₘ) of a block (m, block, block + beside + 1), its coordinates, and its linear parents."""

    matrices: np.ndarray
    block: np.ndarray
    beside: np.ndarray


def find_block(rows: Rows, laws: Laws, free: np.ndarray) -> tuple[BlockLayer, np.ndarray] | None:
    """The layer of a block of `free` coordinates, which may move each other's means, and which they are.

    None where there is none, where it has few of the coordinates whose laws leave nothing, or where the laws say as
    much, coordinate by coordinate.
    """
    found = block_of(rows, _terms(laws), free)
    if found is None or np.isin(laws.which[laws.explained], found[1]).mean() < MOST:
        return None
    return found if len(found[0].rest) or len(found[1]) > len(laws.which) else None


def block_of(rows: Rows, terms: list[Term], free: np.ndarray) -> tuple[BlockLayer, np.ndarray] | None:
    """The layer of those `free` coordinates that are jointly normal with these terms, and which they are, or None."""
    scaling = np.array(sorted({j for term in terms for j, _ in term}), int)
    members = np.setdiff1d(np.arange(rows.y.shape[1]), scaling)
    if not len(scaling) or rows.train.sum() < ROWS_PER_COLUMN * len(terms) * (len(members) + 1):
        return None
    logs = np.array([[dict(term).get(j, 0.0) for j in scaling] for term in terms])
    powers = np.exp(np.clip((rows.y[:, scaling] - rows.mid[scaling]) @ logs.T, -CLIP, CLIP))
    found = _quadratic(rows, members, powers, np.isin(members, free))
    if found is None:
        return None
    first = _independent(_pattern(found))
    if len(found.block) - len(first) > MOST_REST:
        return None
    return _layer(rows, found, first, scaling, logs), found.block


def _terms(laws: Laws) -> list[Term]:
    """1, and the terms that laws which leave nothing have in common."""
    exact = [form for form, e in zip(laws.forms, laws.explained, strict=True) if e]
    counts = Counter(term for form in exact for term in form.terms)
    common = [term for term, n in counts.most_common(MOST_TERMS) if n > FEW * len(exact)]
    return [(), *common] if common else []


def _quadratic(rows: Rows, members: np.ndarray, powers: np.ndarray, free: np.ndarray) -> Quadratic | None:
    """The matrices of those free members whose law leaves nothing."""
    x, score = rows.x[:, members], rows.score[:, members]
    weight = 1 / np.sqrt(np.mean(powers / np.median(powers, 0), 1, keepdims=True))
    own = np.concatenate([x, np.ones((len(x), 1))], 1)
    design = (powers[:, :, None] * own[:, None, :]).reshape(len(x), -1) * weight
    found = _least_squares(design[rows.train], -(score * weight)[rows.train])
    if found is None:
        return None
    left = -score - (design / weight) @ found
    matrices = found.reshape(powers.shape[1], len(members) + 1, len(members)).transpose(0, 2, 1)
    precision = powers @ np.diagonal(matrices, 0, 1, 2)
    held = ~rows.train
    with np.errstate(all="ignore"):
        loss = np.mean(left[held] ** 2 / precision[held], 0)
    exact = np.flatnonzero(free & (precision > 0).all(0) & (loss < EXACT))
    if len(exact) < 2:
        return None
    return _polished(rows, members, powers, matrices, exact)


def _least_squares(design: np.ndarray, wanted: np.ndarray) -> np.ndarray | None:
    """By orthogonal factors, of columns brought to one size."""
    scale = np.sqrt(np.mean(design**2, 0)) + 1e-300
    q, r = np.linalg.qr(design / scale)
    diagonal = np.abs(np.diag(r))
    if not diagonal.min() > 1e-12 * diagonal.max():
        return None
    return np.linalg.solve(r, q.T @ wanted) / scale[:, None]


def _polished(
    rows: Rows, members: np.ndarray, powers: np.ndarray, matrices: np.ndarray, exact: np.ndarray
) -> Quadratic | None:
    """Without the entries that rows do not notice, and once more by least squares of the others, symmetric."""
    n, x, score = len(members), rows.x[:, members], rows.score[:, members]
    own = np.concatenate([x, np.ones((len(x), 1))], 1)
    new = np.zeros_like(matrices)
    precision = powers @ np.diagonal(matrices, 0, 1, 2)[:, exact]
    effect = np.sqrt(np.einsum("nm,nj,ni->mij", powers**2, own**2, 1 / precision, optimize=True) / len(x))
    noticed = np.abs(matrices[:, exact] * effect) > SMALL
    noticed[:, :, exact] |= noticed[:, :, exact].transpose(0, 2, 1)
    noticed[:, np.arange(len(exact)), exact] = noticed[:, :, exact].any(2)  # no row of a precision without its diagonal
    for q, i in enumerate(exact):
        used = np.flatnonzero(noticed[:, q].ravel())
        term, column = np.divmod(used, n + 1)
        root = np.sqrt(precision[:, [q]])
        found = _least_squares(powers[:, term] * own[:, column] / root, -score[:, [i]] / root)
        if found is None:
            return None
        new[:, i].reshape(-1)[used] = found[:, 0]
    kappa = np.maximum(np.diagonal(new, 0, 1, 2), 0)
    new[:, np.arange(n), np.arange(n)] = kappa
    new[:, exact] *= (kappa[:, exact] > 0)[:, :, None]
    inside = new[:, exact][:, :, exact]
    uneven = np.abs(inside - inside.transpose(0, 2, 1))
    size = np.sqrt(kappa[:, exact, None] * kappa[:, None, exact])
    if ((uneven > SYMMETRIC * size) & (uneven * effect[:, :, exact] > NOTICED * SMALL)).any():
        return None
    new[:, exact[:, None], exact] = (inside + inside.transpose(0, 2, 1)) / 2
    others = np.setdiff1d(np.arange(n), exact)
    beside = others[(new[:, exact][:, :, others] != 0).any((0, 1))]
    kept = np.concatenate([exact, beside, [n]])
    return Quadratic(new[:, exact][:, :, kept], members[exact], members[beside])


def _pattern(found: Quadratic) -> np.ndarray:
    """Which coordinates of the block are joined in any term."""
    n = len(found.block)
    joined = (found.matrices[:, :, :n] != 0).any(0)
    return joined & ~np.eye(n, dtype=bool)


def _independent(joined: np.ndarray) -> np.ndarray:
    """Coordinates of which no two are joined: those with the fewest others first."""
    chosen, free = [], np.ones(len(joined), bool)
    for i in np.argsort(joined.sum(1), kind="stable"):
        if free[i]:
            chosen.append(int(i))
            free[joined[i]] = False
    return np.array(sorted(chosen), int)


def _layer(rows: Rows, found: Quadratic, first: np.ndarray, scaling: np.ndarray, logs: np.ndarray) -> BlockLayer:
    """The numbers of the layer: each of `first` completed to a square, and what is left for the rest."""
    n, m = len(found.block), len(logs)
    rest = np.setdiff1d(np.arange(n), first)
    others = np.concatenate([rest, np.arange(n, found.matrices.shape[2])])
    kappa = found.matrices[:, first, first]
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = np.nan_to_num(-found.matrices[:, first][:, :, others] / kappa[:, :, None])
    around = np.concatenate([found.block[rest], found.beside])
    slopes = _snapped(slopes, rows, found.block[first], around)
    coupled = -kappa[:, :, None] * slopes[:, :, : len(rest)]
    base = found.matrices[:, rest][:, :, others] + np.einsum("mar,maw->mrw", coupled, slopes)
    for k in range(m):
        base[k] = _positive(base[k], np.diagonal(found.matrices[k][rest][:, rest]))
    loc, scale = np.zeros(rows.y.shape[1]), np.ones(rows.y.shape[1])
    used = np.concatenate([found.block, found.beside])
    loc[used], scale[used] = rows.mid[used], rows.sd[used]
    return BlockLayer(
        scaling,
        rows.mid[scaling],
        found.block[first],
        found.block[rest],
        found.beside,
        loc,
        scale,
        logs,
        np.where(kappa > 0, np.log(np.maximum(kappa, 1e-290)), ABSENT),
        slopes,
        base,
    )


def _snapped(slopes: np.ndarray, rows: Rows, first: np.ndarray, around: np.ndarray) -> np.ndarray:
    """Slopes that are nearly whole numbers, and centres that are nearly 0, made so: far in a neck it shows.

    In the parameters as they are: xₐ − Σ s x − s₀ = (yₐ − Σ s' y − s'₀) / sdₐ.
    """
    by = slopes[:, :, :-1] * rows.sd[first][None, :, None] / rows.sd[around]
    offset = rows.mid[first] + rows.sd[first] * slopes[:, :, -1] - by @ rows.mid[around]
    by = np.where(np.abs(by - np.round(by)) < WHOLE, np.round(by), by)
    offset = np.where(np.abs(offset) < WHOLE * (np.abs(rows.mid[first]) + rows.sd[first]), 0, offset)
    last = (offset - rows.mid[first] + by @ rows.mid[around]) / rows.sd[first]
    return np.concatenate([by * rows.sd[around] / rows.sd[first][None, :, None], last[:, :, None]], 2)


def _positive(base: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A term's matrix without the directions that it leaves free but for rounding."""
    r = len(base)
    values, vectors = np.linalg.eigh((base[:, :r] + base[:, :r].T) / 2)
    kept = vectors[:, values > RANK * max(size.max(initial=0), 1e-300)]
    values = values[values > RANK * max(size.max(initial=0), 1e-300)]
    return np.concatenate([(kept * values) @ kept.T, kept @ (kept.T @ base[:, r:])], 1)
