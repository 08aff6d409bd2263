r"""Supports: where a parameter lives, as a bijector from unconstrained space with its log-Jacobian.

A support is a small frozen description, hashable and free of arrays. All of them answer to

- `shape`, `position_shape`, `size`: of the constrained array, the unconstrained one, its number of entries;
- `discrete`: whether the values are integers or booleans, kept as exact floats in a position;
- `constrain(y, p) -> (x, log_jacobian)`: from a position to a value, with the scalar log|det dx/dy| for the
  free coordinates of x (Stan's conventions), summed over the batch; p holds the parameters before this one;
- `unconstrain(x, p) -> y`: the inverse;  `contains(x, p)`: whether x lies in the interior;
- `restore(x)`: x in its own dtype (int32, bool; floats as they are).

All are traceable and keep the dtype of y. A density p(x) becomes p(x(y)) exp(log_jacobian) in y.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcmc.errors import WrongType, WrongValue
from mcmc.target.array_bijectors import CholeskyFactorCorr, CorrMatrix, CovMatrix, Ordered, PositiveOrdered, Simplex
from mcmc.target.bijectors import (
    INT32_MAX,
    Boolean,
    Bounded,
    Circular,
    Integer,
    Interval,
    Lower,
    Params,
    Positive,
    Real,
    Shape,
    Support,
    UnitVector,
    Upper,
    show,
    together,
)
from mcmc.target.matrix_bijectors import Affine, LowerCholesky, ZeroSum

# --- checks at construction ---------------------------------------------------------------------------


def _size(name: str, argument: str, value: Any, least: int, remedy: str) -> int:
    expected = f"{name}: {argument} must be a whole number, at least {least}; got {value!r}. {remedy}"
    try:
        size = operator.index(value)
    except TypeError:
        raise WrongType.told("support", expected) from None
    if isinstance(value, bool):
        raise WrongType.told("support", expected)
    if size < least:
        raise WrongValue.told("support", expected)
    return size


def _sizes(name: str, positional: tuple, shape: Shape) -> tuple[int, ...]:
    if positional and shape is not None:
        raise WrongValue.told(
            "support",
            f"{name}: the shape was given twice, as {positional} and as shape={shape!r}. Keep one of the two.",
        )
    sizes = positional if shape is None else shape if isinstance(shape, Iterable) else (shape,)
    return tuple(_size(name, "each size in shape", n, 1, "Write the sizes as in shape=(3, 2).") for n in sizes)


def _bound(name: str, argument: str, value: Any, instead: str) -> np.ndarray | Callable:
    if callable(value):
        return value
    try:
        array = np.asarray(value)
        unusable = array.dtype.kind in "bcOSUmM"
        array = array if unusable or name == "integer" else array.astype(np.float64)
    except (TypeError, ValueError):
        unusable, array = True, np.zeros(())
    if unusable:
        raise WrongType.told(
            "support",
            f"{name}: {argument} must be a number, an array known at construction, or a function of the "
            f"parameters before this one; got {value!r}. For no bound, use {instead}.",
        )
    if np.any(np.isnan(array)):
        raise WrongValue.told(
            "support", f"{name}: {argument} must be a number, got NaN in {value!r}. Check what it is computed from."
        )
    if np.any(np.isinf(array)):
        raise WrongValue.told(
            "support", f"{name}: {argument} must be finite, got {value!r}. For no bound, use {instead}."
        )
    return array


def _whole(argument: str, value: Any) -> np.ndarray | Callable | None:
    bound = None if value is None else _bound("integer", argument, value, "None")
    if not isinstance(bound, np.ndarray):
        return bound
    if np.any(bound != np.round(bound)):
        raise WrongValue.told("support", f"integer: {argument} must be a whole number, got {value!r}. Round it first.")
    if np.any(np.abs(bound.astype(np.float64)) > INT32_MAX):
        raise WrongValue.told(
            "support", f"integer: {argument} must fit in int32, got {value!r}. Count from another origin."
        )
    return bound.astype(np.int64)


def _frozen(bound: np.ndarray | Callable | None) -> Any:
    def freeze(value: Any) -> Any:
        return tuple(map(freeze, value)) if isinstance(value, list) else value

    return freeze(bound.tolist()) if isinstance(bound, np.ndarray) else bound


def _bounded[S: Bounded](kind: type[S], a: Any, b: Any, sizes: tuple, shape: Shape) -> S:
    arrays = [bound for bound in (a, b) if isinstance(bound, np.ndarray)]
    given = None if shape is None and not sizes else _sizes(kind.name, sizes, shape)
    shapes = [array.shape for array in arrays]
    whole = together(*shapes, given or ())
    if whole is None or given not in (None, whole):
        wanted = "one another" if given is None else f"shape {given}"
        raise WrongValue.told(
            "support", f"{kind.name}: the bounds must broadcast to {wanted}; got bounds of shapes {shapes}."
        )
    ends = kind is not Affine and len(arrays) == 2
    if ends and not np.all(arrays[0] <= arrays[1] if kind is Integer else arrays[0] < arrays[1]):
        relation = "at or below" if kind is Integer else "below"
        raise WrongValue.told(
            "support",
            f"{kind.name}: a must lie {relation} b everywhere; got a={show(_frozen(a))} and "
            f"b={show(_frozen(b))}. Exchange them, or leave out a parameter that can't vary.",
        )
    return kind(whole, _frozen(a), _frozen(b))


def _event[S: Support](kind: type[S], k: Any, least: int, sizes: tuple, shape: Shape, remedy: str = "") -> S:
    if sizes:
        asked = (k, *sizes)
        raise WrongType.told(
            "support",
            f"{kind.name}: got {', '.join(map(repr, asked))}; expected one size, k, and shape= for many of them. "
            f"Write {kind.name}({sizes[-1]!r}, shape=({', '.join(map(repr, asked[:-1]))},)).",
        )
    k = _size(kind.name, "k", k, least, remedy)
    return kind(_sizes(kind.name, (), shape) + (k,) * kind.event)


# --- the public names ---------------------------------------------------------------------------------


def real(
    *sizes: int,
    shape: Shape = None,
    loc: ArrayLike | Callable[[Params], ArrayLike] = 0.0,
    scale: ArrayLike | Callable[[Params], ArrayLike] = 1.0,
) -> Real | Affine:
    """Any real number: x = loc + scale y, log|dx/dy| = log(scale); x = y by default.

    `real(3, 2)` and `real(shape=(3, 2))` are (3, 2) arrays, with positions of the same shape; `real()` is a
    scalar. loc and scale > 0 (Stan's offset and multiplier) are numbers, arrays that broadcast, or functions of the
    parameters before this one: `real(8, loc=lambda p: p["mu"], scale=lambda p: p["tau"])` is the non-centred form.
    ValueError or TypeError for a size that is no positive whole number, or a shape given both ways.

    >>> mcmc.real(3).size
    3
    """
    a, b = _bound("real", "loc", loc, "0."), _bound("real", "scale", scale, "1.")
    if isinstance(b, np.ndarray) and not np.all(b > 0):
        raise WrongValue.told("support", f"real: scale must be above zero, got {scale!r}. Give the parameter's scale.")
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.ndim == b.ndim == 0 and (a, b) == (0, 1):
        return Real(_sizes("real", sizes, shape))
    return _bounded(Affine, a, b, sizes, shape)


def positive(*sizes: int, shape: Shape = None) -> Positive:
    """A number above zero: x = exp(y), log|dx/dy| = y.

    Shapes and errors as for `real`. Where exp underflows, x is exactly 0. Source: Stan reference manual,
    "Lower bounded scalar".

    >>> mcmc.positive(8).contains([1.0] * 8).item()
    True
    """
    return Positive(_sizes("positive", sizes, shape), 0.0)


def lower(a: ArrayLike | Callable[[Params], ArrayLike], *sizes: int, shape: Shape = None) -> Lower:
    """A number above a: x = a + exp(y), log|dx/dy| = y.

    `a` is a number, an array that broadcasts to the shape (and is the shape where none is given), or a
    function of the dict of parameters before this one. A function whose result is not finite makes x and the
    log-Jacobian NaN. ValueError for a NaN or infinite bound or a bound that does not broadcast, TypeError for
    one that is no number; for shapes as for `real`. Source: Stan reference manual, "Lower bounded scalar".

    >>> x, log_jacobian = mcmc.lower(2.0).constrain(0.0)
    >>> float(x), float(log_jacobian)
    (3.0, 0.0)
    """
    return _bounded(Lower, _bound("lower", "a", a, "real()"), None, sizes, shape)


def upper(b: ArrayLike | Callable[[Params], ArrayLike], *sizes: int, shape: Shape = None) -> Upper:
    """A number below b: x = b - exp(y), log|dx/dy| = y.

    Bound, shapes and errors as for `lower`. Source: Stan reference manual, "Upper bounded scalar".

    >>> float(mcmc.upper(2.0).unconstrain(1.0))
    0.0
    """
    return _bounded(Upper, None, _bound("upper", "b", b, "real()"), sizes, shape)


def interval(
    a: ArrayLike | Callable[[Params], ArrayLike],
    b: ArrayLike | Callable[[Params], ArrayLike],
    *sizes: int,
    shape: Shape = None,
) -> Interval:
    """A number between a and b: x = a + (b - a) s(y), s(y) = 1 / (1 + exp(-y)).

    log|dx/dy| = log(b - a) + log s(y) + log s(-y). Each bound is a number, an array that broadcasts to the
    shape, or a function of the dict of parameters before this one. Functions whose results are reversed,
    equal or not finite make x and the log-Jacobian NaN, and contain nothing. x is measured from the nearer
    end and kept one last place off it (off an end at 0, until it underflows). ValueError for a >= b and
    infinite bounds; otherwise errors as for `lower`. Source: Stan reference manual, "Lower and upper bounded
    scalar".

    >>> mcmc.interval(0.0, 1.0, 3)
    interval(0.0, 1.0, shape=(3,))
    >>> x, _ = mcmc.interval(0.0, lambda p: 1 - p["alpha"]).constrain(0.0, {"alpha": 0.5})
    >>> float(x)
    0.25
    """
    low = _bound("interval", "a", a, "upper(b), or real() where neither end is bounded")
    high = _bound("interval", "b", b, "lower(a), positive(), or real() where neither end is bounded")
    return _bounded(Interval, low, high, sizes, shape)


def circular(*sizes: int, shape: Shape = None) -> Circular:
    """An angle in [-pi, pi): x = atan2(y2, y1), so that -pi and pi are neighbours.

    Positions have shape (*shape, 2). The radius and its distribution are those of `unit_vector` for k = 2; the
    angle's distribution is exactly the target. Shapes and errors as for `real`. Source: Stan user's guide, "Circular
    statistics".

    >>> mcmc.circular(5).position_shape
    (5, 2)
    """
    return Circular(_sizes("circular", sizes, shape))


def unit_vector(k: int, *sizes: int, shape: Shape = None) -> UnitVector:
    """A direction in k dimensions: x = y / |y|, a vector of length one.

    There are k coordinates for k - 1 degrees of freedom, so the radius r = |y| gets a distribution of its own: log r
    is normal(0, 0.3), with density f(r) of r. As dy = r^(k-1) dr dx, the density of y that has the target's
    density of x (with respect to area on the sphere) and f of r is p(x) f(r) / r^(k-1); thus "log-Jacobian"
    means

        log f(r) - (k - 1) log r = -k log r - (log r / 0.3)^2 / 2 - log(0.3 sqrt(2 pi)).

    x and r are independent: expectations over x are exactly right whatever the radius does. The density is a
    ring (a shell), zero at the origin, so chains stay clear of the singular point that a normal y
    would leave open. `unconstrain` gives radius one, the median. Shapes: x and y are both (*shape, k).
    ValueError for k < 2; for shapes as for `real`. Source: Stan reference manual, "Unit vector" (with another
    distribution of the radius).

    >>> x, _ = mcmc.unit_vector(2).constrain([3.0, 4.0])
    >>> [round(float(v), 6) for v in x]
    [0.6, 0.8]
    """
    return _event(UnitVector, k, 2, sizes, shape, "In one dimension the directions are a boolean().")


def ordered(k: int, *sizes: int, shape: Shape = None) -> Ordered:
    """An increasing vector: x1 = y1, x_i = x_(i-1) + exp(y_i), log|det dx/dy| = y_2 + ... + y_k.

    Shapes: x and y are both (*shape, k). ValueError or TypeError where k or shape has no positive whole
    numbers. Source: Stan reference manual, "Ordered vector".

    >>> mcmc.ordered(3).constrain([0.0, 0.0, 0.0])[0].tolist()
    [0.0, 1.0, 2.0]
    """
    return _event(Ordered, k, 1, sizes, shape)


def positive_ordered(k: int, *sizes: int, shape: Shape = None) -> PositiveOrdered:
    """An increasing vector of positive numbers: x_i = exp(y_1) + ... + exp(y_i).

    log|det dx/dy| = y_1 + ... + y_k. Shapes and errors as for `ordered`. Source: Stan reference manual,
    "Positive ordered vector".

    >>> mcmc.positive_ordered(2).constrain([0.0, 0.0])[0].tolist()
    [1.0, 2.0]
    """
    return _event(PositiveOrdered, k, 1, sizes, shape)


def simplex(k: int, *sizes: int, shape: Shape = None) -> Simplex:
    """Positive numbers, k of them, that sum to one: x = softmax(V y), by the isometric log-ratio.

    V (k rows, k - 1 columns) is Helmert's orthonormal basis of the vectors that sum to zero, applied in O(k);
    log|det d(x_1 ... x_(k-1))/dy| = log x_1 + ... + log x_k + log(k) / 2. No entry is favoured, as one is by
    stick-breaking, and y = 0 is the centre. Shapes: x is (*shape, k), y is (*shape, k - 1). ValueError for k
    < 2; for shapes as for `real`. Source: Egozcue et al. 2003, Mathematical Geology 35, "Isometric logratio
    transformations".

    >>> mcmc.simplex(4, shape=(10,))
    simplex(4, shape=(10,))
    >>> mcmc.simplex(4).constrain([0.0, 0.0, 0.0])[0].tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    return _event(Simplex, k, 2, sizes, shape, "A simplex of one entry is the constant 1: leave it out.")


def cholesky_factor_corr(k: int, *sizes: int, shape: Shape = None) -> CholeskyFactorCorr:
    """The Cholesky factor of a correlation matrix, lower triangular with rows of length one.

    L_ij = z_ij sqrt((1 - z_i1^2) ... (1 - z_i(j-1)^2)) for j < i with partial correlations z = tanh(y), and
    L_ii the root of all that is left; the log-Jacobian is with respect to the strictly lower triangle.
    Shapes: x is (*shape, k, k), y is (*shape, k (k - 1) / 2), row by row. ValueError for k < 2; for shapes as
    for `real`. Source: Lewandowski, Kurowicka and Joe 2009, J. Multivariate Analysis 100; Stan reference
    manual, "Cholesky factors of correlation matrices".

    >>> mcmc.cholesky_factor_corr(2).constrain([0.0])[0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _event(CholeskyFactorCorr, k, 2, sizes, shape, "A correlation matrix of one entry is the constant 1.")


def corr_matrix(k: int, *sizes: int, shape: Shape = None) -> CorrMatrix:
    """A correlation matrix R = L L' with L as in `cholesky_factor_corr`, which is faster and rounds less.

    log|det dR/dy| = log|det dL/dy| + sum over j of (k - j) log L_jj, for the strictly lower triangle of R.
    Shapes, errors and source as for `cholesky_factor_corr`.

    >>> mcmc.corr_matrix(3).position_shape
    (3,)
    """
    return _event(CorrMatrix, k, 2, sizes, shape, "A correlation matrix of one entry is the constant 1.")


def cov_matrix(k: int, *sizes: int, shape: Shape = None) -> CovMatrix:
    """A covariance matrix S = L L', L lower triangular with L_ij = y_ij for j < i and L_ii = exp(y_ii).

    log|det dS/dy| = k log 2 + sum over i of (k - i + 2) y_ii, for the lower triangle of S with its diagonal.
    Where k is more than a few, scales with a `cholesky_factor_corr` sample better. Shapes: x is (*shape, k,
    k), y is (*shape, k (k + 1) / 2), row by row. ValueError or TypeError where k or shape has no positive
    whole numbers. Source: Stan reference manual, "Covariance matrices".

    >>> mcmc.cov_matrix(2).constrain([0.0, 0.0, 0.0])[0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return _event(CovMatrix, k, 1, sizes, shape)


def cholesky_factor_cov(k: int, *sizes: int, shape: Shape = None) -> LowerCholesky:
    """The Cholesky factor of a covariance matrix: lower triangular L with L_ij = y_ij for j < i, L_ii = exp(y_ii).

    The log-Jacobian, with respect to the lower triangle, is the sum of y_ii. Shapes: x is (*shape, k, k), y is
    (*shape, k (k + 1) / 2), row by row. Errors as for `real`. Source: Stan reference manual, "Cholesky factors of
    covariance matrices".

    >>> mcmc.cholesky_factor_cov(2).constrain([0.0, 3.0, 0.0])[0].tolist()
    [[1.0, 0.0], [3.0, 1.0]]
    """
    return _event(LowerCholesky, k, 1, sizes, shape)


def zero_sum(k: int, *sizes: int, shape: Shape = None) -> ZeroSum:
    """k numbers whose sum is zero: x = V y with Helmert's orthonormal basis V, log|dx/dy| = 0.

    Lengths are kept: y ~ normal(0, 1) gives x the standard normal law given that it sums to zero. Shapes: x is
    (*shape, k), y is (*shape, k - 1). ValueError for k < 2; for shapes as for `real`. Source: Stan reference manual,
    "Zero sum vector".

    >>> round(float(mcmc.zero_sum(3).constrain([1.0, 2.0])[0].sum()), 12) + 0.0
    0.0
    """
    return _event(ZeroSum, k, 2, sizes, shape, "One number that sums to zero is the constant 0.")


def integer(
    a: ArrayLike | Callable[[Params], ArrayLike] | None = None,
    b: ArrayLike | Callable[[Params], ArrayLike] | None = None,
    *sizes: int,
    shape: Shape = None,
) -> Integer:
    """A whole number from a to b, both included; x = round(y) as int32, log-Jacobian 0.

    A bound is None (none), a whole number, an array of them, or a function of the parameters before this one.
    Positions outside get the nearest value inside, with log-Jacobian -inf: probability zero. A position is an
    exact float, so float32 reaches to 2^24 either way, float64 to all of int32. ValueError for a > b or
    bounds that are not whole or beyond int32; otherwise errors as for `lower`.

    >>> x, _ = mcmc.integer(0, 10).constrain(3.0)
    >>> x.item(), str(x.dtype)
    (3, 'int32')
    """
    return _bounded(Integer, _whole("a", a), _whole("b", b), sizes, shape)


def boolean(*sizes: int, shape: Shape = None) -> Boolean:
    """True or False: x = (y rounds to 1), log-Jacobian 0; a y that rounds to neither 0 nor 1 gets -inf.

    Shapes and errors as for `real`.

    >>> mcmc.boolean(3).constrain([0.0, 1.0, 1.0])[0].tolist()
    [False, True, True]
    """
    return Boolean(_sizes("boolean", sizes, shape))
