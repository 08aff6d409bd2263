"""Dual averaging of the step size to an acceptance rate."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

SHRINKAGE, DELAY, DECAY = 0.05, 10.0, 0.75


class DualAveraging(NamedTuple):
    """The state of dual averaging: log step sizes (current, averaged), the error so far, the count, the anchor."""

    log_step: Any
    log_average: Any
    error: Any
    count: Any
    anchor: Any


def start(step_size: np.ndarray) -> DualAveraging:
    """Begin at a step size, on the host, and look for larger ones first."""
    log_step = np.log(np.asarray(step_size))
    zero = np.zeros_like(log_step)
    return DualAveraging(log_step, log_step, zero, zero, (log_step + np.log(2.0)).astype(log_step.dtype))


def update(state: DualAveraging, rate: jax.Array, target: jax.Array) -> DualAveraging:
    r"""One step of dual averaging towards E[rate] = target.

    Source: Nesterov 2009; Hoffman & Gelman 2014, section 3.2.
    """
    count = state.count + 1.0
    weight = 1.0 / (count + DELAY)
    error = (1.0 - weight) * state.error + weight * (target - rate)
    log_step = state.anchor - jnp.sqrt(count) / SHRINKAGE * error
    blend = count**-DECAY
    return DualAveraging(log_step, blend * log_step + (1.0 - blend) * state.log_average, error, count, state.anchor)
