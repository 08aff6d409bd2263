"""Random keys of a run: the key of draw t of chain c depends on the run's key, c and t alone."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mcmc.errors import WrongType
from mcmc.random import philox

IMPLEMENTATION = philox.NAME
SHARED = np.uint32(2**32 - 1)


def run_words(seed: Any) -> np.ndarray:
    """The two words of a run's key, from any integer scalar or any single JAX key, typed or raw.

    TypeError for anything else, a batch of keys included.
    """
    words = _key_words(seed)
    if words is None:
        number = number_of(seed)
        if number is None:
            many = isinstance(seed, jax.Array | np.ndarray) and seed.ndim > 0
            shown = f"an array of shape {seed.shape}, {seed.dtype}" if many else seed
            remedy = "Use one of them: seed=keys[0]." if many else "Use seed=0, or jax.random.key(0)."
            raise WrongType("seed", shown, "an integer, or one JAX key", remedy)
        words = _integer_words(number)
    state = np.zeros(2, np.uint32)
    for i, word in enumerate(words):
        mixed = philox.philox((state[:1], state[1:]), (np.array([x], np.uint32) for x in (word, i, philox.SEED, 0)))
        state = np.concatenate(mixed[:2])
    return state


def number_of(value: Any) -> int | None:
    """An integer scalar of Python, NumPy or JAX as an int; None for anything else, booleans included."""
    if isinstance(value, bool | np.bool_ | Tracer):
        return None
    if isinstance(value, int):
        return value
    scalar = isinstance(value, np.integer | np.ndarray | jax.Array) and value.ndim == 0
    return int(value) if scalar and jnp.issubdtype(value.dtype, jnp.integer) else None


def _key_words(seed: Any) -> list[int] | None:
    """The words of one key, typed or raw (2 or 4 words of 32 bits); None for what is no single key."""
    if isinstance(seed, Tracer) or not isinstance(seed, jax.Array | np.ndarray):
        return None
    if jnp.issubdtype(seed.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(seed)).reshape(-1).tolist() if seed.ndim == 0 else None
    return np.asarray(seed).tolist() if seed.dtype == np.uint32 and seed.shape in ((2,), (4,)) else None


def _integer_words(number: int) -> list[int]:
    """An integer as words of 32 bits, high ones first: two, and more where it takes more."""
    words = [number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF]
    if -(2**63) <= number < 2**63:
        return words
    size = number.bit_length() // 32 + 1
    return [number >> 32 * i & 0xFFFFFFFF for i in reversed(range(size))]


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


def common_key(words: Any, draw: Any) -> jax.Array:
    """The same of the last two words: of four these are what the runs on many data sets share."""
    return draw_key(words[-2:], SHARED, draw)
