"""The counter-based generator Philox4x32-10 as a JAX key type, with keys by chain and draw at no cost.

A key is four words (k0, k1, chain, draw): the cipher's key, and half of its counter. The other half is (element,
stream), so that the n-th number of a stream of draw t of chain c is one enciphered counter, whatever is computed
beside it. `jax.random` works on such keys as on any other.

Source: Salmon, Moraes, Dror & Shaw 2011, Parallel random numbers: as easy as 1, 2, 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
MANY = 1024


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


def _words(k0: Any, k1: Any, c2: Any, c3: Any, *, shape: tuple, stream: int, count: int = 4) -> tuple:
    full = (*shape, *k0.shape)
    element = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    element = lax.broadcast_in_dim(element, full, tuple(range(len(shape))))
    k0, k1, c2, c3 = (lax.broadcast(word, shape) for word in (k0, k1, c2, c3))
    return philox((k0, k1), (element, lax.full(full, stream, jnp.uint32), c2, c3))[:count]


def _pairs(*data: Any, shape: tuple, stream: int) -> tuple:
    """The four words as two numbers of 64 bits."""
    with jax.enable_x64(True):
        a, b, c, d = (lax.convert_element_type(word, jnp.uint64) for word in _words(*data, shape=shape, stream=stream))
        return tuple(lax.bitwise_or(lax.shift_left(x, lax.full_like(x, 32)), y) for x, y in ((a, b), (c, d)))


def _pairs_on_cpu(k0: Any, k1: Any, c2: Any, c3: Any, *, shape: tuple, stream: int) -> tuple:
    """As `_pairs`, in lanes of 64 bits; and as one complex number: XLA's CPU enciphers again for each output."""
    full = (*shape, *k0.shape)
    with jax.enable_x64(True):
        mask, up, x1 = (lax.full(full, value, jnp.uint64) for value in (0xFFFFFFFF, 32, stream))
        element = lax.iota(jnp.uint64, math.prod(shape)).reshape(shape)
        x0 = lax.broadcast_in_dim(element, full, tuple(range(len(shape))))
        x2, x3 = (lax.broadcast(lax.convert_element_type(word, jnp.uint64), shape) for word in (c2, c3))
        for i in range(ROUNDS):
            if i:
                k0, k1 = lax.add(k0, WEYL[0]), lax.add(k1, WEYL[1])
            key0, key1 = (lax.broadcast(lax.convert_element_type(k, jnp.uint64), shape) for k in (k0, k1))
            # What stands in a lane above its lower 32 bits is masked here, and at the end.
            a = lax.mul(lax.bitwise_and(x0, mask), lax.full_like(x0, MULTIPLIERS[0]))
            b = lax.mul(lax.bitwise_and(x2, mask), lax.full_like(x2, MULTIPLIERS[1]))
            high0, high1 = lax.shift_right_logical(a, up), lax.shift_right_logical(b, up)
            x0, x1 = lax.bitwise_xor(lax.bitwise_xor(high1, x1), key0), b
            x2, x3 = lax.bitwise_xor(lax.bitwise_xor(high0, x3), key1), a
        pairs = (lax.bitwise_or(lax.shift_left(x, up), lax.bitwise_and(y, mask)) for x, y in ((x0, x1), (x2, x3)))
        block = lax.optimization_barrier(lax.complex(*(lax.bitcast_convert_type(pair, jnp.float64) for pair in pairs)))
        return tuple(lax.bitcast_convert_type(part, jnp.uint64) for part in (lax.real(block), lax.imag(block)))


def _primitive(name: str, function: Callable, dtype: Any, outputs: int) -> Primitive:
    """A primitive for blocks of words, so that vmap's axis trails: lanes lie side by side in memory."""
    primitive = Primitive(name)
    primitive.multiple_results = True

    def batched(args: Any, axes: Any, **static: Any) -> tuple:
        size = next(a.shape[axis] for a, axis in zip(args, axes, strict=True) if axis is not None)
        args = [
            jnp.broadcast_to(a[..., None], (*a.shape, size)) if axis is None else jnp.moveaxis(a, axis, -1)
            for a, axis in zip(args, axes, strict=True)
        ]
        out = primitive.bind(*args, **static)
        return out, [out[0].ndim - 1] * len(out)

    def result(k0: Any, *_: Any, shape: tuple, stream: int, count: int = outputs) -> list:
        return [ShapedArray((*shape, *k0.shape), dtype)] * count

    primitive.def_impl(jax.jit(primitive.bind, static_argnames=("shape", "stream", "count")))
    primitive.def_abstract_eval(result)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=True))
    batching.primitive_batchers[primitive] = batched
    return primitive


_words_p = _primitive("mcmc_philox_words", _words, jnp.uint32, 4)
_pairs_p = _primitive("mcmc_philox_pairs", _pairs, np.dtype("uint64"), 2)
mlir.register_lowering(_pairs_p, mlir.lower_fun(_pairs_on_cpu, multiple_results=True), platform="cpu")


def pairs(data: jax.Array, many: int, stream: int) -> tuple[jax.Array, jax.Array]:
    """So many blocks of one stream of a key, given its words (4,), each as two numbers of 64 bits."""
    return lax.optimization_barrier(tuple(_pairs_p.bind(*data, shape=(many,), stream=stream)))


def stream_bits(data: jax.Array, width: int, shape: tuple[int, ...], stream: int = BITS) -> jax.Array:
    """Random bits of one stream of a key, given its words (4,).

    Fewer than `MANY` numbers are the first words of a block each, so that a longer shape begins with the shorter.
    From there on no word is wasted: the first words of all blocks, then their second words, and so on.
    """
    shape, wide = tuple(shape), width == 64
    many = math.prod(shape)
    with jax.enable_x64(True):
        if many >= MANY:
            parts = pairs(data, math.ceil(many / (2 if wide else 4)), stream)
            if not wide:
                parts = [half for pair in parts for half in (pair >> np.uint64(32), pair)]
            parts = [lax.convert_element_type(part, jnp.dtype(f"uint{width}")) for part in parts]
            bits = lax.concatenate(parts, 0)[:many].reshape(shape)
        else:
            words = _words_p.bind(*data, shape=shape, stream=stream, count=2 if wide else 1)
            first, *second = (lax.convert_element_type(word, jnp.dtype(f"uint{width}")) for word in words)
            bits = (first << np.uint64(32)) | second[0] if wide else first
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
