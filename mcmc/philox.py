"""A key type whose keys by chain and draw cost nothing: the counter-based generator Philox4x32-10.

A key is four words (k0, k1, chain, draw): the cipher's key, and half of its counter. The other half is (element,
stream), so that the n-th number of a stream of draw t of chain c is one enciphered counter, whatever is computed
beside it. `jax.random` works on such keys as on any other.

Source: Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.extend.random import define_prng_impl
from jax.interpreters import batching, mlir

NAME = "mcmc_philox4x32"
SPLIT, FOLD_IN, SEED, BITS, STREAM = range(5)
MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint32)
WEYL = np.array([0x9E3779B9, 0xBB67AE85], np.uint32)
ROUNDS = 10


def philox(key: Any, counter: Any) -> tuple:
    """Four words enciphered: a key of two uint32 arrays, a counter of four; JAX or NumPy arrays alike."""
    (k0, k1), (x0, x1, x2, x3) = key, counter
    # `lax` operations: operators on JAX arrays take many times as long to trace, and there are hundreds.
    add, mul, xor = (np.add, np.multiply, np.bitwise_xor) if _on_host(x0) else (lax.add, lax.mul, lax.bitwise_xor)
    with jax.enable_x64(True):
        for i in range(ROUNDS):
            if i:
                k0, k1 = add(k0, WEYL[0]), add(k1, WEYL[1])
            high0, high1 = _high(x0, MULTIPLIERS[0]), _high(x2, MULTIPLIERS[1])
            low0, low1 = mul(x0, MULTIPLIERS[0]), mul(x2, MULTIPLIERS[1])
            x0, x1, x2, x3 = xor(xor(high1, x1), k0), low1, xor(xor(high0, x3), k1), low0
    return x0, x1, x2, x3


def _on_host(x: Any) -> bool:
    return isinstance(x, np.ndarray | np.generic)


def _high(x: Any, multiplier: np.uint32) -> Any:
    """The upper 32 bits of a product, through 64 bits, which vectorises and shards where `lax.mulhi` does not."""
    if _on_host(x):
        return (x.astype(np.uint64) * np.uint64(multiplier) >> np.uint64(32)).astype(np.uint32)
    product = lax.mul(lax.convert_element_type(x, jnp.uint64), np.uint64(multiplier))
    return lax.convert_element_type(lax.shift_right_logical(product, np.uint64(32)), jnp.uint32)


# One primitive for a block of words, so that vmap's axis trails: lanes lie side by side in memory.
_words_p = Primitive("mcmc_philox_words")
_words_p.multiple_results = True


def _words(k0: Any, k1: Any, c2: Any, c3: Any, *, shape: tuple, stream: int, count: int) -> tuple:
    full = (*shape, *k0.shape)
    element = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    element = lax.broadcast_in_dim(element, full, tuple(range(len(shape))))
    k0, k1, c2, c3 = (lax.broadcast(word, shape) for word in (k0, k1, c2, c3))
    return philox((k0, k1), (element, lax.full(full, stream, jnp.uint32), c2, c3))[:count]


def _words_batched(args: Any, axes: Any, **static: Any) -> tuple:
    size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
    args = [
        jnp.broadcast_to(a[..., None], (*a.shape, size)) if axis is None else jnp.moveaxis(a, axis, -1)
        for a, axis in zip(args, axes, strict=True)
    ]
    out = _words_p.bind(*args, **static)
    return out, [out[0].ndim - 1] * len(out)


_words_p.def_impl(jax.jit(_words, static_argnames=("shape", "stream", "count")))
_words_p.def_abstract_eval(
    lambda k0, k1, c2, c3, *, shape, stream, count: [ShapedArray((*shape, *k0.shape), jnp.uint32)] * count
)
mlir.register_lowering(_words_p, mlir.lower_fun(_words, multiple_results=True))
batching.primitive_batchers[_words_p] = _words_batched


def stream_bits(data: jax.Array, width: int, shape: tuple[int, ...], stream: int = BITS) -> jax.Array:
    """Random bits of one stream of a key, given its words (4,)."""
    wide = width == 64
    words = _words_p.bind(*data, shape=tuple(shape), stream=stream, count=2 if wide else 1)
    if wide:
        bits = (words[0].astype(jnp.uint64) << np.uint64(32)) | words[1].astype(jnp.uint64)
    else:
        bits = words[0].astype(jnp.dtype(f"uint{width}"))
    return lax.optimization_barrier(bits)  # or the cipher is computed again in each fusion that uses them


def _seed(seed: jax.Array) -> jax.Array:
    zero = jnp.zeros((), jnp.uint32)
    high = (seed >> np.array(32, seed.dtype)).astype(jnp.uint32) if seed.dtype.itemsize == 8 else zero
    a, b, _, _ = philox((seed.astype(jnp.uint32), high), (zero, zero + np.uint32(SEED), zero, zero))
    return jnp.stack([a, b, zero, zero])


def _split(data: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_words_p.bind(*data, shape=tuple(shape), stream=SPLIT, count=4), axis=-1)


def _fold_in(data: jax.Array, value: Any) -> jax.Array:
    value = jnp.asarray(value).astype(jnp.uint32)
    mark = jnp.full_like(value, FOLD_IN)
    return jnp.stack(philox((data[0], data[1]), (value, mark, data[2], data[3])))


implementation = define_prng_impl(
    key_shape=(4,), seed=_seed, split=_split, random_bits=stream_bits, fold_in=_fold_in, name=NAME, tag="mcmc"
)
