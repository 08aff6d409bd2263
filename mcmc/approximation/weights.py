"""Importance weights of an approximation's draws, smoothed, and the Pareto k that says whether they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GOOD_K = 0.7
"""From here on an average over the weights does not settle, whatever their number."""

FEWEST, EQUAL = 25, 1e-6


@dataclass(frozen=True)
class Weights:
    """Smoothed log weights (draw,), normalised, and Pareto k: infinite where nothing can be fitted, −∞: equal ones."""

    log_weights: np.ndarray
    pareto_k: float

    @property
    def ess(self) -> float:
        """How many independent draws of the density the weighted draws are worth (Kish)."""
        return float(1.0 / np.exp(2 * self.log_weights).sum())

    def resample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Indices (n,) of draws, each as often as its weight says to one more or less, in random order."""
        ends = np.cumsum(np.exp(self.log_weights))
        at = np.searchsorted(ends / ends[-1], (rng.uniform() + np.arange(n)) / n)
        return rng.permutation(np.minimum(at, len(ends) - 1))


def smoothed(lps: np.ndarray, log_q: np.ndarray) -> Weights:
    """Weights π/q of draws of q, from log densities; those that are not finite weigh nothing.

    Source: Vehtari, Simpson, Gelman, Yao & Gabry 2024, Journal of Machine Learning Research 25(72).
    """
    from arviz_stats.base.array import array_stats

    ratios = np.where(np.isfinite(lps), lps, -np.inf) - log_q
    finite = np.isfinite(ratios)
    if finite.sum() < FEWEST:
        return Weights(np.full(ratios.shape, -np.log(ratios.size)), float("inf"))
    log_weights, k = np.full(ratios.shape, -np.inf), float("inf")
    if np.ptp(ratios[finite]) < EQUAL:  # nothing to smooth: the approximation is exact
        log_weights[finite], k = ratios[finite], float("-inf")
    else:
        log_weights[finite], fitted = array_stats.psislw(-ratios[finite])
        k = float(fitted) if np.isfinite(fitted) else float("inf")
    return Weights(log_weights - np.logaddexp.reduce(log_weights), k)
