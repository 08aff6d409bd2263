"""Before warmup: chains of all data sets come to where the probability is, each with a step size of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.kernels.hmc import HMC
from mcmc.random import keys

ITERATIONS, STEPS = 40, 4
FIRST, GROWS, SHRINKS, DIVERGES, GOOD = -1.0, 0.5, -0.7, -1.5, 0.65
LAST_KEY = np.uint32(2**31)  # keys count down from here, far from those of draws


def settling(log_density: Callable, axes: tuple) -> Callable:
    r"""The function (arrays, words, chains, starts) -> positions (set, chain, dim) that moves starts into the bulk.

    Hamiltonian Monte Carlo of a few steps each, whose step size grows by e^½ where the acceptance rate is above 0.65
    and shrinks elsewhere. A chain far out, where the density is steep, needs steps a hundred times as short as one in
    the bulk, which is why those of a data set are tuned together only from here on. Every move keeps the target's
    law: unlike an optimiser it never goes to a mode or down a funnel.

    Args:
        log_density: of (arrays, position (dim,)).
        axes: along which each of the arrays is mapped over data sets.
    """

    def chain(arrays: tuple, words: jax.Array, number: jax.Array, start: jax.Array) -> jax.Array:
        density = partial(log_density, arrays)

        def move(t: jax.Array, carry: tuple) -> tuple:
            state, log_step = carry
            key = keys.draw_key(words, number, LAST_KEY - t.astype(jnp.uint32))
            state, info = HMC(step_size=jnp.exp(log_step), num_steps=STEPS).step(key, state, density)
            shorter = jnp.where(info.diverging, DIVERGES, SHRINKS)
            change = jnp.where(info.acceptance_rate > GOOD, GROWS, shorter)
            return state, log_step + change.astype(log_step.dtype)

        carry: Any = HMC().init(start, density), jnp.full((), FIRST, start.dtype)
        return lax.fori_loop(0, ITERATIONS, move, carry)[0].position

    return jax.vmap(jax.vmap(chain, (None, None, 0, 0)), (axes, 0, None, 0))
