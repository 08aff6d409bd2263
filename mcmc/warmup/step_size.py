"""Stochastic approximation of the step size at which a kernel has its target acceptance rate."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

GAIN_DECAY, AVERAGE_DECAY = 0.6, 0.75
FIRST, LARGEST_CUT, LARGEST_GROWTH, LEAST = 5, 2.0, 1.0, 1e-9


class Search(NamedTuple):
    """Log step sizes (current, averaged) and how often they changed."""

    log_step: Any
    log_average: Any
    count: Any


def start(step_size: Any) -> Search:
    """Begin at a step size."""
    log_step = np.log(np.float64(step_size))
    return Search(log_step, log_step, np.float64(0.0))


def update(state: Search, rate: Any, target: Any) -> Search:
    r"""One step towards E[rate] = target: log ε grows by k^(−0.6) (rate − target) / (2 min(target, 1 − target)).

    Of energy errors that are normal the acceptance rate is 2 Φ(−c ε²). The first steps invert that, and land about
    where they should from any rate that tells something; on the noise of later ones it would be biased.

    Arrays are updated element by element.

    Source: Beskos et al. 2013 for the rate; Robbins & Monro 1951, averaged as Polyak & Juditsky 1992.
    """
    count = state.count + 1.0
    change = (np.float64(rate) - target) / (2.0 * np.minimum(target, 1.0 - target))
    if np.any(count <= FIRST):
        change = np.where(count <= FIRST, 0.5 * np.log(_quantile(target) / _quantile(rate)), change)
    log_step = state.log_step + count**-GAIN_DECAY * np.clip(change, -LARGEST_CUT, LARGEST_GROWTH)
    blend = count**-AVERAGE_DECAY
    return Search(log_step, blend * log_step + (1.0 - blend) * state.log_average, count)


def _quantile(rate: Any) -> Any:
    """Φ⁻¹(rate/2), of rates that are neither 0 nor 1."""
    halves = np.clip(rate, LEAST, 1 - LEAST) / 2
    return np.reshape([NormalDist().inv_cdf(half) for half in np.ravel(halves).tolist()], np.shape(halves))
