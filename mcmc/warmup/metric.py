"""The metric that positions and gradients of all chains give."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mcmc.kernels.metric import LowRank, Metric
from mcmc.warmup.blas import one_blas_thread

AUTOCORRELATION = 5.0
RIDGE = 1e-12
MARGIN = 1.1
EXACT_UP_TO, SPARE, PASSES = 512, 16, 5
FITTED, BLOCKS, WORTH = 0.75, 8, 2.0


def metric_of(positions: np.ndarray, gradients: np.ndarray | None, old: Any, settled: bool = True) -> Any:
    r"""The metric of the form of `old` that rows (n, dim) of positions give, or of positions and their gradients.

    With gradients it is the C of least Fisher divergence, C G C = S, with S and G the covariances of positions and of
    gradients: for a normal target its covariance, wherever the chains are and with little more rows than dimensions.
    Where chains have `settled`, the spread counts along directions in which it is more than C says and noise explains:
    there the target is not normal. Without gradients it is S shrunk towards its diagonal, w S + (1 − w) diag S,
    w = m/(m + dim), m = n/5, because draws of a chain are correlated. Where there is nothing to learn (a coordinate
    that did not move, a number that is not finite), `old` stays.

    Source: Seyboldt, Carlson & Carpenter 2026 (arXiv 2603.18845) for the divergence.
    """
    if not _moved(positions, gradients):
        return old
    try:
        new, known = _metric_of(positions, gradients, old, settled)
    except np.linalg.LinAlgError:
        return old
    return new if known and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new)) else old


def metrics_of(positions: np.ndarray, gradients: np.ndarray | None, old: Any, settled: bool) -> tuple[Any, np.ndarray]:
    """`metric_of` of many data sets, in arrays with an axis more in front; which of them have a new metric (set,)."""
    good = _moved(positions, gradients)
    dense = isinstance(old, Metric)
    if dense and good.any():
        first = np.flatnonzero(good)[0]  # in place of those that can't be worked on

        def usable(rows: np.ndarray) -> np.ndarray:
            return rows if good.all() else np.where(good[:, None, None], rows, rows[first])

        try:
            with np.errstate(all="ignore"):
                new, known = _metric_of(
                    usable(positions), None if gradients is None else usable(gradients), old, settled
                )
            finite = np.isfinite(new.factor).reshape(len(good), -1).all(1)
            changed = good & known & finite
            where = changed.reshape(-1, *(1,) * (new.factor.ndim - 1))
            return Metric(np.where(where, new.factor, old.factor)), changed
        except np.linalg.LinAlgError:  # one of them may be flat to rounding
            pass
    each, changed = [], np.zeros(len(good), bool)
    for i in range(len(good)):
        before = jax.tree.map(lambda x, i=i: x[i], old)
        with np.errstate(all="ignore"):
            each.append(metric_of(positions[i], None if gradients is None else gradients[i], before, settled))
        changed[i] = each[i] is not before
    return jax.tree.map(lambda *x: np.stack(x), *each), changed


def _moved(positions: np.ndarray, gradients: np.ndarray | None) -> np.ndarray:
    """Whether there are rows (..., n, dim), of which no coordinate always has the same value."""
    if positions.shape[-2] < 2:
        return np.zeros(positions.shape[:-2], bool)
    moved = [(rows != rows[..., :1, :]).any(-2).all(-1) for rows in (positions, gradients) if rows is not None]
    return np.logical_and.reduce(moved)


def _metric_of(positions: np.ndarray, gradients: np.ndarray | None, old: Any, settled: bool) -> tuple[Any, np.ndarray]:
    """The metric of rows (..., n, dim), in the form and the type of `old`, and whether there is one (...,)."""
    x, spread = _centred(positions)
    g, slope = (None, 1.0) if gradients is None else _centred(gradients)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = spread if g is None else np.sqrt(spread / slope)
    known = ((scale > 0) & (scale < np.inf)).all(-1)
    if not known.any():
        return old, known
    scale = np.where(known[..., None], scale, 1.0)
    x, g = x / scale[..., None, :], None if g is None else g * scale[..., None, :]
    if isinstance(old, LowRank):
        with one_blas_thread():
            new = _low_rank(x, g, scale, old.variances.size, settled)
    elif np.ndim(old.factor) == scale.ndim:
        wide = _beyond(x.var(-2), x.shape[-2], 1) if settled and g is not None else np.ones_like(scale)
        new = Metric(scale * np.sqrt(np.maximum(wide, 1.0)))
    else:
        new = Metric(scale[..., None] * _factor(x, g, settled))
    return _in(new, old.factor.dtype), known


def _centred(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (..., n, dim) less their mean, and standard deviations (..., dim)."""
    n = rows.shape[-2]
    rows = rows - np.add.reduce(rows, -2, keepdims=True) / n
    largest = np.max(np.abs(rows), -2)  # so that no square leaves the range
    with np.errstate(divide="ignore", invalid="ignore"):
        units = rows / largest[..., None, :]
    return rows, largest * np.sqrt(np.add.reduce(units * units, -2) / n)


def _in(metric: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, dtype), metric)


def _factor(x: np.ndarray, g: np.ndarray | None, settled: bool) -> np.ndarray:
    """The Cholesky factor of the metric in scaled coordinates, from centred rows (..., n, dim)."""
    n, dim = x.shape[-2:]
    spread = _transposed(x) @ x / n
    if g is None:
        effective = n / AUTOCORRELATION
        return np.linalg.cholesky(np.where(np.eye(dim, dtype=bool), 1.0, spread * effective / (effective + dim)))
    factor = np.linalg.cholesky(_balanced(spread, _transposed(g) @ g / n))
    if not settled:
        return factor
    inverse = np.linalg.inv(factor)  # the same bits with any number of threads, which SciPy's triangular solve has not
    variances, directions = np.linalg.eigh(inverse @ spread @ _transposed(inverse))
    wide = factor @ directions * np.sqrt(np.maximum(_beyond(variances, n, dim), 1.0))[..., None, :]
    return np.linalg.cholesky(wide @ _transposed(wide))


def _transposed(matrix: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrix, -1, -2)


def _beyond(variances: np.ndarray, n: int, dim: int) -> np.ndarray:
    """These variances, 0 where sampling noise alone may have made them of 1 (Marchenko & Pastur 1967)."""
    noise = MARGIN * (1.0 + np.sqrt(dim * AUTOCORRELATION / n)) ** 2
    return np.where(variances > noise, variances, 0.0)


def _balanced(spread: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    """The positive definite C with C G C = S: C = L (Lᵀ G L)^(−1/2) Lᵀ, S = L Lᵀ."""
    ridge = RIDGE * spread * np.eye(spread.shape[-1])
    low = np.linalg.cholesky(spread + ridge)
    values, vectors = np.linalg.eigh(_transposed(low) @ (fisher + ridge) @ low)
    if not (values[..., 0] > 0).all():
        raise np.linalg.LinAlgError("fewer rows than dimensions")
    half = low @ vectors * values[..., None, :] ** -0.25
    return half @ _transposed(half)


def _low_rank(x: np.ndarray, g: np.ndarray | None, scale: np.ndarray, rank: int, settled: bool) -> LowRank:
    """The diagonal, and those directions that pay: found in most rows, judged and measured by the rest."""
    n = int(FITTED * len(x))
    if len(x) - n < 2 * BLOCKS:
        return LowRank(scale, np.zeros((len(scale), rank)), np.ones(rank))
    spans = [_main_directions(rows[:n], rank) for rows in (x, g) if rows is not None]
    basis = np.linalg.qr(np.concatenate(spans, 1))[0]
    factor = _factor(x[:n] @ basis, None if g is None else g[:n] @ basis, settled)
    variances, turned = np.linalg.eigh(factor @ factor.T)
    directions = basis @ turned
    gains, variances = _gains(variances, x[n:] @ directions, None if g is None else g[n:] @ directions, settled=settled)
    order = np.argsort(-gains, kind="stable")[:rank]
    order = order[gains[order] > 0]
    missing = rank - len(order)
    directions = np.pad(directions[:, order], ((0, 0), (0, missing)))
    return LowRank(scale, directions, np.pad(variances[order], (0, missing), constant_values=1.0))


def _gains(variances: np.ndarray, x: np.ndarray, g: np.ndarray | None, settled: bool) -> tuple[np.ndarray, np.ndarray]:
    r"""What each direction gains in held-out rows (n, direction), 0 where that is not sure; variances measured there.

    A direction of variance v pays where it brings (x + g)² down to (x/√v + √v g)², the Fisher divergence along it;
    where chains have settled, or without gradients, also where the draws are more probable, x² to x²/v + log v. The
    gain must exceed two standard errors of blocks of chains, and the variance be 2 at least, or a half at most.
    """
    found = []
    likelihood = x**2 - x**2 / variances - np.log(variances)
    if g is None:
        measured, found = np.mean(x**2, 0), [likelihood]
    else:
        root = np.sqrt(variances)
        measured = np.sqrt(np.mean(x**2, 0) / np.mean(g**2, 0))
        found = [(x + g) ** 2 - (x / root + root * g) ** 2, *([likelihood] if settled else [])]
        if settled:
            measured = np.where(variances > WORTH * measured, np.minimum(np.mean(x**2, 0), variances), measured)
    sure = [_surely(gain) for gain in found]
    wide = np.abs(np.log(measured)) > np.log(WORTH)
    return np.where(wide & (np.log(measured) * np.log(variances) > 0), np.max(sure, 0), 0.0), measured


def _surely(gain: np.ndarray) -> np.ndarray:
    """Mean gains of rows (n, direction), less two standard errors of the means of blocks of neighbours, at least 0."""
    means = np.stack([block.mean(0) for block in np.array_split(gain, BLOCKS)])
    return np.maximum(means.mean(0) - 2 * means.std(0, ddof=1) / np.sqrt(BLOCKS), 0.0)


def _main_directions(rows: np.ndarray, most: int) -> np.ndarray:
    """The directions (dim, ≤ most) in which rows spread most: exactly of few, by subspace iteration of many."""
    from scipy.linalg import eigh

    n, dim = rows.shape
    small = min(n, dim)
    if small > EXACT_UP_TO:
        return _iterated(rows, most + SPARE)[:, :most]
    gram = rows @ rows.T if n < dim else rows.T @ rows
    vectors = eigh(gram, subset_by_index=(max(small - most, 0), small - 1))[1]
    return rows.T @ vectors if n < dim else vectors


def _iterated(rows: np.ndarray, most: int) -> np.ndarray:
    """Orthonormal directions (dim, most), widest first, by subspace iteration from some of the rows themselves."""
    basis = np.linalg.qr(rows[np.linspace(0, len(rows) - 1, most).astype(int)].T)[0]
    for _ in range(PASSES):
        basis = np.linalg.qr(rows.T @ (rows @ basis))[0]
    return basis @ np.linalg.eigh(np.cov((rows @ basis).T))[1][:, ::-1]
