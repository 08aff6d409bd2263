"""Laws whose log density is linear between points, or constant in bins: everything in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from mcmc.direct.inverse_cdf.arguments import no_mass, within
from mcmc.errors import WrongValue
from mcmc.random.draws import uniform_open

if TYPE_CHECKING:
    from mcmc.steps.inverse_cdf import InverseCDFSteps

FLAT = 1e-5  # slopes times widths below which a series is as good


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["knots", "log_f", "slopes", "below", "masses", "log_normalizer"],
    meta_fields=["u_error"],
)
@dataclass(frozen=True)
class Piecewise:
    """Independent draws from pieces of exp(a + b x): `InverseCDF.from_grid` and `from_histogram` make them.

    Attributes:
        knots: (n + 1,) the ends of the pieces.
        log_f: (n,) the normalised log density at the left end of each.
        slopes: (n,) of the log density.
        below: (n,) the mass left of each piece. masses: (n,) in each.
        log_normalizer: log of the integral that was given.
        u_error: 0 but for rounding.
    """

    knots: np.ndarray
    log_f: np.ndarray
    slopes: np.ndarray
    below: np.ndarray
    masses: np.ndarray
    log_normalizer: float
    u_error: float = 0.0

    @staticmethod
    def of(knots: np.ndarray, log_left: np.ndarray, slopes: np.ndarray) -> Piecewise:
        """From unnormalised log densities at the left ends."""
        widths = np.diff(knots)
        top = log_left.max()
        masses = np.exp(log_left - top) * widths * np.asarray(_grown(slopes * widths, np))
        total = masses.sum()
        below = np.concatenate([[0.0], np.cumsum(masses)[:-1]]) / total
        log_normalizer = float(top + np.log(total))
        return Piecewise(knots, log_left - log_normalizer, slopes, below, masses / total, log_normalizer)

    @property
    def support(self) -> tuple[float, float]:
        """The ends."""
        return float(self.knots[0]), float(self.knots[-1])

    def sample(self, key: jax.Array, shape: int | tuple[int, ...] = (), dtype: DTypeLike | None = None) -> jax.Array:
        """Independent draws."""
        return self.icdf(uniform_open(key, (shape,) if isinstance(shape, int) else tuple(shape), dtype))

    def steps(self, key: jax.Array, n: int) -> InverseCDFSteps:
        """As `InverseCDF.steps`; the pieces are the panels."""
        from mcmc.steps.counting import check_count
        from mcmc.steps.inverse_cdf import inverse_cdf_steps

        check_count(n)
        u = uniform_open(key, (n,))
        return inverse_cdf_steps(self, u, self.icdf(u), self.knots, self.masses)

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """The normalised log density; −inf outside."""
        return _log_prob(self, _float(x))

    def cdf(self, x: ArrayLike) -> jax.Array:
        """P(X ≤ x)."""
        return _cdf(self, _float(x))

    def sf(self, x: ArrayLike) -> jax.Array:
        """P(X > x): small values keep their relative precision."""
        return self._mirrored().cdf(-_float(x))

    def isf(self, q: ArrayLike) -> jax.Array:
        """Q(1 − q), with the relative precision of q."""
        return -self._mirrored().icdf(q)

    def truncated(self, low: float = -math.inf, high: float = math.inf) -> Piecewise:
        """The law given that low < x < high: exact where the interval's mass is tiny, too.

        Raises:
            ValueError: ends that are no numbers in order. SamplingError: there is no mass between them.

        Example:
            >>> from mcmc import InverseCDF
            >>> s = InverseCDF.from_histogram([1, 3], [0.0, 1.0, 2.0]).truncated(0.5, 1.5)
            >>> float(s.icdf(0.25))
            1.0
        """
        low, high = within((low, high), self.support)
        knots = np.asarray(self.knots)
        first = int(np.searchsorted(knots, low, side="right")) - 1
        last = int(np.searchsorted(knots, high, side="left"))
        log_left, slopes = np.array(self.log_f)[first:last] + self.log_normalizer, np.asarray(self.slopes)[first:last]
        log_left[0] += slopes[0] * (low - knots[first])
        if not (log_left > -np.inf).any():
            no_mass(low, high)
        return Piecewise.of(np.concatenate([[low], knots[first + 1 : last], [high]]), log_left, slopes)

    def _mirrored(self) -> Piecewise:
        """The law of −X."""
        xp: Any = np if isinstance(self.masses, np.ndarray) else jnp
        masses = self.masses[::-1]
        below = xp.concatenate([xp.zeros(1, masses.dtype), xp.cumsum(masses)[:-1]])
        log_right = (self.log_f + self.slopes * xp.diff(self.knots))[::-1]
        return Piecewise(-self.knots[::-1], log_right, -self.slopes[::-1], below, masses, self.log_normalizer)

    def icdf(self, u: ArrayLike) -> jax.Array:
        """The quantile; NaN outside [0, 1]."""
        return _icdf(self, _float(u))


@jax.jit
def _log_prob(s: Piecewise, x: jax.Array) -> jax.Array:
    k, at = _piece(s, x)
    inside = (x >= s.knots[0]) & (x <= s.knots[-1])
    return jnp.where(inside, _in(s.log_f, x)[k] + _in(s.slopes, x)[k] * at, -jnp.inf)


@jax.jit
def _cdf(s: Piecewise, x: jax.Array) -> jax.Array:
    k, at = _piece(s, jnp.clip(x, s.knots[0], s.knots[-1]))
    slope = _in(s.slopes, x)[k]
    part = jnp.exp(_in(s.log_f, x)[k]) * at * _grown(slope * at, jnp)
    return jnp.where(jnp.isnan(x), jnp.nan, jnp.clip(_in(s.below, x)[k] + part, 0.0, 1.0))


@jax.jit
def _icdf(s: Piecewise, u: jax.Array) -> jax.Array:
    full = jnp.asarray(s.masses) > 0
    k = jnp.searchsorted(_in(s.below, u), u, side="right") - 1
    k = jnp.clip(k, jnp.argmax(full), full.size - 1 - jnp.argmax(full[::-1]))
    knots, masses = _in(s.knots, u), _in(s.masses, u)[k]
    share = jnp.clip((u - _in(s.below, u)[k]) / jnp.where(masses > 0, masses, 1), 0.0, 1.0)
    width = knots[k + 1] - knots[k]
    bend = _in(s.slopes, u)[k] * width
    flat = jnp.abs(bend) < FLAT
    safe = jnp.where(flat, 1.0, bend)
    up = jnp.log1p(share * jnp.expm1(jnp.minimum(safe, 50.0))) / safe
    steep = 1 + jnp.log(share + (1 - share) * jnp.exp(-jnp.maximum(safe, 0.0))) / safe
    curved = jnp.where(safe > 50.0, steep, up)
    x = knots[k] + width * jnp.where(flat, share + 0.5 * bend * share * (1 - share), curved)
    x = jnp.where(u == 1, knots[k + 1], jnp.clip(x, knots[k], knots[k + 1]))
    return jnp.where((u >= 0) & (u <= 1), x, jnp.nan)


def _piece(s: Piecewise, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    knots = _in(s.knots, x)
    k = jnp.clip(jnp.searchsorted(knots, x, side="right") - 1, 0, len(s.masses) - 1)
    return k, x - knots[k]


def on_grid(x: Any, log_f: Any) -> Piecewise:
    """The law whose log density is linear between the values on a grid."""
    x, values = checked_grid(x, log_f)
    left, right = values[:-1], values[1:]
    known = np.isfinite(left) & np.isfinite(right)
    slopes = np.where(known, np.where(known, right - np.where(known, left, 0), 0) / np.diff(x), 0.0)
    return Piecewise.of(x, np.where(known, left, -np.inf), slopes)


def spline(x: Any, log_f: Any) -> tuple[Callable[[jax.Array], jax.Array], tuple[float, float]]:
    """The cubic spline through the values on a grid, for JAX, and its ends."""
    from scipy.interpolate import CubicSpline

    x, values = checked_grid(x, log_f)
    if not np.isfinite(values).all():
        k = int(np.flatnonzero(~np.isfinite(values))[0])
        raise WrongValue(f"log_f[{k}]", float(values[k]), "finite numbers for a spline", 'Use kind="linear".')
    coefficients = CubicSpline(x, values).c

    def log_density(at: jax.Array) -> jax.Array:
        at = jnp.asarray(at)
        knots, c = _in(x, at), _in(coefficients, at)
        k = jnp.clip(jnp.searchsorted(knots, at, side="right") - 1, 0, len(x) - 2)
        t = at - knots[k]
        return ((c[0, k] * t + c[1, k]) * t + c[2, k]) * t + c[3, k]

    log_density.places = x  # pyright: ignore[reportFunctionMemberAccess]
    return log_density, (float(x[0]), float(x[-1]))


def of_histogram(counts: Any, edges: Any) -> Piecewise:
    """The law that is uniform in each bin."""
    counts, edges = np.asarray(counts, np.float64), np.asarray(edges, np.float64)
    if counts.ndim != 1 or edges.shape != (len(counts) + 1,):
        shapes = f"shapes {counts.shape} and {edges.shape}", "(n,) counts and (n + 1,) edges"
        raise WrongValue("counts and edges", *shapes, "Pass what numpy.histogram gives.")
    if not (np.all(counts >= 0) and np.isfinite(counts).all() and counts.sum() > 0):
        raise WrongValue("counts", counts, "numbers from 0 on, one above", "Correct them.")
    _check_rising("edges", edges)
    with np.errstate(divide="ignore"):
        return Piecewise.of(edges, np.log(counts / np.diff(edges)), np.zeros(len(counts)))


def checked_grid(x: Any, log_f: Any) -> tuple[np.ndarray, np.ndarray]:
    """A grid and the log density there, checked."""
    x, values = np.asarray(x, np.float64), np.asarray(log_f, np.float64)
    if x.ndim != 1 or x.shape != values.shape or len(x) < 2:
        shapes = f"shapes {x.shape} and {values.shape}", "two arrays (n,), n at least 2"
        raise WrongValue("x and log_f", *shapes, "Give log f at each point.")
    _check_rising("x", x)
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if len(bad):
        expected = "a finite number, or -inf"
        raise WrongValue(f"log_f[{bad[0]}]", float(values[bad[0]]), expected, "Correct it there.")
    if not (np.isfinite(values[:-1]) & np.isfinite(values[1:])).any():
        raise WrongValue("log_f", "-inf beside every point", "two finite neighbours", "Give a finer grid.")
    return x, values


def _check_rising(name: str, x: np.ndarray) -> None:
    if not (np.isfinite(x).all() and np.all(np.diff(x) > 0)):
        raise WrongValue(name, x, "finite numbers that rise", "Sort them, and leave out what is double.")


def _grown(bend: Any, xp: Any) -> Any:
    """(e^b − 1) / b."""
    flat = xp.abs(bend) < FLAT
    safe = xp.where(flat, 1.0, bend)
    return xp.where(flat, 1 + bend / 2 + bend * bend / 6, xp.expm1(safe) / safe)


def _float(x: ArrayLike) -> jax.Array:
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(float)


def _in(array: Any, x: jax.Array) -> jax.Array:
    return jnp.asarray(array, x.dtype)
