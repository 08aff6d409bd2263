"""Bridge sampling: the normalising constant of a density from draws of it, by way of a normal law beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcmc.diagnostics.stats import ess

MOST_ROUNDS, TOLERANCE = 1000, 1e-10
FEWEST, MANY_CHAINS = 10, 8
"""Draws for each dimension that the normal law is fitted to, and chains of a jackknife, at least."""


@dataclass(frozen=True)
class Estimate:
    """A log normalising constant and its standard error."""

    log_evidence: float
    error: float

    def __str__(self) -> str:
        return f"{self.log_evidence:.3f} ± {self.error:.2g}"


def bridge(
    positions: np.ndarray,
    lps: np.ndarray,
    log_density: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> Estimate:
    r"""The log of ∫ exp(log_density) from draws (chain, draw, dim) and their log densities (chain, draw).

    A normal law q is fitted to the first half of every chain; with as many draws of q as the second half has,

    .. math:: \hat r \leftarrow \frac{\frac{1}{n_q} \sum_q l / (s_1 l + s_2 \hat r)}
        {\frac{1}{n_p} \sum_p 1 / (s_1 l + s_2 \hat r)}, \quad l = \frac{\pi(y)}{q(y)}

    is iterated to its fixed point, with the draws' effective number for s₁. Its error is the jackknife's over chains,
    which counts whatever the draws of a chain share, with `few`; never less than that of Frühwirth-Schnatter, which is
    the error of fewer than 8 chains.

    Source: Meng & Wong 1996; Gronau et al. 2017 (arXiv:1703.05984); Frühwirth-Schnatter 2004; Efron & Stein 1981.
    """
    half = positions.shape[1] // 2
    dim = positions.shape[2]
    fitted = positions[:, :half].reshape(-1, dim)
    if len(fitted) < FEWEST * dim:
        return Estimate(float("nan"), float("inf"))
    mean, factor = fitted.mean(0), np.linalg.cholesky(np.atleast_2d(np.cov(fitted.T)))
    kept, kept_lps = positions[:, half:], lps[:, half:]
    proposed = mean + rng.standard_normal((kept_lps.size, dim)) @ factor.T
    l1 = kept_lps - _log_normal(kept.reshape(-1, dim), mean, factor).reshape(kept_lps.shape)
    l2 = np.nan_to_num(log_density(proposed), nan=-np.inf) - _log_normal(proposed, mean, factor)
    return _fixed_point(l1, l2)


def _fixed_point(l1: np.ndarray, l2: np.ndarray) -> Estimate:
    """From log ratios of the draws (chain, draw) and of the normal law's (n,)."""
    effective = float(np.clip(ess(l1, method="mean"), 1.0, l1.size))
    shares = tuple(n / (effective + l2.size) for n in (effective, l2.size))
    middle = float(np.median(l1))
    a, b = l1 - middle, l2 - middle
    log_r = _iterated(a, b, shares, 0.0)
    if not np.isfinite(log_r):
        return Estimate(float("nan"), float("inf"))
    chains, least = len(a), _error(*_terms(a, b, shares, log_r))
    if chains < MANY_CHAINS:
        return Estimate(middle + log_r, least)
    parts = np.array_split(b, chains)
    without = [
        _iterated(np.delete(a, j, 0), np.concatenate([*parts[:j], *parts[j + 1 :]]), shares, log_r)
        for j in range(chains)
    ]
    error = few(chains) * float(np.sqrt((chains - 1) ** 2 / chains * np.var(without, ddof=1)))
    return Estimate(middle + log_r, max(error, least) if np.isfinite(error) else float("inf"))


def few(n: int) -> float:
    """By how much a standard error from n values is too small: √((n − 1)/(n − 3)), the sd of Student's t.

    An estimate is then off by more than so many of its errors about as often as a normal law says.
    """
    return ((n - 1) / (n - 3)) ** 0.5


def _iterated(a: np.ndarray, b: np.ndarray, shares: tuple[float, ...], log_r: float) -> float:
    """The fixed point, from a first guess; NaN where there is none."""
    for _ in range(MOST_ROUNDS):
        top, bottom = _terms(a, b, shares, log_r)
        with np.errstate(divide="ignore", invalid="ignore"):
            new = float(np.log(top.mean()) - np.log(bottom.mean()))
        if not np.isfinite(new):
            return float("nan")
        if abs(new - log_r) < TOLERANCE:
            return new
        log_r = new
    return log_r


def _error(top: np.ndarray, bottom: np.ndarray) -> float:
    """The relative error of the ratio of both means; draws of the density depend on each other."""
    theirs = top.var(ddof=1) / top.mean() ** 2 / top.size
    ours = bottom.var(ddof=1) / bottom.mean() ** 2 / float(np.clip(ess(bottom, method="mean"), 1.0, bottom.size))
    return float(np.sqrt(theirs + ours))


def _terms(a: np.ndarray, b: np.ndarray, shares: tuple[float, ...], log_r: float) -> tuple[np.ndarray, np.ndarray]:
    """l / (s₁ l + s₂ r) at the normal law's draws, and 1 / (s₁ l + s₂ r) at the density's."""
    s1, s2 = shares
    top = 1.0 / (s1 + s2 * np.exp(np.minimum(log_r - b, 700.0)))
    bottom = 1.0 / (s1 * np.exp(np.minimum(a - log_r, 700.0)) + s2)
    return top, bottom * np.exp(-log_r)


def _log_normal(x: np.ndarray, mean: np.ndarray, factor: np.ndarray) -> np.ndarray:
    from scipy.linalg import solve_triangular

    z = solve_triangular(factor, (x - mean).T, lower=True)
    return -0.5 * (z**2).sum(0) - np.log(np.diagonal(factor)).sum() - 0.5 * len(mean) * np.log(2 * np.pi)
