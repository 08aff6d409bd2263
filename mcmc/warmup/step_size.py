"""Stochastic approximation of the step size at which a kernel has its target acceptance rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

GAIN_DECAY, AVERAGE_DECAY = 0.6, 0.75
LARGEST_CUT = 2.0


class Search(NamedTuple):
    """Log step sizes (current, averaged) and how often they changed."""

    log_step: Any
    log_average: Any
    count: Any


def start(step_size: Any) -> Search:
    """Begin at a step size."""
    log_step = np.log(np.float64(step_size))
    return Search(log_step, log_step, np.float64(0.0))


def update(state: Search, rate: float, target: float) -> Search:
    r"""One step towards E[rate] = target: log ε grows by k^(−0.6) (rate − target) / (2 min(target, 1 − target)).

    The mean of 1 − rate grows like ε², so that near a target rate of 1 the first step lands about where it should.

    Source: Robbins & Monro 1951; averaged as Polyak & Juditsky 1992.
    """
    count = state.count + 1.0
    error = (np.float64(rate) - target) / (2.0 * min(target, 1.0 - target))
    log_step = state.log_step + count**-GAIN_DECAY * max(error, -LARGEST_CUT)
    blend = count**-AVERAGE_DECAY
    return Search(log_step, blend * log_step + (1.0 - blend) * state.log_average, count)
