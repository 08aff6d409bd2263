"""The density of points under normal kernels, in a time that hardly grows with their number."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongValue

REACH = 9.0  # bandwidths beyond which a kernel is nothing: 2e-18 of its top
ENDS = 7.0  # bandwidths to the ends of the support: a kernel has 1e-12 of its mass beyond
BETWEEN = 4.0  # bandwidths from one place to the next
BIN, TERMS = 0.5, 24  # bandwidths a bin is wide; terms of the series about its centre, to 1e-15
DEGREE = 19  # of the polynomial in each bin: the sum of kernels to 1e-15 of itself


@dataclass(frozen=True, eq=False)
class KernelDensity:
    """Log f of an array of places, by a polynomial in each bin: for JAX, and for NumPy as `host`.

    `rows`: (bin, DEGREE + 1) coefficients in v, -1 to 1 over the bin, highest power first; the first begins at `low`.
    `places`: where panels may begin, so that no point is overlooked that is far from all others.
    """

    rows: np.ndarray
    low: float
    width: float
    places: np.ndarray

    @property
    def compiles(self) -> bool:
        """Whether the rows may be constants of a program."""
        return self.rows.size < 2**20

    def __call__(self, x: jax.Array) -> jax.Array:
        """For JAX, in the precision of x."""
        x = jnp.asarray(x)
        return self._log_f(jnp, x, jnp.asarray(self.rows, x.dtype), jnp.int32)

    def host(self, x: np.ndarray) -> np.ndarray:
        """The same for NumPy arrays, in float64."""
        with np.errstate(divide="ignore"):
            return self._log_f(np, np.asarray(x, np.float64), self.rows, np.int64)

    def _log_f(self, xp: Any, x: Any, rows: Any, integer: Any) -> Any:
        place = (x - self.low) / self.width
        k = xp.clip(xp.floor(place), 0, len(self.rows) - 1)
        v = xp.clip(2 * (place - k) - 1, -1, 1)
        row = rows[k.astype(integer)]
        f = row[..., 0]
        for j in range(1, DEGREE + 1):
            f = f * v + row[..., j]
        return xp.log(xp.maximum(f, 0.0))


def kernel_density(points: Any, bandwidth: Any) -> tuple[KernelDensity, tuple[float, float]]:
    """Log f of an array of places, and the support: f(x) = mean of N(x; point, bandwidth²)."""
    x = np.asarray(points, np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all() or x.min() == x.max():
        raise WrongValue("points", f"shape {x.shape}", "two or more different finite numbers (n,)", "Check them.")
    h = silverman(x) if bandwidth is None else bandwidth
    if isinstance(h, bool) or not isinstance(h, numbers.Real) or not (0 < float(h) < math.inf):
        remedy = "Leave it out for Silverman's rule." if bandwidth is not None else "Scale the points."
        raise WrongValue("bandwidth", h, "a number above 0", remedy)
    h = float(h)
    width, room = BIN * h, math.ceil(ENDS / BIN) + 1
    low = float(x.min() - room * width)
    bins = int((x.max() - low) / width) + 1 + room
    if bins > 2**22:
        expected = f"one above {(x.max() - low) / (BIN * 2**22):.2g}, for these points"
        remedy = "Give a larger one" + (" than Silverman's rule does" if bandwidth is None else "")
        raise WrongValue("bandwidth", h, expected, f"{remedy}, or leave out what is far away.")
    density = KernelDensity(_polynomials(_moments(x, low, width, bins, h)), low, width, _places(x, h))
    return density, (float(x.min() - ENDS * h), float(x.max() + ENDS * h))


def _places(x: np.ndarray, h: float) -> np.ndarray:
    """The ends of cells, BETWEEN bandwidths wide, that hold points, and of their neighbours."""
    cells = np.unique(np.floor(x / (BETWEEN * h)))
    return np.unique(cells[:, None] + np.arange(-1, 3)) * (BETWEEN * h)


def _moments(x: np.ndarray, low: float, width: float, bins: int, h: float) -> np.ndarray:
    """What the points of a bin with centre c do together, (bin, TERMS): the fast Gauss transform.

    exp(-(x - c - d)²/2h²) is exp(-(x - c)²/2h²) times a power series in (x - c)/h whose coefficients are the sums of
    (d/h)^j exp(-d²/2h²) / j!.
    """
    at = np.clip(((x - low) / width).astype(int), 0, bins - 1)
    d = (x - low - (at + 0.5) * width) / h
    power = np.exp(-0.5 * d * d) / len(x) / (h * math.sqrt(2 * math.pi))
    moments = np.empty((bins, TERMS))
    for j in range(TERMS):
        moments[:, j] = np.bincount(at, power, bins)
        power = power * d / (j + 1)
    return moments


def _polynomials(moments: np.ndarray) -> np.ndarray:
    """The sum of kernels in each bin as a polynomial in v, through its values at Chebyshev's points."""
    v = np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    beside = math.ceil(REACH / BIN)
    bins = len(moments)
    padded = np.pad(moments, ((beside, beside), (0, 0)))
    values = np.zeros((bins, DEGREE + 1))
    for offset in range(-beside, beside + 1):
        t = BIN * (v / 2 - offset)  # from the centre of the bin so far to the right
        rows = padded[beside + offset : beside + offset + bins]
        values += np.maximum(rows @ (t ** np.arange(TERMS)[:, None]), 0.0) * np.exp(-0.5 * t * t)
    chebyshev = np.cos(np.arange(DEGREE + 1)[:, None] * np.arccos(v)) * 2 / (DEGREE + 1)
    chebyshev[0] /= 2
    powers = np.zeros((DEGREE + 1, DEGREE + 1))
    for k in range(DEGREE + 1):
        powers[k, : k + 1] = np.polynomial.chebyshev.cheb2poly(np.eye(DEGREE + 1)[k])[: k + 1]
    return np.ascontiguousarray((values @ chebyshev.T @ powers)[:, ::-1])


def silverman(x: np.ndarray) -> float:
    """Silverman's bandwidth: 0.9 min(sd, interquartile range / 1.34) n^(-1/5)."""
    spread = np.std(x, ddof=1), (np.quantile(x, 0.75) - np.quantile(x, 0.25)) / 1.34
    return float(0.9 * min(s for s in spread if s > 0) * len(x) ** -0.2)
