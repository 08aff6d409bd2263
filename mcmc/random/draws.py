"""Uniform draws in the open interval (0, 1) and normal draws with exact tails.

A `stream` (a static number) gives one key several independent uses for nothing, where `jax.random.split` costs an
enciphered block for each child.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.random import philox

# √2 erf⁻¹(x) / x by two polynomials fitted in float32: in w − 2.88, w = −log(1 − x²), below w = 2.4²,
# and in √w − 3.5 above. Highest power first.
CENTRE = (9.1166594e-09, 4.9310557e-07, -3.3152085e-06, -1.4985524e-05, 2.8721442e-04, -1.31971e-03)
CENTRE += (-7.6666744e-03, 3.4361291e-01, 2.2549148)
TAIL = (3.4836077e-05, -2.7147718e-04, 7.0186215e-04, -1.0277971e-03, 1.4982237e-03, -2.8906176e-03)
TAIL += (4.6437606e-03, 1.424632, 4.717089)


def bits(key: jax.Array, width: int, shape: tuple[int, ...] = (), stream: int = 0) -> jax.Array:
    """Random bits of one stream of a key, of any implementation."""
    if jax.random.key_impl(key) == philox.implementation:
        return philox.stream_bits(jax.random.key_data(key), width, shape, philox.STREAM + stream)
    return jax.random.bits(jax.random.fold_in(key, stream), shape, f"uint{width}")


def threefry(key: jax.Array) -> jax.Array:
    """A key of JAX's default implementation, made from any key: some functions of `jax.random` take no other."""
    return jax.random.wrap_key_data(bits(key, 32, (2,), stream=0), impl="threefry2x32")


def uniform_open(key: jax.Array, shape: tuple[int, ...] = (), dtype: Any = None, *, stream: int = 0) -> jax.Array:
    """Uniforms in the open interval (0, 1): midpoints of a grid, u = (k + 1/2) / 2ᵇ.

    b is 31 in float32 (rounded to float32, and never up to 1) and 52 in float64: neither 0 nor 1 can come out,
    where `jax.random.uniform` gives exactly 0 once in 2²³ float32 draws.

    Args:
        key: a JAX key.
        shape: the shape of the result.
        dtype: float32 or float64; None: JAX's default.
        stream: which of the key's streams.

    Example:
        >>> import jax
        >>> bool(uniform_open(jax.random.key(0)) > 0)
        True
    """
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    if dtype == jnp.float64:
        k = bits(key, 64, shape, stream) >> np.uint64(12) | np.uint64(0x3FF << 52)
        return lax.bitcast_convert_type(k, jnp.float64) - (1 - 2.0**-53)
    k = lax.bitcast_convert_type(bits(key, 32, shape, stream) >> np.uint32(1), jnp.int32)
    u = (k.astype(jnp.float32) + np.float32(0.5)) * np.float32(2**-31)
    return jnp.minimum(u, np.float32(1 - 2**-24)).astype(dtype)


def normal(key: jax.Array, shape: tuple[int, ...] = (), dtype: Any = None, *, stream: int = 0) -> jax.Array:
    """Standard normals to the precision of `dtype`, tails included.

    float32: 31 bits of magnitude and a sign, exactly symmetric, tails to 6.3 standard deviations. float64: the
    inverse normal distribution of 52 bits, to 8.2.

    Arguments as in `uniform_open`.
    """
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    if dtype == jnp.float64:
        u = lax.optimization_barrier(uniform_open(key, shape, dtype, stream=stream))
        return lax.optimization_barrier(np.sqrt(2.0) * lax.erf_inv(2.0 * u - 1.0))
    return _normal_of_bits(bits(key, 32, shape, stream)).astype(dtype)


def symmetric_normal(key: jax.Array, shape: tuple[int, ...] = (), dtype: Any = None, *, stream: int = 0) -> jax.Array:
    """Normals of float32 precision in any dtype: what a random walk needs, symmetric and with a density everywhere.

    Arguments as in `uniform_open`.
    """
    dtype = jnp.dtype(dtype or jnp.result_type(float))
    return _normal_of_bits(bits(key, 32, shape, stream)).astype(dtype)


def _normal_of_bits(bits: jax.Array) -> jax.Array:
    """One normal a word: the lowest bit is the sign; 1 − |x| is formed in integers, so that the tail is exact."""
    k = lax.bitcast_convert_type(bits >> np.uint32(1), jnp.int32)
    scale = np.float32(2**-31)
    x = (k.astype(jnp.float32) + np.float32(0.5)) * scale
    rest = ((np.int32(2**31 - 1) - k).astype(jnp.float32) + np.float32(0.5)) * scale
    w = -jnp.log(rest * (np.float32(2) - rest))
    centre = w < np.float32(2.4**2)
    t = jnp.where(centre, w - np.float32(2.88), jnp.sqrt(jnp.maximum(w, np.float32(1))) - np.float32(3.5))
    p = jnp.where(centre, np.float32(CENTRE[0]), np.float32(TAIL[0]))
    for c, d in zip(CENTRE[1:], TAIL[1:], strict=True):
        p = p * t + jnp.where(centre, np.float32(c), np.float32(d))
    signed = lax.bitcast_convert_type(p * x, jnp.uint32) | (bits << np.uint32(31))
    return lax.optimization_barrier(lax.bitcast_convert_type(signed, jnp.float32))
