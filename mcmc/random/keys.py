"""Random keys of a run: the key of draw t of chain c depends on the run's key, c and t alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import got
from mcmc.random import philox

IMPLEMENTATION = philox.NAME
SHARED = np.uint32(2**32 - 1)


def run_words(seed: int | np.integer | jax.Array) -> np.ndarray:
    """The two words of a run's key, from an int or a JAX key."""
    if isinstance(seed, jax.Array):
        if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
            seed = jax.random.key_data(seed)
        words = np.asarray(seed).reshape(-1).astype(np.uint32)
    elif isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(got("seed", seed, "an int or a JAX key", "Use seed=0, or jax.random.key(0)."))
    else:
        words = np.array([int(seed) >> 32 & 0xFFFFFFFF, int(seed) & 0xFFFFFFFF], np.uint32)
    state = np.zeros(2, np.uint32)
    for i, word in enumerate(words):
        mixed = philox.philox((state[:1], state[1:]), (np.array([x], np.uint32) for x in (word, i, philox.SEED, 0)))
        state = np.concatenate(mixed[:2])
    return state


def run_key(words: Any) -> jax.Array:
    """The run's key of its two words."""
    zero = jnp.zeros((), jnp.uint32)
    return jax.random.wrap_key_data(jnp.stack([words[0], words[1], zero, zero]), impl=philox.implementation)


def draw_key(words: Any, chain: Any, draw: Any) -> jax.Array:
    """The key of one draw of one chain: the words side by side, nothing is hashed."""
    data = [words[0], words[1], jnp.asarray(chain).astype(jnp.uint32), jnp.asarray(draw).astype(jnp.uint32)]
    return jax.random.wrap_key_data(jnp.stack(data), impl=philox.implementation)


def shared_key(words: Any, draw: Any) -> jax.Array:
    """The key of what all chains share in one iteration."""
    return draw_key(words, SHARED, draw)
