"""Sequential Monte Carlo from prior to posterior by temperatures, waste-free, in islands that know of no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.errors import SamplingError
from mcmc.evidence.bridge import few
from mcmc.evidence.moves import Mover
from mcmc.evidence.path import Points

ESS_SHARE = 0.5
MOST_LEVELS = 500
TUNING_POINTS = 4096


@dataclass(frozen=True)
class Passage:
    """What a passage from prior to posterior gave: final particles, and log evidence of every island."""

    points: Points
    """(island, particle), of the posterior and of equal weight."""
    log_evidences: np.ndarray
    """(island,)"""
    levels: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def log_evidence(self) -> float:
        """Of all islands: the log of the mean of their estimates, which are unbiased."""
        return float(log_mean(self.log_evidences))

    @property
    def error(self) -> float:
        """Its standard error, from how the islands differ; infinite where no island has any."""
        log_evidences = self.log_evidences
        if not np.isfinite(self.log_evidence):
            return float("inf")
        shares = np.exp(log_evidences - self.log_evidence)
        return few(len(shares)) * float(shares.std(ddof=1) / np.sqrt(len(shares)))


def tempered_passage(points: Points, mover: Mover, rng: np.random.Generator) -> Passage:
    r"""Particles of the prior (island, particle) carried to the posterior.

    .. math:: \hat Z = \prod_t \frac{1}{N} \sum_i L(y_i^{t})^{\beta_{t+1} - \beta_t}

    Each temperature is the one at which the effective sample size of all particles' weights falls to half. Each island
    draws as many ancestors as it has rows from its own particles (systematic resampling), moves each by as many steps
    of the kernel as there are, and keeps every state on the way: nothing is thrown away.

    Source: Del Moral, Doucet & Jasra 2006; Dau & Chopin 2022 (waste-free); for islands as independent estimates
    Vergé et al. 2015.
    """
    beta, levels, rates = 0.0, [0.0], []
    total = np.zeros(mover.islands)
    while beta < 1.0:
        if len(levels) > MOST_LEVELS:
            raise SamplingError(
                f"log_likelihood: got a path of more than {MOST_LEVELS} temperatures, at {beta:.3g} now; expected it "
                f"to reach 1. Look at the log likelihood's size, {points.log_likelihood.max():.3g} at most."
            )
        new = next_temperature(points.log_likelihood, beta)
        weights = (new - beta) * np.where(np.isneginf(points.log_likelihood), -np.inf, points.log_likelihood)
        total += log_mean(weights, 1)
        ancestors = np.stack([systematic(w, mover.rows, rng) for w in weights])
        mover.tune(pooled(points, weights, rng))
        starts = np.take_along_axis(points.positions, ancestors[:, :, None], 1)
        points, rate = mover(starts, new)
        beta = new
        levels.append(beta)
        rates.append(rate)
    return Passage(points, total, tuple(levels), tuple(rates))


def next_temperature(log_likelihood: np.ndarray, beta: float) -> float:
    """The temperature at which the effective share of the weights falls to half of those that count at all."""
    possible = np.isfinite(log_likelihood)
    if not possible.any():
        raise SamplingError(
            "log_likelihood: got -inf at every draw of the prior; expected draws at which the data are possible. Widen "
            "the prior's overlap with the likelihood, or check log_likelihood."
        )
    flat, low, high = log_likelihood[possible], 0.0, 1.0 - beta

    def share(step: float) -> float:
        weights = np.exp(step * (flat - flat.max()))
        return float(weights.sum() ** 2 / (weights**2).sum() / flat.size)

    if share(high) >= ESS_SHARE:
        return 1.0
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if share(middle) >= ESS_SHARE else (low, middle)
    return min(1.0, beta + max(low, np.spacing(max(beta, 1e-300)), 1e-12 / max(1.0, float(np.ptp(flat)))))


def systematic(log_weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices (n,) of particles, each as often as its weight says, to one more or less."""
    if np.isneginf(log_weights).all():  # an island without any: it stays, and its estimate is zero
        return rng.integers(len(log_weights), size=n)
    weights = np.exp(log_weights - log_weights.max())
    ends = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(ends, (rng.uniform() + np.arange(n)) / n), len(ends) - 1)


def pooled(points: Points, log_weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Positions (n, dim) of all islands that follow the weights."""
    n = min(TUNING_POINTS, log_weights.size)
    return points.positions.reshape(log_weights.size, -1)[systematic(log_weights.ravel(), n, rng)]


def log_mean(x: np.ndarray, axis: int | None = None) -> Any:
    """log(mean(exp(x)))."""
    top = x.max(axis, keepdims=True)
    with np.errstate(divide="ignore"):
        shifted = np.exp(x - np.where(np.isfinite(top), top, 0.0)).mean(axis)
        return np.squeeze(top, axis) + np.log(shifted) if axis is not None else top.item() + np.log(shifted)
