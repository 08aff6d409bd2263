"""Random covariance and correlation matrices by Bartlett's decomposition: Wishart and LKJ."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    POSITIVE,
    Call,
    Condition,
    both,
    check,
    common_shape,
    float_dtype,
    full_shape,
    real_array,
    single_key,
)
from mcmc.direct.reparam.gamma import gamma_parts
from mcmc.direct.reparam.multivariate import check_matrix, matrix_size
from mcmc.errors import WrongType, WrongValue
from mcmc.random import draws as random


def wishart(
    key: jax.Array,
    df: ArrayLike,
    *,
    scale_tril: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Wishart draws, X = L A Aᵀ Lᵀ with L Lᵀ the scale matrix: E[X] = df L Lᵀ.

    A is lower triangular with normals below the diagonal and roots of chi-squares of df − i degrees of freedom on
    it, whose gradients in df are exact.

    Args:
        key: one JAX key, of any implementation.
        df: degrees of freedom, above d − 1.
        scale_tril: (..., d, d), the Cholesky factor of the scale matrix; or
        scale: (..., d, d), the scale matrix, symmetric and positive definite.
        shape: the batch shape, to which (d, d) is added; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: `df` too small, neither or both of the two, a bad matrix, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Source: Bartlett 1933, On the theory of statistical regression.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.wishart(jax.random.key(0), 5.0, scale=jnp.eye(2), shape=(50_000,))
        >>> bool(jnp.allclose(x.mean(0), 5 * jnp.eye(2), atol=0.1))
        True
    """
    if (scale_tril is None) == (scale is None):
        raise WrongValue("wishart", "both or neither", "scale_tril or scale", "Give the scale matrix once.")
    name = "scale" if scale_tril is None else "scale_tril"
    matrix = real_array(name, scale if scale_tril is None else scale_tril)
    size = matrix_size(name, matrix)
    df = real_array("df", df)
    enough = Condition(
        lambda x: (x > size - 1) & (x < np.inf), f"finite numbers above d - 1 = {size - 1}", "Raise df, to d or more."
    )
    batch = common_shape(df=np.shape(df), **{name: np.shape(matrix)[:-2]})
    valid = both(check("df", df, enough), check_matrix(name, matrix))
    valid = None if valid is None else valid[..., None, None]
    full = full_shape(shape, batch, (size, size))
    body = _wishart_of_scale if scale_tril is None else _wishart
    return Call(single_key(key), full, float_dtype(dtype, df, matrix), (df, matrix), valid).draw(body)


def lkj_cholesky(
    key: jax.Array,
    concentration: ArrayLike,
    dimension: int,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Cholesky factors of LKJ correlation matrices: p(L Lᵀ) ∝ det(L Lᵀ)^(concentration − 1).

    Row i is that of Bartlett's matrix with a chi-square of 2 concentration + d − 1 − i degrees of freedom on the
    diagonal, made a unit vector.

    Args:
        key: one JAX key, of any implementation.
        concentration: positive; 1 is uniform over correlation matrices.
        dimension: d, a number known when compiling.
        shape: the batch shape, to which (d, d) is added; None: that of `concentration`.
        dtype: of the draws; None: that of `concentration`, float32 at least.

    Raises:
        ValueError: a concentration that is not positive, a dimension below 2, or a shape that doesn't fit. Where
            values are traced the draw is NaN instead.

    Source: Lewandowski, Kurowicka & Joe 2009, Generating random correlation matrices.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> factor = reparam.lkj_cholesky(jax.random.key(0), 2.0, 3)
        >>> bool(jnp.allclose(jnp.sum(factor**2, -1), 1))
        True
    """
    return _correlation(key, concentration, dimension, shape, dtype, _lkj_cholesky)


def lkj(
    key: jax.Array,
    concentration: ArrayLike,
    dimension: int,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """LKJ correlation matrices: p(R) ∝ det(R)^(concentration − 1).

    Args, errors and the rest as in `lkj_cholesky`, whose factors these are multiplied out.

    Example:
        >>> import jax
        >>> from mcmc import reparam
        >>> reparam.lkj(jax.random.key(0), 2.0, 3, shape=(10,)).shape
        (10, 3, 3)
    """
    return _correlation(key, concentration, dimension, shape, dtype, _lkj)


def _correlation(key: Any, concentration: Any, dimension: int, shape: Any, dtype: Any, body: Any) -> jax.Array:
    try:
        d = operator.index(dimension)
    except TypeError:
        remedy = "A shape goes by name, shape=(n,)."
        raise WrongType("dimension", dimension, "an integer, the rows of one matrix", remedy) from None
    if d < 2:
        raise WrongValue("dimension", dimension, "2 or more", "A 1 by 1 correlation matrix is 1.")
    concentration = real_array("concentration", concentration)
    valid = check("concentration", concentration, POSITIVE)
    valid = None if valid is None else valid[..., None, None]
    full = full_shape(shape, np.shape(concentration), (d, d))
    return Call(single_key(key), full, float_dtype(dtype, concentration), (concentration,), valid).draw(body)


def _bartlett(key: jax.Array, shape: tuple, dtype: Any, halves: jax.Array) -> jax.Array:
    """Normals below the diagonal, roots of chi-squares of 2 `halves` degrees of freedom on it."""
    below = jnp.tril(random.normal(jax.random.fold_in(key, 0), shape, dtype), -1)
    value, log_factor = gamma_parts(jax.random.fold_in(key, 1), shape[:-1], dtype, halves)
    return below + jnp.eye(shape[-1], dtype=dtype) * (jnp.sqrt(2 * value) * jnp.exp(log_factor / 2))[..., None]


def _wishart(key: jax.Array, shape: tuple, dtype: Any, df: jax.Array, scale_tril: jax.Array) -> jax.Array:
    a = _bartlett(key, shape, dtype, (df[..., None] - jnp.arange(shape[-1], dtype=dtype)) / 2)
    factor = jnp.matmul(jnp.tril(scale_tril), a, precision="highest")
    return jnp.matmul(factor, jnp.swapaxes(factor, -1, -2), precision="highest")


def _wishart_of_scale(key: jax.Array, shape: tuple, dtype: Any, df: jax.Array, scale: jax.Array) -> jax.Array:
    return _wishart(key, shape, dtype, df, jnp.linalg.cholesky(scale))


def _lkj_cholesky(key: jax.Array, shape: tuple, dtype: Any, concentration: jax.Array) -> jax.Array:
    d = shape[-1]
    rows = _bartlett(key, shape, dtype, concentration[..., None] + (d - 1 - jnp.arange(d, dtype=dtype)) / 2)
    return rows / jnp.sqrt(jnp.sum(rows * rows, -1, keepdims=True))


def _lkj(key: jax.Array, shape: tuple, dtype: Any, concentration: jax.Array) -> jax.Array:
    factor = _lkj_cholesky(key, shape, dtype, concentration)
    product = jnp.matmul(factor, jnp.swapaxes(factor, -1, -2), precision="highest")
    return jnp.where(jnp.eye(shape[-1], dtype=bool), jnp.ones((), dtype), product)
