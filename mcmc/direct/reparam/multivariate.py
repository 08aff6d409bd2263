"""Multivariate normal draws from a Cholesky factor, a covariance, a precision, or a low rank and a diagonal."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.scipy.linalg import solve_triangular
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.reparam.arguments import (
    FINITE,
    NON_NEGATIVE,
    Call,
    both,
    check,
    common_shape,
    float_dtype,
    full_shape,
    real_array,
    single_key,
)
from mcmc.errors import WrongValue
from mcmc.random import draws as random


def multivariate_normal(
    key: jax.Array,
    loc: ArrayLike,
    *,
    scale_tril: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
    precision: ArrayLike | None = None,
    factor: ArrayLike | None = None,
    diagonal: ArrayLike | None = None,
    method: Literal["cholesky", "eigh", "svd"] = "cholesky",
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Multivariate normal draws, x = loc + L z with L Lᵀ the covariance, d numbers each.

    The spread is given in one way: `scale_tril` (L itself), `covariance`, `precision` (its inverse), or `factor` W
    (d, r) with `diagonal` (d,), for the covariance W Wᵀ + diag(diagonal), which is never formed.

    Args:
        key: one JAX key, of any implementation.
        loc: the mean, (..., d) or a scalar for all.
        scale_tril: (..., d, d), lower triangular.
        covariance: (..., d, d), symmetric and positive definite.
        precision: (..., d, d), symmetric and positive definite.
        factor: (..., d, r); with `diagonal`.
        diagonal: (..., d), not negative; with `factor`.
        method: how the root of `covariance` is taken. "eigh" and "svd" take a singular one too, by its symmetric root,
            and are differentiable there.
        shape: the batch shape, to which d is added: (n,) gives (n, d); None: that of the parameters together.
        dtype: of the draws; None: the parameters' result type, float32 at least.

    Raises:
        ValueError: no spread or more than one, a matrix that is not square, symmetric, triangular or positive
            definite as it should be, or a shape that doesn't fit. Where values are traced, the draws are NaN
            instead (only the lower triangle of `scale_tril` is read).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from mcmc import reparam
        >>> covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]])
        >>> x = reparam.multivariate_normal(jax.random.key(0), 0.0, covariance=covariance, shape=(100_000,))
        >>> bool(jnp.allclose(jnp.cov(x.T), covariance, atol=0.03))
        True
    """
    given = {"scale_tril": scale_tril, "covariance": covariance, "precision": precision, "factor": factor}
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1 or (factor is None) != (diagonal is None):
        names += ["diagonal"] if diagonal is not None else []
        expected = "one of scale_tril, covariance, precision, or factor with diagonal"
        raise WrongValue("multivariate_normal", f"given: {names}", expected, "Leave the others out.")
    if method not in METHODS or (method != "cholesky" and covariance is None):
        expected = f"one of {METHODS}, the last two with covariance"
        raise WrongValue("method", method, expected, "Leave it out for a positive definite matrix.")
    vectors = {"loc": (loc, FINITE)} | ({} if diagonal is None else {"diagonal": (diagonal, NON_NEGATIVE)})
    body = BODIES[names[0] if method == "cholesky" else method]
    return _prepare(key, shape, dtype, names[0], given[names[0]], vectors, method == "cholesky").draw(body)


def _prepare(
    key: Any, shape: Any, dtype: Any, name: str, spread: Any, vectors: dict[str, tuple], definite: bool
) -> Call:
    """The checked call: a vector and a matrix, and perhaps another vector."""
    spread = real_array(name, spread)
    size = matrix_size(name, spread, square=name != "factor")
    valid, values = check_matrix(name, spread, definite), {}
    batches = {name: np.shape(spread)[:-2]}
    for vector, (value, condition) in vectors.items():
        values[vector] = real_array(vector, value)
        sizes = np.shape(values[vector])
        if sizes[-1:] not in ((), (size,)):
            raise WrongValue(vector, f"shape {sizes}", f"shape (..., {size})", f"It has the rows of {name}.")
        good = check(vector, values[vector], condition)
        valid = both(valid, good if good is None or not sizes else jnp.all(good, -1))
        batches[vector] = sizes[:-1]
    full = full_shape(shape, common_shape(**batches), (size,))
    values = (values["loc"], spread, *(v for vector, v in values.items() if vector != "loc"))
    return Call(single_key(key), full, float_dtype(dtype, *values), values, None if valid is None else valid[..., None])


def matrix_size(name: str, matrix: Any, square: bool = True) -> int:
    """The rows of a (stack of) matrices, square if asked."""
    sizes = np.shape(matrix)
    if len(sizes) < 2 or (square and sizes[-1] != sizes[-2]):
        expected = "shape (..., d, d)" if square else "shape (..., d, r)"
        raise WrongValue(name, f"shape {sizes}", expected, "For a vector of scales take reparam.normal.")
    return sizes[-2]


def check_matrix(name: str, matrix: Any, definite: bool = True) -> Any:
    """As `check`: finite, and triangular or positive (semi)definite where its name says so."""
    valid = check(name, matrix, FINITE)
    if valid is not None:
        return jnp.all(valid, (-2, -1))
    if isinstance(matrix, Tracer):  # under grad alone: a bad one gives NaN
        return None
    concrete = np.asarray(matrix, float)
    if name.startswith("scale_tril") and np.any(np.triu(concrete, 1)):
        remedy = "Give the factor of numpy.linalg.cholesky, or the whole as covariance."
        raise WrongValue(name, concrete, "a lower triangular matrix", remedy)
    if name in ("covariance", "precision", "scale"):
        turned = np.swapaxes(concrete, -1, -2)
        if not np.allclose(concrete, turned, rtol=1e-4, atol=1e-6 * np.abs(concrete).max(initial=0)):
            raise WrongValue(name, concrete, "a symmetric matrix", "Take (m + m.T) / 2.")
        least = np.linalg.eigvalsh(concrete).min(initial=np.inf)
        if not definite and least < -1e-5 * np.abs(concrete).max(initial=0):
            raise WrongValue(name, concrete, "a positive semidefinite matrix", "Check its signs.")
        if definite and least <= 0:
            remedy = 'Add a little to the diagonal, or give a singular covariance with method="eigh".'
            raise WrongValue(name, concrete, "a positive definite matrix", remedy)
    return None


def _by_factor(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, scale_tril: jax.Array) -> jax.Array:
    return loc + times(jnp.tril(scale_tril), random.normal(key, shape, dtype))


def _by_covariance(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, covariance: jax.Array) -> jax.Array:
    return _by_factor(key, shape, dtype, loc, jnp.linalg.cholesky(covariance))


def _by_eigh(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, covariance: jax.Array) -> jax.Array:
    return loc + times(_symmetric_root("eigh", covariance), random.normal(key, shape, dtype))


def _by_svd(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, covariance: jax.Array) -> jax.Array:
    return loc + times(_symmetric_root("svd", covariance), random.normal(key, shape, dtype))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _symmetric_root(method: str, covariance: jax.Array) -> jax.Array:
    """S with S S = covariance, positive semidefinite."""
    return _spectral_root(method, covariance)[0]


def _spectral_root(method: str, covariance: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    covariance = (covariance + covariance.mT) / 2
    if method == "eigh":
        vectors, values = jnp.linalg.eigh(covariance)[::-1]
    else:
        vectors, values, _ = jnp.linalg.svd(covariance)
    roots = jnp.sqrt(jnp.maximum(values, 0))
    return jnp.matmul(vectors * roots[..., None, :], vectors.mT, precision="highest"), vectors, roots


@_symmetric_root.defjvp
def _symmetric_root_jvp(method: str, primals: tuple, tangents: tuple) -> tuple:
    """From S dS + dS S = dC, which does not care whether eigenvalues differ; 0 in the null space."""
    root, vectors, roots = _spectral_root(method, primals[0])
    change = (tangents[0] + tangents[0].mT) / 2
    inner = jnp.einsum("...ji,...jk,...kl->...il", vectors, change, vectors, precision="highest")
    sums = roots[..., :, None] + roots[..., None, :]
    some = sums > jnp.finfo(sums.dtype).eps ** 0.5 * jnp.max(roots, -1)[..., None, None]
    inner = jnp.where(some, inner / jnp.where(some, sums, 1), 0)
    return root, jnp.einsum("...ij,...jk,...lk->...il", vectors, inner, vectors, precision="highest")


def _by_precision(key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, precision: jax.Array) -> jax.Array:
    factor = jnp.linalg.cholesky(precision)
    factor = jnp.broadcast_to(factor, (*shape[:-1], *factor.shape[-2:])) if factor.ndim > 2 else factor
    z = random.normal(key, shape, dtype)
    if factor.ndim == 2:
        flat = solve_triangular(factor, z.reshape(-1, shape[-1]).T, trans="T", lower=True)
        return loc + flat.T.reshape(shape)
    return loc + solve_triangular(factor, z[..., None], trans="T", lower=True)[..., 0]


def _by_low_rank(
    key: jax.Array, shape: tuple, dtype: Any, loc: jax.Array, factor: jax.Array, diagonal: jax.Array
) -> jax.Array:
    z = random.normal(key, shape, dtype)
    shared = random.normal(key, (*shape[:-1], factor.shape[-1]), dtype, stream=1)
    return loc + times(factor, shared) + jnp.sqrt(diagonal) * z


def times(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    """Matrix times vector, for stacks of either, at full precision."""
    return jnp.einsum("...ij,...j->...i", matrix, vector, precision="highest")


METHODS = ("cholesky", "eigh", "svd")
BODIES = {
    "scale_tril": _by_factor,
    "covariance": _by_covariance,
    "eigh": _by_eigh,
    "svd": _by_svd,
    "precision": _by_precision,
    "factor": _by_low_rank,
}
