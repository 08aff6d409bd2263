"""InverseCDF: numerical inversion of a one-dimensional density; one setup, then one table look-up a draw."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import DTypeLike
from numpy.typing import ArrayLike

from mcmc.direct.front_door import as_given
from mcmc.direct.inverse_cdf import evaluate, traced
from mcmc.direct.inverse_cdf.adaptive import set_up
from mcmc.direct.inverse_cdf.arguments import (
    as_float,
    check_breaks,
    check_dtype,
    check_support,
    check_tol,
    hashable,
    within,
)
from mcmc.direct.inverse_cdf.cumulative import Ranges
from mcmc.direct.inverse_cdf.evaluate import cast, invert
from mcmc.direct.inverse_cdf.far import Far
from mcmc.direct.inverse_cdf.kernel_density import kernel_density
from mcmc.direct.inverse_cdf.lookup import Table, draw, uniform_sides
from mcmc.direct.inverse_cdf.piecewise import Piecewise, of_histogram, on_grid, spline
from mcmc.direct.inverse_cdf.scan import grid
from mcmc.direct.inverse_cdf.solved import Solved
from mcmc.direct.inverse_cdf.zones import TINY
from mcmc.errors import SamplingError, WrongType, WrongValue
from mcmc.user_code import explaining

if TYPE_CHECKING:
    from mcmc.steps.inverse_cdf import InverseCDFSteps

KNOWN, APART = 16, 1e-6  # points of a setup that another begins with, and how far they are from anchors, relatively


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["table", "ranges", "params", "log_normalizer", "u_error", "far"],
    meta_fields=["log_density", "support"],
)
@dataclass(frozen=True)
class InverseCDF:
    r"""Independent draws from a density known up to a factor: x = Q(u), where Q inverts F(x) = ∫ f up to x.

    Make one with `fit`, from a log density; `from_cdf`, from a distribution function; or `from_icdf`. It is a pytree:
    it may enter jit and vmap, be a proposal of `mcmc.IndependentMetropolis` and be sampled with `mcmc.sample`.

    Attributes:
        log_normalizer: log ∫ exp(log_density).
        u_error: the largest |F(Q(u)) − u| found when the setup checked itself, float64, apart from what the spacing
            of floating-point numbers at x is worth (next to 0 that of 1e-299), and of what may be missed in tails out
            of reach. With traced `params` an estimate.
        support: the ends.

    Source: Derflinger, Hörmann & Leydold 2010, Random variate generation by numerical inversion when only the density
    is known; the look-up is by dyadic cells of u.

    Example:
        >>> import jax
        >>> s = InverseCDF.fit(lambda x: -0.5 * x**2, support=(-float("inf"), float("inf")))
        >>> draws = s.sample(jax.random.key(0), (1000,))
        >>> round(float(s.log_normalizer), 6)  # log √2π
        0.918939
    """

    table: Table
    ranges: Ranges
    params: tuple
    log_normalizer: ArrayLike
    u_error: ArrayLike
    log_density: Callable[..., jax.Array]
    support: tuple[float, float]
    far: Far | None = None

    @staticmethod
    def fit(
        log_density: Callable[..., jax.Array],
        support: tuple[float, float],
        *,
        breaks: tuple[float, ...] = (),
        tol: float | None = None,
        params: tuple = (),
    ) -> InverseCDF:
        """Set up the inverse CDF of a density: |F(Q(u)) − u| ≤ tol, checked.

        Args:
            log_density: log f(x, *params), unnormalised: elementwise in jax.numpy, NumPy or SciPy (an array of points
                in, an array of that shape out), or of one number at a time, with branches and `math`. What JAX can't
                trace is evaluated on the host. It is called inside the support only.
            support: the ends, numbers or infinite.
            breaks: points of which the setup should know: modes too narrow to be found. Jumps, gaps, kinks, poles and
                points where the function is 0/0 are found without. The density is not called at breaks.
            tol: the u-error allowed, from 1e-12 to 0.01; None: 1e-10.
            params: more arguments of log_density. Traced ones (under jit, vmap or grad) make the setup one of a
                fixed number of panels inside the compiled program, in its precision, without a tolerance (see
                `u_error`); draws and quantiles are then differentiable with respect to them.

        Raises:
            ValueError, TypeError: a bad argument. SamplingError: no finite log density, NaN or +inf inside the
                support at more than single points (`.position` says where), an infinite integral, or a tolerance that
                is not reached.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> median = lambda a: InverseCDF.fit(lambda x, a: -a * x, (0.0, float("inf")), params=(a,)).icdf(0.5)
            >>> round(float(jax.grad(median)(2.0)), 4)  # of log 2 / a: -log 2 / a²
            -0.1733
        """
        if not callable(log_density):
            raise WrongType("log_density", log_density, "a function of x", "Give log f(x, *params).")
        log_density, ends = hashable(log_density), check_support(support)
        points = check_breaks(breaks, ends)
        allowed = check_tol(tol)
        if not isinstance(params, tuple | list):
            raise WrongType("params", params, "a tuple of arguments", "Write params=(a,) for one parameter a.")
        params = tuple(params)
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
            if tol is not None:
                remedy = "Leave it out, and check u_error."
                raise WrongValue("tol", tol, "None with traced params", remedy)
            with explaining("log_density", log_density, "InverseCDF"):
                found = traced.setup(log_density, params, ends, points)
            table, ranges, log_normalizer, u_error = found
            return InverseCDF(table, ranges, params, log_normalizer, u_error, log_density, ends)
        params = jax.tree.map(lambda a: a if isinstance(a, bool | int | str) else np.asarray(a), params)
        with _on_host(), explaining("log_density", log_density, "InverseCDF"):
            inner = grid(ends, points)
            density, params = as_given("log_density", log_density, params, inner[len(inner) // 2 :], ends, scalar=False)
            table, ranges, log_normalizer, u_error, far = set_up(density, ends, points, allowed, params)
            return InverseCDF(table, ranges, params, log_normalizer, u_error, density, ends, far)

    @staticmethod
    def from_cdf(cdf: Callable[..., jax.Array], support: tuple[float, float], *, params: tuple = ()) -> Solved:
        """Invert a distribution function, by bisection and Newton steps, bounded in number.

        Args:
            cdf: F(x, *params), rising from 0 to 1 over the support, elementwise, in jax.numpy.
            support: the ends, numbers or infinite.
            params: more arguments of cdf; quantiles are differentiable with respect to them.

        Raises:
            ValueError, TypeError: a bad argument; a cdf that is not 0 and 1 at the ends or falls between.

        Example:
            >>> import jax.numpy as jnp
            >>> s = InverseCDF.from_cdf(lambda x: 1 - jnp.exp(-x), (0.0, float("inf")))
            >>> round(float(s.icdf(0.5)), 4)
            0.6931
        """
        with explaining("cdf", cdf, "InverseCDF"):
            return Solved.of_cdf(cdf, check_support(support), tuple(params))

    @staticmethod
    def from_grid(
        x: ArrayLike, log_f: ArrayLike, *, kind: Literal["linear", "cubic"] = "linear"
    ) -> Piecewise | InverseCDF:
        """The law of a log density that is known at points.

        Args:
            x: (n,) rising points; the support is from the first to the last.
            log_f: (n,) log f there, unnormalised. -inf is no mass between that point and its neighbours.
            kind: what log f is between: "linear", in closed form; "cubic", a spline, set up and checked as in `fit`.

        Raises:
            ValueError: shapes that differ, points that do not rise, NaN or +inf; -inf with "cubic".

        Example:
            >>> import numpy as np
            >>> x = np.linspace(-8, 8, 200)
            >>> s = InverseCDF.from_grid(x, -0.5 * x**2, kind="cubic")
            >>> abs(float(s.icdf(0.975)) - 1.96) < 1e-3
            True
        """
        if kind == "linear":
            return on_grid(x, log_f)
        if kind != "cubic":
            raise WrongValue("kind", kind, '"linear" or "cubic"', "Choose one of them.")
        return InverseCDF.fit(*spline(x, log_f))

    @staticmethod
    def from_histogram(counts: ArrayLike, edges: ArrayLike) -> Piecewise:
        """The law that is uniform in each bin of a histogram, in closed form.

        Args:
            counts: (n,) counts or weights, not negative.
            edges: (n + 1,) rising, as `numpy.histogram` gives them.

        Raises:
            ValueError: shapes that do not fit, no positive count, edges that do not rise.

        Example:
            >>> float(InverseCDF.from_histogram([1, 3], [0.0, 1.0, 2.0]).icdf(0.25))
            1.0
        """
        return of_histogram(counts, edges)

    @staticmethod
    def from_points(points: ArrayLike, *, bandwidth: float | None = None, tol: float | None = None) -> InverseCDF:
        """The density of points under normal kernels (a KDE), by a fast Gauss transform: 10,000 points as quick as 100.

        Args:
            points: (n,).
            bandwidth: the kernels' standard deviation; None: Silverman's rule, 0.9 min(sd, IQR / 1.34) n^(-1/5).
            tol: as in `fit`.

        Raises:
            ValueError: points that are not finite or all the same, a bandwidth that is not positive.

        Source: Greengard & Strain 1991, The fast Gauss transform; Silverman 1986, Density estimation.

        Example:
            >>> s = InverseCDF.from_points([-1.0, 1.0], bandwidth=1.0)
            >>> abs(float(s.icdf(0.5))) < 1e-6
            True
        """
        return InverseCDF.fit(*kernel_density(points, bandwidth), tol=tol)

    @staticmethod
    def from_icdf(icdf: Callable[..., jax.Array], *, params: tuple = ()) -> Solved:
        """Draw through a quantile function that is known.

        Args:
            icdf: Q(u, *params), rising, elementwise, in jax.numpy, for u in (0, 1).
            params: more arguments of icdf.

        Raises:
            ValueError, TypeError: a bad argument; an icdf that gives NaN or falls.

        Example:
            >>> import jax.numpy as jnp
            >>> s = InverseCDF.from_icdf(lambda u: -jnp.log1p(-u))
            >>> round(float(s.cdf(0.6931472)), 4)
            0.5
        """
        return Solved.of_icdf(icdf, tuple(params))

    def icdf(self, u: ArrayLike) -> jax.Array:
        """Q(u), in the shape of u. 0 and 1 give the ends; outside [0, 1] and NaN give NaN."""
        return evaluate.icdf(self, as_float(u))

    def isf(self, q: ArrayLike) -> jax.Array:
        """Q(1 − q), in the shape of q, with the relative precision of q."""
        return evaluate.isf(self, as_float(q))

    def cdf(self, x: ArrayLike) -> jax.Array:
        """F(x), in the shape of x, by quadrature."""
        return evaluate.cdf(self, as_float(x))

    def sf(self, x: ArrayLike) -> jax.Array:
        """1 − F(x), in the shape of x, by quadrature from the right: small values keep their relative precision."""
        return evaluate.sf(self, as_float(x))

    def truncated(self, low: float = -math.inf, high: float = math.inf, *, tol: float | None = None) -> InverseCDF:
        """The law given that low < x < high, set up again there: exact where the interval's mass is tiny, too.

        Args:
            low: the lower end; the support's holds as well.
            high: the upper end.
            tol: as in `fit`.

        Raises:
            ValueError, SamplingError: as in `fit`; there is no mass between the ends.

        Example:
            >>> s = InverseCDF.fit(lambda x: -0.5 * x**2, (-float("inf"), float("inf")))
            >>> round(float(s.truncated(8.0).icdf(0.5)), 4)  # a tail of mass 6e-16
            8.0853
        """
        ends = within((low, high), self.support)
        known, poles = (), ()
        if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((self.ranges, self.params))):
            x0 = np.unique(np.asarray(self.ranges.x0)[np.asarray(self.ranges.mass) > TINY])
            x0 = x0[(x0 > ends[0]) & (x0 < ends[1])]
            anchors = np.asarray(self.ranges.anchor)[np.asarray(self.ranges.sign) != 0]  # poles are among them
            anchors = np.unique(anchors[(anchors > ends[0]) & (anchors < ends[1])])
            x0 = x0[(np.abs(x0[:, None] - anchors) > APART * np.abs(anchors)).all(1)][:: max(1, x0.size // KNOWN)]
            known, poles = (*x0, *anchors), tuple(anchors)
        for breaks in (known, poles):  # what is near a mode may stand in the way of a setup that finds it alone
            with contextlib.suppress(SamplingError):
                return InverseCDF.fit(self.log_density, ends, breaks=breaks, tol=tol, params=self.params)
        return InverseCDF.fit(self.log_density, ends, tol=tol, params=self.params)

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """log f(x) less the log normaliser; −inf outside the support."""
        return evaluate.log_prob(self, as_float(x))

    def sample(self, key: jax.Array, shape: tuple[int, ...] = (), dtype: DTypeLike | None = None) -> jax.Array:
        """Independent draws: one random word each in float32 (31 bits and a side), two in float64.

        Args:
            key: a JAX key; those of `mcmc.random.philox` are the fastest.
            shape: of the result.
            dtype: float32 or float64; None: JAX's default.

        Example:
            >>> import jax
            >>> s = InverseCDF.fit(lambda x: -x, (0.0, float("inf")))
            >>> s.sample(jax.random.key(0), (2, 3)).shape
            (2, 3)
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = check_dtype(dtype)
        with jax.enable_x64(True) if dtype == jnp.float64 else contextlib.nullcontext():
            if jax.tree.leaves(self.params):
                many = math.prod(shape)
                s = dataclasses.replace(self, table=self.table.cast(dtype), ranges=cast(self.ranges, dtype), far=None)
                return invert(s, *uniform_sides(key, many, dtype)).reshape(shape)
            return draw(self.table.cast(dtype, draws=True), key, shape, dtype)

    def steps(self, key: jax.Array, n: int) -> InverseCDFSteps:
        """What `sample(key, (n,))` does, draw by draw, for `mcmc.plot_steps`: plain arrays, of up to 10,000 draws.

        Raises:
            ValueError: n is not from 1 to 10,000.

        Example:
            >>> import jax
            >>> s = InverseCDF.fit(lambda x: -x, (0.0, float("inf")))
            >>> steps = s.steps(jax.random.key(0), 5)
            >>> bool((steps.x == s.sample(jax.random.key(0), (5,))).all())
            True
        """
        from mcmc.steps.counting import check_count
        from mcmc.steps.inverse_cdf import inverse_cdf_steps

        check_count(n)
        dtype = jnp.dtype(jnp.result_type(float))
        right, w = uniform_sides(key, n, dtype)
        ranges = jax.tree.map(np.asarray, self.ranges)
        edges = np.concatenate([[self.support[0]], np.sort(ranges.x0)[1:], [self.support[1]]])
        masses = ranges.mass.astype(float)
        masses[[0, -1]] += ranges.ends
        return inverse_cdf_steps(self, jnp.where(right, 1 - w, w), self.sample(key, (n,)), edges, masses)


@contextlib.contextmanager
def _on_host() -> Iterator[None]:
    """Evaluate eagerly, in float64, on the CPU, whatever is being traced and whatever the flags."""
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.ensure_compile_time_eval(), jax.enable_x64(True), jax.default_device(cpu), np.errstate(all="ignore"):
        yield
