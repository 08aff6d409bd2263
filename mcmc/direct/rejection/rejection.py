"""Rejection sampling: exact draws from any density that a multiple of a proposal's density covers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from mcmc.direct.rejection.rounds import RejectionResult, Rounds, Sizes, missing, run_rounds, size_class, sizes_of
from mcmc.errors import BudgetExhausted, EnvelopeViolation, SamplingError, WrongType, WrongValue
from mcmc.random.draws import threefry
from mcmc.user_code import explaining

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from mcmc.steps.rejection import RejectionSteps

MOST_DRAWS, MOST_PROPOSALS = 2**31 - 2**24, 2**32 - 2**24  # that are counted in 32 bits
ULPS = 32  # a sum of some ten terms, each rounded to a few units in the last place


class RejectionInfo(NamedTuple):
    """What a rejection sampler did. In compiled code arrays, outside numbers.

    Attributes:
        acceptance_rate: accepted proposals, as a share of those made.
        proposed: proposals made; every one was checked against the envelope.
        violations: proposals above the envelope.
        result: a `RejectionResult`.
        mass_bound: with no violation: at 95 % confidence, the share of the proposal's mass where the envelope does not
            hold is below this, 3 / proposed.
        drawn: draws accepted, of those asked for.
        point: a proposal above the envelope, or where a log density is NaN.
        excess: log density − log proposal density − log bound there.
        log_bound_needed: the least log bound that covers the point.
    """

    acceptance_rate: float | jax.Array
    proposed: int | jax.Array
    violations: int | jax.Array
    result: RejectionResult | jax.Array
    mass_bound: float | jax.Array
    drawn: int | jax.Array
    point: Any
    excess: float | jax.Array
    log_bound_needed: float | jax.Array


class Proposal(Protocol):
    """What a rejection sampler proposes from, as NumPyro's distributions have it."""

    def sample(self, key: jax.Array, shape: tuple[int, ...], /) -> Any:
        """Draws of `shape` and the shape of one draw, or a tree of such arrays."""
        ...

    def log_prob(self, x: Any, /) -> jax.Array:
        """The log density of one draw."""
        ...


@dataclass(frozen=True, eq=False)
class Rejection:
    r"""Independent draws from f / ∫f, given a proposal g with f(x) ≤ c g(x).

    Draw y ~ g and u ~ U(0, 1), and keep y where log u < log f(y) − log g(y) − log c: the y that are kept have density
    f / ∫f, and the share that is kept is ∫f / c. The comparison is strict and u is never 0. Every proposal is checked:
    one with log f − log g − log c above 32 units in the last place of the numbers that are summed, to which the sum
    may be rounded, is a violation, and there are no draws. Draws depend on the key and the shape alone.

    Args:
        log_density: log f(x) of one point, up to a constant; called as `log_density(x, *params)`.
        proposal: an object with `sample(key, shape)` and `log_prob(x)`, as NumPyro's distributions have; draws of any
            shape, or a tree of arrays. With `sample_and_log_prob(key, shape)` too, that is used.
        log_bound: log c, with log f(x) − log g(x) ≤ log c for all x.
        max_proposals: the most proposals that a call makes, in whole blocks and one at least; None: 10⁷, or about 1000
            for each draw if that is more.
        params: arrays that `log_density` takes; they can change without a new program. What the functions capture is
            read when they are compiled.

    Source: von Neumann 1951, Various techniques used in connection with random digits.

    Example:
        >>> import jax, mcmc
        >>> from jax.scipy.stats import norm
        >>> class Uniform:
        ...     def sample(self, key, shape=()):
        ...         return jax.random.uniform(key, shape)
        ...     def log_prob(self, x):
        ...         return 0.0 * x
        >>> hill = Rejection(lambda x: jax.numpy.log(x * (1 - x)), Uniform(), log_bound=-1.386)
        >>> x, info = hill.sample_with_info(jax.random.key(0), (1000,))
        >>> x.shape, bool(abs(info.acceptance_rate - 2 / 3) < 0.03)
        ((1000,), True)
    """

    log_density: Callable[..., jax.Array]
    proposal: Proposal
    log_bound: ArrayLike
    max_proposals: int | None = field(default=None, kw_only=True)
    params: tuple = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        if not callable(self.log_density):
            raise WrongType("log_density", self.log_density, "a function of one point", "Give log f.")
        for name in ("sample", "log_prob"):
            if not callable(getattr(self.proposal, name, None)):
                remedy = "Without a proposal, Rejection.fit finds an envelope of its own (in one dimension)."
                expected = "an object with sample(key, shape) and log_prob(x)"
                raise WrongType("proposal", self.proposal, expected, remedy)
        known = isinstance(self.log_bound, int | float | np.ndarray | np.generic)
        if known and (np.ndim(self.log_bound) or not np.isfinite(self.log_bound)):
            raise WrongValue("log_bound", self.log_bound, "a finite number", "Give the maximum of log f - log g.")
        most = self.max_proposals
        if most is not None and not (isinstance(most, int) and 1 <= most <= MOST_PROPOSALS):
            raise WrongValue("max_proposals", most, f"None or 1 to {MOST_PROPOSALS}", "It is a number a call.")

    @classmethod
    def fit(
        cls,
        log_density: Callable[..., jax.Array],
        support: tuple[float, float],
        *,
        breaks: Sequence[float] = (),
        params: Sequence[ArrayLike] = (),
    ) -> Rejection:
        r"""A rejection sampler of one dimension that finds its own envelope.

        With h = −1/√f, the envelope is −1/√f = a straight line in each of its pieces: a tangent of h where that is
        concave (as it is wherever log f is), a chord where it is convex. What it rests on is in `proof`:

        - "log-concave tangents": (log f)″ ≤ 0 at all points;
        - "T-concave": h″ ≤ 0 at all points;
        - "piecewise T-concave": h″ changes sign at most once in each piece;
        - "unproven bound": in some piece none of these was found, and the highest value there was raised.

        "All points" are 17 in each piece: a narrower feature is missed, and only the audit of every draw can find it.
        The envelope is found in float64 on the host, whatever the flags. Draws come in JAX's default dtype: the log
        bound includes the measured float32 rounding of the tables and the log density. Heavy tails and a pole at 0
        get logarithmic coordinates.

        Args:
            log_density: log f(x), up to a constant, called as `log_density(x, *params)`: of a scalar in `jax.numpy`,
                elementwise in NumPy or SciPy, or of one number, with branches and `math`. What JAX can't trace is
                evaluated on the host, a block of proposals a call.
            support: (low, high), where the density is not zero; either may be infinite.
            breaks: where the density jumps, has a kink or a pole.
            params: arrays, not traced ones.

        Raises:
            ValueError: a bad support or bad breaks. SamplingError: NaN, +inf inside, zero everywhere, a pole elsewhere
                than at 0, or no envelope found.

        Source: Gilks & Wild 1992; Hörmann 1995; Leydold & Hörmann 2011 (Tinflex).

        Example:
            >>> import jax, mcmc
            >>> gamma = Rejection.fit(lambda x: 1.5 * jax.numpy.log(x) - x, (0.0, float("inf")))
            >>> gamma.proof, gamma.acceptance_rate > 0.95
            ('log-concave tangents', True)
            >>> gamma.sample(jax.random.key(0), (3,)).shape
            (3,)
        """
        from mcmc.direct.front_door import as_given
        from mcmc.direct.rejection.envelope_scan import find_envelope

        params = tuple(params)
        if _traced(params):
            remedy = "Fit outside of compiled code, or use mcmc.InverseCDF.fit, whose params may be traced."
            raise WrongType("params", params, "arrays that are known", remedy)
        low, high = _support(support)
        inner = tuple(float(b) for b in breaks)
        if not all(low < b < high for b in inner):
            raise WrongValue("breaks", inner, f"points inside ({low}, {high})", "Leave out the ends.")
        if not callable(log_density):
            raise WrongType("log_density", log_density, "a function of x", "Give log f(x, *params).")
        with explaining("log_density", log_density, "Rejection"):
            points = _inside(low, high, inner)
            function, params = as_given("log_density", log_density, params, points, (low, high), scalar=True)
            envelope, log_bound = find_envelope(function, (low, high), inner, params)
        return cls(function, envelope, log_bound, params=params)

    def sample(self, key: jax.Array, shape: int | tuple[int, ...] = ()) -> Any:
        """Draws of `shape` and the shape of one draw.

        Raises:
            EnvelopeViolation, BudgetExhausted, SamplingError: as in `sample_with_info`. In compiled code, where nothing
                can be raised, all draws are NaN then (of integers, the least).
        """
        draws, info = self.sample_with_info(key, shape)
        if not _traced(info):
            return draws
        good = info.result == RejectionResult.OK
        return jax.tree.map(lambda y: jnp.where(good, y, jnp.asarray(missing(y.dtype), y.dtype)), draws)

    def sample_with_info(self, key: jax.Array, shape: int | tuple[int, ...] = ()) -> tuple[Any, RejectionInfo]:
        """Draws of `shape` and the shape of one draw, with a `RejectionInfo`.

        In compiled code nothing is raised: `info.result` says what happened, and what is not drawn is NaN (of integers,
        the least). A run of this outside compiled code compiles once for a class of sizes.

        Raises:
            EnvelopeViolation: a proposal was above the envelope. BudgetExhausted: `max_proposals` were made.
            SamplingError: a log density is NaN.
        """
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        n = math.prod(shape)
        if n > MOST_DRAWS:
            raise WrongValue("shape", shape, f"at most {MOST_DRAWS} draws a call", "Draw in parts.")
        key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
        room = size_class(n)
        most = self.max_proposals or min(max(10**7, 1000 * room), MOST_PROPOSALS)
        sizes = sizes_of(n, most, n if _traced((self, key)) else room)
        draws, info = _draw(self._for_draws(), key, np.int32(n), sizes)
        if not _traced(info):
            info = _checked(info, n)
        return jax.tree.map(lambda y: (y if y.shape[0] == n else y[:n]).reshape(*shape, *y.shape[1:]), draws), info

    def steps(self, key: jax.Array, n: int) -> RejectionSteps:
        """What `sample(key, (n,))` does, proposal by proposal, for `mcmc.plot_steps`: plain arrays, nothing raised.

        An envelope that is too low shows as a ratio above 1. At most 200,000 proposals are made, or `max_proposals`.

        Raises:
            ValueError: n is not from 1 to 10,000.

        Example:
            >>> import jax, mcmc
            >>> gamma = Rejection.fit(lambda x: 1.5 * jax.numpy.log(x) - x, (0.0, float("inf")))
            >>> steps = gamma.steps(jax.random.key(0), 10)
            >>> bool((steps.proposal[steps.accepted] == gamma.sample(jax.random.key(0), (10,))).all())
            True
        """
        from mcmc.steps.rejection import rejection_steps

        return rejection_steps(self, key, n)

    def log_prob(self, x: Any) -> jax.Array:
        """The log density at x, up to a constant; for x of any leading shape."""
        one = jax.eval_shape(lambda: _sampler(self.proposal)(jax.random.key(0), ()))
        lead = jnp.shape(jax.tree.leaves(x)[0])
        lead = lead[: len(lead) - jax.tree.leaves(one)[0].ndim]
        flat = jax.tree.map(lambda a, b: jnp.reshape(jnp.asarray(a), (-1, *b.shape)), x, one)
        value = jax.vmap(lambda y: self.log_density(y, *self.params))(flat).reshape(lead)
        inside = getattr(self.proposal, "inside", None)
        return value if inside is None else jnp.where(inside(x), value, -jnp.inf)

    @property
    def proof(self) -> str:
        """Why the envelope holds: what `fit` found, or "given"."""
        return getattr(self.proposal, "proof", "given")

    @property
    def acceptance_rate(self) -> float | None:
        """The acceptance rate that `fit` expects; None for a proposal of your own."""
        rate = getattr(self.proposal, "acceptance_rate", None)
        return None if rate is None else float(rate)

    def _for_draws(self) -> Rejection:
        for_draws = getattr(self.proposal, "for_draws", None)
        return self if for_draws is None else replace(self, proposal=for_draws(jnp.result_type(float)))

    def _propose(self, block: int, key: jax.Array) -> tuple[Any, jax.Array]:
        sample_and_log_prob = getattr(self.proposal, "sample_and_log_prob", None)
        if sample_and_log_prob is not None:
            return sample_and_log_prob(key, (block,))
        draws = _sampler(self.proposal)(key, (block,))
        log_g = jax.vmap(self.proposal.log_prob)(draws)
        if log_g.shape != (block,):
            remedy = "A NumPyro distribution with a batch shape becomes one of vectors by .to_event(1)."
            raise WrongValue("proposal", f"log_prob of shape {log_g.shape[1:]}", "a number for a draw", remedy)
        return draws, log_g

    def _ratio(self, draws: Any, log_g: jax.Array) -> tuple[jax.Array, jax.Array]:
        """log f − log g − log c, and how far above 0 rounding may take it."""
        log_f = jax.vmap(lambda y: self.log_density(y, *self.params))(draws)
        if log_f.shape != log_g.shape:
            shape = f"shape {log_f.shape[1:]} at a draw of shape {jax.tree.map(lambda y: y.shape[1:], draws)}"
            raise WrongValue("log_density", shape, "a scalar for one draw", "Sum over the draw's components.")
        log_c = jnp.asarray(self.log_bound, jnp.result_type(log_f, log_g))
        ratio = jnp.where(log_f == -jnp.inf, -jnp.inf, log_f - log_g - log_c)
        slack = ULPS * jnp.finfo(ratio.dtype).eps * (1 + jnp.abs(log_g) + jnp.abs(log_c))
        return ratio, jnp.minimum(slack, 1)


def _support(support: Any) -> tuple[float, float]:
    expected = "(low, high) with low < high; they may be infinite"
    try:
        low, high = (float(end) for end in support)
    except (TypeError, ValueError):
        raise WrongValue("support", support, expected, "Give two numbers.") from None
    if not low < high:
        raise WrongValue("support", support, expected, "Put the lower end first.")
    return low, high


def _inside(low: float, high: float, breaks: tuple[float, ...]) -> np.ndarray:
    """Some points in the support, none of them a break."""
    a = low if math.isfinite(low) else min(high, 3.0) - 3.0 if math.isfinite(high) else -1.7
    b = high if math.isfinite(high) else a + 3.4
    return np.setdiff1d(a + (b - a) * np.array([0.31, 0.52, 0.73, 0.47, 0.29]), breaks)


def _flatten(self: Rejection) -> tuple[tuple, tuple]:
    """Arrays are leaves; functions, and proposals that are no tree of arrays, are static by identity."""
    tree = all(isinstance(leaf, jax.Array | np.ndarray | np.generic | int | float) for leaf in _leaves(self.proposal))
    static = (self.log_density, self.max_proposals, None if tree else _Same(self.proposal))
    return (self.proposal if tree else None, self.log_bound, self.params), static


def _unflatten(static: tuple, leaves: tuple) -> Rejection:
    new = object.__new__(Rejection)
    log_density, max_proposals, same = static
    proposal, log_bound, params = leaves
    fields = (log_density, same.value if same else proposal, log_bound, max_proposals, params)
    for name, value in zip(Rejection.__dataclass_fields__, fields, strict=True):
        object.__setattr__(new, name, value)
    return new


jax.tree_util.register_pytree_node(Rejection, _flatten, _unflatten)


@dataclass(frozen=True, eq=False)
class _Same:
    """An object that equals itself alone."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _leaves(tree: Any) -> list:
    return jax.tree.leaves(tree)


def _traced(tree: Any) -> bool:
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))


def _sampler(proposal: Any) -> Callable:
    """`sample`, given keys of JAX's default implementation if it takes no other."""

    def sample(key: jax.Array, shape: tuple) -> Any:
        try:
            return jax.tree.map(jnp.asarray, proposal.sample(key, shape))
        except RuntimeError:  # some of jax.random take keys of the default kind only; what else fails will fail again
            return jax.tree.map(jnp.asarray, proposal.sample(threefry(key), shape))

    return sample


@partial(jax.jit, static_argnames="sizes")
def _draw(rejection: Rejection, key: jax.Array, n: Any, sizes: Sizes) -> tuple[Any, RejectionInfo]:
    end = run_rounds(key, partial(rejection._propose, sizes.block), rejection._ratio, n, sizes)
    return end.draws, _info(end, rejection.log_bound, sizes, n)


def _info(end: Rounds, log_bound: Any, sizes: Sizes, n: Any) -> RejectionInfo:
    proposed = end.done.astype(jnp.uint32) * np.uint32(sizes.block * sizes.blocks)
    made = proposed.astype(jnp.float32)
    return RejectionInfo(
        acceptance_rate=end.accepted / made,
        proposed=proposed,
        violations=end.violations,
        result=end.result,
        mass_bound=3 / made,
        drawn=jnp.minimum(end.accepted, n),
        point=end.point,
        excess=end.excess,
        log_bound_needed=log_bound + jnp.maximum(end.excess, 0),
    )


def _checked(info: Any, n: int) -> RejectionInfo:
    """The info in numbers, or the error that it stands for."""
    info = jax.tree.map(lambda a: a.item() if np.ndim(a) == 0 else a, jax.device_get(info))
    info = info._replace(result=RejectionResult(info.result))
    remedy = info.result.remedy
    if info.result == RejectionResult.VIOLATION:
        raise EnvelopeViolation(
            f"log_bound: the envelope is below the density at {info.point}, by {info.excess:.6g} in logs "
            f"({info.violations} of the last proposals, {info.proposed:,} in all); {info.log_bound_needed:.9g} would "
            f"cover this point. {remedy}",
            point=info.point,
            excess=info.excess,
            log_bound_needed=info.log_bound_needed,
        )
    if info.result == RejectionResult.EXHAUSTED:
        rate = info.acceptance_rate
        needed = n / rate if rate else math.inf
        raise BudgetExhausted(
            f"max_proposals: {info.proposed:,} proposals gave {info.drawn:,} of {n:,} draws (acceptance rate "
            f"{rate:.3g}); all would take about {needed:.3g}. {remedy}",
            acceptance_rate=rate,
            drawn=info.drawn,
            needed=needed,
        )
    if info.result == RejectionResult.NONFINITE:
        raise SamplingError(f"log_density - proposal.log_prob is NaN at {info.point}. {remedy}")
    return info
