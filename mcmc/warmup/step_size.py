"""Dual averaging of the step size to an acceptance rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

DELAY, DECAY = 10.0, 0.75


class DualAveraging(NamedTuple):
    """The state of dual averaging: log step sizes (current, averaged), the error so far, the count, the anchor."""

    log_step: Any
    log_average: Any
    error: Any
    count: Any
    anchor: Any


def start(step_size: Any) -> DualAveraging:
    """Begin at a step size, and look for larger ones first."""
    log_step = np.log(np.float64(step_size))
    zero = np.float64(0.0)
    return DualAveraging(log_step, log_step, zero, zero, log_step + np.log(2.0))


def update(state: DualAveraging, rate: float, target: float) -> DualAveraging:
    r"""One step of dual averaging towards E[rate] = target.

    Source: Nesterov 2009; Hoffman & Gelman 2014, section 3.2.
    """
    count = state.count + 1.0
    weight = 1.0 / (count + DELAY)
    error = (1.0 - weight) * state.error + weight * (np.float64(target) - rate)
    log_step = state.anchor - np.sqrt(count) / _shrinkage(target) * error
    blend = count**-DECAY
    average = blend * log_step + (1.0 - blend) * state.log_average
    return DualAveraging(log_step, average, error, count, state.anchor)


def _shrinkage(target: float) -> float:
    """How strongly steps are held back: 0.05 for a target near 1, 0.1 at 0.8 and below.

    The rate of many chains has little noise, and changes the more with the step size the lower it is: a gain that
    is right near 1 makes the step size oscillate at 0.6.
    """
    return 0.05 + 0.05 * min(1.0, (1.0 - float(target)) / 0.2)
