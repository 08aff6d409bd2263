"""Beta and Dirichlet draws: gamma draws normalised in log space, right at concentrations of 0.01 and below."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    POSITIVE,
    Call,
    check,
    float_dtype,
    full_shape,
    prepare,
    real_array,
    single_key,
)
from mcmc.direct.reparam.gamma import gamma_parts
from mcmc.errors import WrongValue


def beta(
    key: jax.Array, a: ArrayLike, b: ArrayLike, *, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> jax.Array:
    """Beta draws: p(x) ∝ x^(a − 1) (1 − x)^(b − 1), as the share of one gamma draw in two.

    Gradients pass through the two gamma draws, which is exact; per draw they are not the distribution function's,
    whose mean given x they have.

    Args:
        key: one JAX key, of any implementation.
        a: positive.
        b: positive; with `a`, arrays that broadcast.
        shape: the full shape of the result; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: an argument that is not positive, or a shape that doesn't fit. Where values are traced the draw
            is NaN instead.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> x = reparam.beta(jax.random.key(0), 0.01, 0.01, shape=(1000,))
        >>> bool(((0 <= x) & (x <= 1)).all())
        True
    """
    return prepare(key, shape, dtype, a=(a, POSITIVE), b=(b, POSITIVE)).draw(_beta)


def dirichlet(
    key: jax.Array, concentration: ArrayLike, *, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> jax.Array:
    """Dirichlet draws: p(x) ∝ ∏ xᵢ^(concentrationᵢ − 1) on the simplex of the last axis.

    Args:
        key: one JAX key, of any implementation.
        concentration: positive, an array (..., k).
        shape: the batch shape, to which k is added: (n,) gives (n, k); None: that of `concentration`.
        dtype: of the draws; None: that of `concentration`, float32 at least.

    Raises:
        ValueError: as in `beta`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.dirichlet(jax.random.key(0), jnp.full(3, 0.01), shape=(100,))
        >>> bool(jnp.allclose(x.sum(-1), 1))
        True
    """
    return _simplex(key, concentration, shape, dtype).draw(_dirichlet)


def log_dirichlet(
    key: jax.Array, concentration: ArrayLike, *, shape: tuple[int, ...] | None = None, dtype: DTypeLike | None = None
) -> jax.Array:
    """Logarithms of Dirichlet draws, where the draws themselves underflow.

    Args, errors and the rest as in `dirichlet`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.log_dirichlet(jax.random.key(0), jnp.full(3, 0.001))
        >>> bool(jnp.isfinite(x).all())
        True
    """
    return _simplex(key, concentration, shape, dtype).draw(_log_dirichlet)


def _simplex(key: jax.Array, concentration: Any, shape: Any, dtype: Any) -> Call:
    concentration = real_array("concentration", concentration)
    sizes = np.shape(concentration)
    if not sizes:
        raise WrongValue("concentration", concentration, "an array (..., k)", "For k = 2 take reparam.beta.")
    valid = check("concentration", concentration, POSITIVE)
    valid = None if valid is None else jnp.all(valid, -1, keepdims=True)
    shape = full_shape(shape, sizes[:-1], sizes[-1:])
    return Call(single_key(key), shape, float_dtype(dtype, concentration), (concentration,), valid)


def _beta(key: jax.Array, shape: tuple, dtype: Any, a: jax.Array, b: jax.Array) -> jax.Array:
    x = _dirichlet(key, (*shape, 2), dtype, jnp.stack(jnp.broadcast_arrays(a, b), -1))
    return jnp.where(x[..., 0] > 0.5, 1 - x[..., 1], x[..., 0])  # rounded once next to 1


def _dirichlet(key: jax.Array, shape: tuple, dtype: Any, concentration: jax.Array) -> jax.Array:
    value, log_factor = gamma_parts(key, shape, dtype, concentration, bounded=True)
    largest = jnp.max(jnp.log(value) + log_factor, -1, keepdims=True)  # its gradient cancels huge ones
    weights = lax.optimization_barrier(value * jnp.exp(log_factor - largest))
    total = lax.optimization_barrier(jnp.sum(weights, -1, keepdims=True))
    return weights * lax.optimization_barrier(1 / total)


def _log_dirichlet(key: jax.Array, shape: tuple, dtype: Any, concentration: jax.Array) -> jax.Array:
    value, log_factor = gamma_parts(key, shape, dtype, concentration)
    return jax.nn.log_softmax(jnp.log(value) + log_factor, -1)
