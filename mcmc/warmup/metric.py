"""The metric that positions and gradients of all chains give."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from mcmc.kernels.metric import LowRank, Metric

AUTOCORRELATION = 5.0
RIDGE = 1e-12
MARGIN = 1.1
SVD_ROWS = 512


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
    if len(positions) < 2 or not all(
        (rows != rows[0]).any(0).all() for rows in (positions, gradients) if rows is not None
    ):
        return old
    x, spread = _centred(positions)
    g, slope = (None, 1.0) if gradients is None else _centred(gradients)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = spread if g is None else np.sqrt(spread / slope)
    if not np.all((scale > 0) & (scale < np.inf)):
        return old
    x, g = x / scale, None if g is None else g * scale
    try:
        if isinstance(old, LowRank):
            new = _low_rank(x, g, scale, old.variances.size, settled)
        elif np.ndim(old.factor) == 1:
            wide = _beyond(x.var(0), len(x), 1) if settled and g is not None else 1.0
            new = Metric(scale * np.sqrt(np.maximum(wide, 1.0)))
        else:
            new = Metric(scale[:, None] * _factor(x, g, settled))
    except np.linalg.LinAlgError:
        return old
    new = _in(new, old.factor.dtype)
    return new if all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(new)) else old


def _centred(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, dim) less their mean, and standard deviations (dim,)."""
    rows = rows - np.add.reduce(rows) / len(rows)
    largest = np.max(np.abs(rows), 0)  # so that no square leaves the range
    with np.errstate(divide="ignore", invalid="ignore"):
        units = rows / largest
    return rows, largest * np.sqrt(np.einsum("nd,nd->d", units, units) / len(rows))


def _in(metric: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: np.asarray(x, dtype), metric)


def _factor(x: np.ndarray, g: np.ndarray | None, settled: bool) -> np.ndarray:
    """The Cholesky factor of the metric in scaled coordinates, from centred rows."""
    n, dim = x.shape
    spread = x.T @ x / n
    if g is None:
        effective = n / AUTOCORRELATION
        return np.linalg.cholesky(np.where(np.eye(dim, dtype=bool), 1.0, spread * effective / (effective + dim)))
    factor = np.linalg.cholesky(_balanced(spread, g.T @ g / n))
    if not settled:
        return factor
    inverse = np.linalg.inv(factor)  # the same bits with any number of threads, which SciPy's triangular solve has not
    variances, directions = np.linalg.eigh(inverse @ spread @ inverse.T)
    wide = factor @ directions * np.sqrt(np.maximum(_beyond(variances, n, dim), 1.0))
    return np.linalg.cholesky(wide @ wide.T)


def _beyond(variances: np.ndarray, n: int, dim: int) -> np.ndarray:
    """These variances, 0 where sampling noise alone may have made them of 1 (Marchenko & Pastur 1967)."""
    noise = MARGIN * (1.0 + np.sqrt(dim * AUTOCORRELATION / n)) ** 2
    return np.where(variances > noise, variances, 0.0)


def _balanced(spread: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    """The positive definite C with C G C = S: C = L (Lᵀ G L)^(−1/2) Lᵀ, S = L Lᵀ."""
    ridge = RIDGE * np.diag(np.diag(spread))
    low = np.linalg.cholesky(spread + ridge)
    values, vectors = np.linalg.eigh(low.T @ (fisher + ridge) @ low)
    if values[0] <= 0:
        raise np.linalg.LinAlgError("fewer rows than dimensions")
    half = low @ vectors * values**-0.25
    return half @ half.T


def _low_rank(x: np.ndarray, g: np.ndarray | None, scale: np.ndarray, rank: int, settled: bool) -> LowRank:
    """The `rank` directions whose variance is farthest from 1, among those in which rows spread most."""
    spans = [_main_directions(rows, 2 * rank) for rows in (x, g) if rows is not None]
    basis = np.linalg.qr(np.concatenate(spans, 1))[0]
    factor = _factor(x @ basis, None if g is None else g @ basis, settled)
    variances, directions = np.linalg.eigh(factor @ factor.T)
    order = np.argsort(-np.abs(np.log(variances)))[:rank]
    missing = rank - len(order)
    directions = np.pad(basis @ directions[:, order], ((0, 0), (0, missing)))
    return LowRank(scale, directions, np.pad(variances[order], (0, missing), constant_values=1.0))


def _main_directions(rows: np.ndarray, most: int) -> np.ndarray:
    """The directions (dim, ≤ most) in which the rows, or some of many, spread most."""
    from scipy.linalg import eigh

    chosen = np.linspace(0, len(rows) - 1, min(len(rows), SVD_ROWS)).astype(int)
    rows = rows[chosen]
    n, dim = rows.shape
    small = min(n, dim)
    gram = rows @ rows.T if n < dim else rows.T @ rows
    vectors = eigh(gram, subset_by_index=(max(small - most, 0), small - 1))[1]
    return rows.T @ vectors if n < dim else vectors
