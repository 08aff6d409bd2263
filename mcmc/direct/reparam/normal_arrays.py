"""Arrays made of normal draws: multivariate Student's t, matrix normal, and logistic-normal."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    FINITE,
    POSITIVE,
    Call,
    both,
    check,
    common_shape,
    float_dtype,
    full_shape,
    real_array,
    single_key,
)
from mcmc.direct.reparam.gamma import gamma_parts
from mcmc.direct.reparam.multivariate import check_matrix, matrix_size, multivariate_normal, times
from mcmc.errors import WrongValue
from mcmc.random import draws as random


def multivariate_student_t(
    key: jax.Array,
    df: ArrayLike,
    loc: ArrayLike = 0.0,
    *,
    scale_tril: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Multivariate Student's t draws, x = loc + L z √(df / χ²), with L Lᵀ the scale matrix, d numbers each.

    The numbers of one draw share their chi-square of df degrees of freedom, whose gradient in df is exact. For df > 2
    the covariance is L Lᵀ df / (df − 2).

    Args:
        key: one JAX key, of any implementation.
        df: degrees of freedom, positive.
        loc: the centre, (..., d) or a scalar for all.
        scale_tril: (..., d, d), the Cholesky factor of the scale matrix; or
        scale: (..., d, d), the scale matrix, symmetric and positive definite.
        shape: the batch shape, to which d is added: (n,) gives (n, d); None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: `df` that is not positive, neither or both of the two, a bad matrix, or a shape that doesn't fit.
            Where values are traced the draw is NaN instead.

    Source: Kotz & Nadarajah 2004, Multivariate t-distributions and their applications.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.multivariate_student_t(jax.random.key(0), 5.0, jnp.zeros(2), scale=jnp.eye(2), shape=(7,))
        >>> x.shape
        (7, 2)
    """
    if (scale_tril is None) == (scale is None):
        raise WrongValue("scale", "both or neither", "scale_tril or scale", "Give the scale matrix once.")
    name = "scale" if scale_tril is None else "scale_tril"
    matrix = real_array(name, scale if scale_tril is None else scale_tril)
    d = matrix_size(name, matrix)
    df, loc = real_array("df", df), real_array("loc", loc)
    if np.shape(loc)[-1:] not in ((), (d,)):
        raise WrongValue("loc", f"shape {np.shape(loc)}", f"shape (..., {d})", f"It has the rows of {name}.")
    batch = common_shape(df=np.shape(df), loc=np.shape(loc)[:-1], **{name: np.shape(matrix)[:-2]})
    valid = both(check("df", df, POSITIVE), both(_over(check("loc", loc, FINITE), -1), check_matrix(name, matrix)))
    valid = None if valid is None else valid[..., None]
    full = full_shape(shape, batch, (d,))
    body = _student_t_of_scale if scale_tril is None else _student_t
    return Call(single_key(key), full, float_dtype(dtype, df, loc, matrix), (df, loc, matrix), valid).draw(body)


def matrix_normal(
    key: jax.Array,
    loc: ArrayLike,
    *,
    scale_tril_row: ArrayLike,
    scale_tril_column: ArrayLike,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Matrix normal draws, X = loc + A Z Bᵀ with Z standard normal (n, p): Cov(Xᵢⱼ, Xₖₗ) = (A Aᵀ)ᵢₖ (B Bᵀ)ⱼₗ.

    Args:
        key: one JAX key, of any implementation.
        loc: the mean, (..., n, p) or a scalar for all.
        scale_tril_row: A, (..., n, n), lower triangular: the factor of the covariance of rows.
        scale_tril_column: B, (..., p, p), lower triangular: the factor of the covariance of columns.
        shape: the batch shape, to which (n, p) is added; None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: a factor that is not square or not lower triangular, or a shape that doesn't fit. Where values are
            traced the draw is NaN where they are not finite, and what is above the diagonal is not read.

    Source: Dawid 1981, Some matrix-variate distribution theory.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> rows, columns = jnp.eye(2), 2 * jnp.eye(3)
        >>> x = reparam.matrix_normal(jax.random.key(0), 0.0, scale_tril_row=rows, scale_tril_column=columns)
        >>> x.shape
        (2, 3)
    """
    factors = {"scale_tril_row": scale_tril_row, "scale_tril_column": scale_tril_column}
    factors = {name: real_array(name, value) for name, value in factors.items()}
    event = tuple(matrix_size(name, value) for name, value in factors.items())
    loc = real_array("loc", loc)
    if np.shape(loc) and np.shape(loc)[-2:] != event:
        remedy = "Its rows are those of scale_tril_row, its columns those of scale_tril_column."
        raise WrongValue("loc", f"shape {np.shape(loc)}", f"shape (..., {event[0]}, {event[1]})", remedy)
    valid = _over(check("loc", loc, FINITE), (-2, -1))
    for name, value in factors.items():
        valid = both(valid, check_matrix(name, value))
    valid = None if valid is None else valid[..., None, None]
    batch = common_shape(loc=np.shape(loc)[:-2], **{name: np.shape(value)[:-2] for name, value in factors.items()})
    values = (loc, *factors.values())
    full = full_shape(shape, batch, event)
    return Call(single_key(key), full, float_dtype(dtype, *values), values, valid).draw(_matrix_normal)


def logistic_normal(
    key: jax.Array,
    loc: ArrayLike,
    *,
    scale_tril: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Logistic-normal draws on the simplex: xᵢ ∝ exp(yᵢ), the last one ∝ 1, with y multivariate normal.

    y is the vector of log ratios log(xᵢ / x_k), k − 1 numbers; x has k. In one dimension see `logit_normal`.

    Args:
        key: one JAX key, of any implementation.
        loc: the mean of y, (..., k − 1) or a scalar for all.
        scale_tril: (..., k − 1, k − 1), the Cholesky factor of the covariance of y; or
        covariance: the covariance; or
        precision: its inverse.
        shape: the batch shape, to which k is added: (n,) gives (n, k); None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: as in `multivariate_normal`.

    Source: Aitchison & Shen 1980, Logistic-normal distributions: some properties and uses.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> x = reparam.logistic_normal(jax.random.key(0), 0.0, scale_tril=jnp.eye(2), shape=(5,))
        >>> x.shape, bool(jnp.allclose(x.sum(-1), 1))
        ((5, 3), True)
    """
    y = multivariate_normal(
        key, loc, scale_tril=scale_tril, covariance=covariance, precision=precision, shape=shape, dtype=dtype
    )
    return jax.nn.softmax(jnp.concatenate([y, jnp.zeros((*y.shape[:-1], 1), y.dtype)], -1))


def _over(valid: Any, axes: Any) -> Any:
    """Where all elements of an array that may be a scalar are valid."""
    return valid if valid is None or not jnp.ndim(valid) else jnp.all(valid, axes)


def _student_t(
    key: jax.Array, shape: tuple, dtype: Any, df: jax.Array, loc: jax.Array, scale_tril: jax.Array
) -> jax.Array:
    value, log_factor = gamma_parts(jax.random.fold_in(key, 1), shape[:-1], dtype, df / 2)
    z = random.normal(jax.random.fold_in(key, 0), shape, dtype)
    stretch = jnp.sqrt(df / (2 * value)) * jnp.exp(-log_factor / 2)
    return loc + times(jnp.tril(scale_tril), z) * stretch[..., None]


def _student_t_of_scale(
    key: jax.Array, shape: tuple, dtype: Any, df: jax.Array, loc: jax.Array, scale: jax.Array
) -> jax.Array:
    return _student_t(key, shape, dtype, df, loc, jnp.linalg.cholesky(scale))


def _matrix_normal(
    key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, row: jax.Array, column: jax.Array
) -> jax.Array:
    z = random.normal(key, shape, dtype)
    return loc + jnp.einsum("...ij,...jk,...lk->...il", jnp.tril(row), z, jnp.tril(column), precision="highest")
