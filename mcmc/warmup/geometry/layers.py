"""Layers of a triangular map from the conditional laws that were found, one after the other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from mcmc.kernels.metric import Metric
from mcmc.warmup.geometry.block_fit import block_of, find_block
from mcmc.warmup.geometry.centres import snapped
from mcmc.warmup.geometry.conditional_fit import Solution, columns
from mcmc.warmup.geometry.conditional_forms import Form, Rows, evenly, fit_exactly, fit_first_term, fit_forms
from mcmc.warmup.geometry.conditional_layer import ABSENT, ConditionalLayer
from mcmc.warmup.geometry.curves import find_curves
from mcmc.warmup.geometry.directions import find_directions
from mcmc.warmup.geometry.joint_fit import find_joint
from mcmc.warmup.geometry.noncentring import EXACT, EXPLAINED, FIT_ROWS, Laws, find_laws
from mcmc.warmup.geometry.tails import find_tails
from mcmc.warmup.geometry.triangular_map import Layer
from mcmc.warmup.metric import metric_of

MOST_LAYERS, MORE_PARENTS, BETTER, BETTER_BY, FEW = 5, 2, 0.003, 0.1, 0.1
ASKEW_ABOVE, ASKEW_BETTER, COUPLED, TOGETHER, APART = 0.2, 0.5, 0.4, 0.7, 1.5
COUPLED_ABOVE, COUPLED_BETTER = 0.05, 0.7

Found = tuple[Layer, np.ndarray]


def find_layers(y: np.ndarray, g: np.ndarray) -> tuple[list[Layer], list[float]]:
    """Layers, as long as each brings held-out rows (row, dim) nearer to a normal law; their divergences.

    Where parameters as they are give little, combinations of them are tried.
    """
    some = evenly(len(y), FIT_ROWS)
    y, g = y[some], g[some]
    rows, free = Rows.of(y, g), np.arange(y.shape[1])
    laws = find_laws(rows, free)
    layers, history = _along_coordinates(y, g, free, laws)
    if history[-1] > COUPLED_ABOVE and laws is not None and (joint := find_joint(rows, laws, free)):
        after, other = _behind(joint, y, g)
        layers, history = (after, other) if other[-1] < COUPLED_BETTER * history[-1] else (layers, history)
    askew = history[-1] > ASKEW_ABOVE and len(y) > 5 * y.shape[1]
    if not askew or (found := find_directions(y, g)) is None:
        return layers, history
    directions, scaling = found
    z, gz = directions.whiten(y, g)
    block = block_of(Rows.of(z, gz), [(), *(((j, 1.0),) for j in range(scaling))], free) if scaling > 1 else None
    turned, other = _behind(block, z, gz) if block else _along_coordinates(z, gz, free, find_laws(Rows.of(z, gz), free))
    better = other[-1] < ASKEW_BETTER * history[-1]
    return ([directions, *turned], [history[0], *other]) if better else (layers, history)


def _behind(first: Found, y: np.ndarray, g: np.ndarray) -> tuple[list[Layer], list[float]]:
    """One layer, and where it brings rows nearer to a normal law those along the coordinates that it does not map."""
    layer, mapped = first
    z, gz = layer.whiten(y, g)
    before, after = divergence(y, g), divergence(z, gz)
    if not after < before:
        return [layer], [before, after]
    free = np.setdiff1d(np.arange(y.shape[1]), mapped)
    layers, history = _along_coordinates(z, gz, free, find_laws(Rows.of(z, gz), free))
    return [layer, *layers], [before, *history]


def _along_coordinates(
    y: np.ndarray, g: np.ndarray, free: np.ndarray, laws: Laws | None
) -> tuple[list[Layer], list[float]]:
    """Layers of free coordinates as they are: conditional laws, leaves first, these the first; bends; tails."""
    layers, history = [], [divergence(y, g)]
    for first, find in ((partial(_conditional_laws, laws=laws), _more_laws), (_bends, _bends)):
        found = first(Rows.of(y, g), free)
        while len(layers) < MOST_LAYERS and found is not None:
            layer, mapped = found
            z, gz = layer.whiten(y, g)
            after = divergence(z, gz)
            if not after < (1 - BETTER_BY) * history[-1] - BETTER:
                break
            history.append(after)
            layers.append(layer)
            y, g, free = z, gz, np.setdiff1d(free, mapped)
            found = find(Rows.of(y, g), free)
    tails = find_tails(y, g)
    if tails is not None and (after := divergence(*tails.whiten(y, g))) < history[-1]:
        layers.append(tails)
        history.append(after)
    return layers, history


def _conditional_laws(rows: Rows, free: np.ndarray, laws: Laws | None) -> Found | None:
    """The layer of free coordinates that are normal given others, by these laws, and which it maps."""
    if laws is None:
        return None
    layer, mapped = find_block(rows, laws, free) or layer_of(laws, rows)
    exact = (laws.after[np.isin(laws.which, mapped)] < EXACT).all()
    few = len(mapped) < FEW * rows.y.shape[1]  # a few laws that do not hold exactly are as likely noise
    return (layer, mapped) if exact or not few else None


def _more_laws(rows: Rows, free: np.ndarray) -> Found | None:
    """The layer of the conditional laws of these rows, and which coordinates it maps."""
    return _conditional_laws(rows, free, find_laws(rows, free))


def _bends(rows: Rows, free: np.ndarray) -> Found | None:
    """The layer of free coordinates whose mean is bent, and which it maps."""
    layer = find_curves(rows, free)
    return None if layer is None else (layer, layer.mapped)


def layer_of(laws: Laws, rows: Rows) -> tuple[ConditionalLayer, np.ndarray]:
    """The layer of those coordinates, leaves first, none of which is a parent of another; which they are.

    Or of all without these parents, if that leaves much less, or less where most depend on most, as coefficients of
    correlated regressors do: what correlation is left is the metric's.
    """
    laws = _apart(laws, rows)
    chosen = _independent(laws)
    first = _fitted(laws.which[chosen], [laws.forms[q] for q in chosen], rows)
    among = set(laws.which.tolist())
    alone = [Form(f.terms, tuple(j for j in f.parents if j not in among)) for f in laws.forms]
    if len(chosen) == len(alone) or any(form.needs & among for form in alone):
        return first
    together = _fitted(laws.which, alone, rows)
    left, left_together = (divergence(*layer.whiten(rows.y, rows.g)) for layer, _ in (first, together))
    return together if left_together < left * (1 if len(chosen) < COUPLED * len(alone) else TOGETHER) else first


def _fitted(which: np.ndarray, forms: list[Form], rows: Rows) -> tuple[ConditionalLayer, np.ndarray]:
    """The layer of these coordinates in these forms.

    Where a prior holds exactly once a function of the coordinate itself is set aside, the prior stays, and only the
    rest is approximated: in the neck of a funnel nothing but the prior counts.
    """
    solution = snapped(rows, which, fit_exactly(rows, which, forms), forms)
    if (solution.divergence < EXPLAINED).all():
        return _arrays(which, forms, solution, rows), which
    aside = replace(rows, aside=True)
    apart = snapped(aside, which, fit_exactly(aside, which, forms), forms)
    prior = (apart.divergence < EXACT) & (solution.divergence > EXPLAINED)
    apart = fit_first_term(rows, which, forms, apart)
    coefficients = np.where(prior[:, None], apart.coefficients, solution.coefficients)
    used = np.where(prior[:, None], apart.used, solution.used)
    return _arrays(which, forms, replace(solution, coefficients=coefficients, used=used), rows), which


def _apart(laws: Laws, rows: Rows) -> Laws:
    """The laws, without those parents of a mean that explain little of an inexact one and may do harm.

    A parent that has a law itself is not mapped by the layer, and stays in the funnel that its own law would take it
    out of. A mean linear in what scales the coordinate grows without bound in the neck.
    """
    among = set(laws.which.tolist())
    laws = _without(laws, rows, [Form(f.terms, tuple(j for j in f.parents if j not in among)) for f in laws.forms])
    scales = [{j for term in f.terms for j, _ in term} for f in laws.forms]
    plainer = [
        Form(f.terms, tuple(j for j in f.parents if j not in s)) for f, s in zip(laws.forms, scales, strict=True)
    ]
    return _without(laws, rows, plainer)


def _without(laws: Laws, rows: Rows, plainer: list[Form]) -> Laws:
    """The laws in plainer forms, where these lose little of an inexact law."""
    tried = np.flatnonzero([p != f for p, f in zip(plainer, laws.forms, strict=True)] & (laws.after > EXACT))
    if not len(tried):
        return laws
    loss = {
        kind: fit_forms(rows, laws.which[tried], [forms[q] for q in tried]).divergence
        for kind, forms in (("with", laws.forms), ("without", plainer))
    }
    forms = list(laws.forms)
    for q, little in zip(tried, loss["without"] < APART * loss["with"], strict=True):
        forms[q] = plainer[q] if little else forms[q]
    return replace(laws, forms=forms)


def _independent(laws: Laws) -> list[int]:
    """Coordinates with few parents, none a parent of another."""
    needs = [form.needs for form in laws.forms]
    fewest = min(map(len, needs))
    order = sorted(range(len(needs)), key=lambda q: (round(0.05 * len(needs[q]) + float(laws.after[q]), 2), q))
    chosen, parents, mapped = [], set(), set()
    for q in order:
        i = int(laws.which[q])
        if len(needs[q]) <= fewest + MORE_PARENTS and i not in parents and not needs[q] & mapped:
            chosen.append(q)
            mapped.add(i)
            parents |= needs[q]
    return chosen


def _arrays(which: np.ndarray, forms: list[Form], solution: Solution, rows: Rows) -> ConditionalLayer:
    """The numbers of a layer; half powers of the mean are terms of their own, without precision."""
    parents = np.array(sorted(set().union(*(form.needs for form in forms))))
    place = {int(j): k for k, j in enumerate(parents)}
    terms, dim = max(len(f.terms) for f in forms) + 1, rows.y.shape[1]
    at = columns(terms, max(len(f.parents) for f in forms))
    total = 2 * terms - 1
    exponents, slopes = np.zeros((dim, total, len(parents))), np.zeros((dim, total, len(parents)))
    offsets, log_kappa = np.zeros((dim, total)), np.full((dim, total), ABSENT)
    log_kappa[:, 0] = 0.0
    loc, scale = np.zeros(dim), np.ones(dim)
    loc[which], scale[which] = rows.mid[which], rows.sd[which]
    for i, form, co, used in zip(which, forms, solution.coefficients, solution.used, strict=True):
        kappa = np.where(used[at["kappa"]], co[at["kappa"]], 0)
        log_kappa[i, :terms] = np.where(kappa > 0, np.log(np.maximum(kappa, 1e-290)), ABSENT)
        offsets[i, :terms], offsets[i, terms:] = co[at["b"]], co[at["a"]]
        for t, term in enumerate(form.terms):
            for j, p in term if used[at["kappa"][t + 1]] else ():
                exponents[i, t + 1, place[j]] = p
                exponents[i, terms + t, place[j]] = p / 2
        for k, j in enumerate(form.parents):
            slopes[i, :terms, place[j]] = co[at["B"][k]] / rows.sd[j]
    return ConditionalLayer(parents, rows.mid[parents], loc, scale, exponents, slopes, offsets, log_kappa)


def divergence(y: np.ndarray, g: np.ndarray) -> float:
    """The Fisher divergence of held-out rows after the metric of the others, as a mean of log(1 + r²).

    Infinite where that metric is singular, as of chains that do not move.
    """
    half, dim = len(y) // 2, y.shape[1]
    diagonal = np.sqrt(y[:half].std(0) / g[:half].std(0))
    form = Metric(np.diag(diagonal) if dim <= half // 3 else diagonal)
    factor = np.asarray(metric_of(y[:half], g[:half], form, settled=False).factor)
    y, g = y[half:] - y[:half].mean(0), g[half:] - g[:half].mean(0)
    try:
        whitened = y / factor if factor.ndim == 1 else np.linalg.solve(factor, y.T).T
    except np.linalg.LinAlgError:
        return np.inf
    pulled = g * factor if factor.ndim == 1 else g @ factor
    return float(np.log1p((whitened + pulled) ** 2).mean())
