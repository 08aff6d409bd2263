"""Whole numbers and booleans, one coordinate after another, each from its conditional law."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.errors import WrongValue
from mcmc.kernels.metropolis import ChainInfo, ChainState
from mcmc.random.draws import bits, uniform_open
from mcmc.words import kernel_words

MOST = 128  # values that are enumerated; of a wider range, lattices
POINTS = 16  # of a lattice
OCTAVES, FARTHEST = 3, 20  # log2 of the ratio of the spacings of two lattices, and of the widest spacing
CHOICE, SHIFT, OCTAVE = range(3)


class Visits(NamedTuple):
    """What a sweep does in turn: a coordinate, a uniform, the first candidate (or the steps to it), the spacing."""

    coordinate: jax.Array
    uniform: jax.Array
    first: jax.Array
    spacing: jax.Array


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DiscreteGibbs:
    r"""Gibbs sampling of integers and booleans, coordinate by coordinate: x_i ~ π(x_i | all others), drawn exactly.

    A coordinate with fixed bounds and at most 128 values is drawn from all of them. A wider or unbounded one is
    drawn from 16 points of a lattice through the current value, π(x_i | others) restricted to it, for several
    spacings from far to near (powers of two up to 2²⁰): with k the current value's place on its lattice, uniform on
    0..15, every point would have chosen that lattice as often, so each draw is reversible. Nothing is tuned.

    A sweep costs, in log densities a coordinate, the number of its values, or 16 for each spacing (112 where there
    is no bound); it is one compiled body. `acceptance_rate` is 1, as always in Gibbs sampling; `accepted` says
    whether a value changed.

    Args:
        supports: filled in by `sample`: the supports of the coordinates.

    Raises:
        ValueError: for a continuous parameter.

    Source: Geman & Geman 1984; Liu, Liang & Wong 2000 (draws from random sets that hold the current point).

    Example:
        >>> import mcmc
        >>> target = mcmc.Target(lambda p: p["n"] * 0.5, {"n": mcmc.integer(0, 9)})
        >>> draws = mcmc.sample(target, mcmc.DiscreteGibbs(), progress=False)
        >>> draws.posterior["n"].dtype
        dtype('int32')
    """

    supports: Any = field(default=None, metadata={"static": True})
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = True

    def bind(self, space: Any, dtype: Any) -> DiscreteGibbs:
        """The kernel for these parameters, all of them discrete."""
        for leaf in space.leaves:
            if not leaf.support.discrete:
                remedy = "Give it a kernel of its own: mcmc.Gibbs({...})."
                raise WrongValue("kernel", f"DiscreteGibbs for {leaf.name!r}", "discrete parameters only", remedy)
        return DiscreteGibbs(tuple(leaf.support for leaf in space.leaves))

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One sweep over the coordinates of one chain."""
        if self.supports is None:
            remedy = "Use it in mcmc.sample, or call its bind(target, dtype) first."
            raise WrongValue("DiscreteGibbs.supports", None, "the supports of the coordinates", remedy)
        carry, start = (state, jnp.zeros((), bool)), 0
        for n, support in enumerate(self.supports):
            low, count = _range(support)
            own, dtype = jax.random.fold_in(key, n), state.position.dtype
            if low is not None and count <= MOST:
                visits, visit = _all_values(own, start, low, dtype), _visitor(log_density, count, True)
            else:
                visits, visit = _lattices(own, start, support.size, count, dtype), _visitor(log_density, POINTS, False)
            carry = lax.scan(visit, carry, visits)[0]
            start += support.size
        new, nonfinite = carry
        one = jnp.ones((), state.lp.dtype)
        return new, ChainInfo(one, jnp.any(new.position != state.position), nonfinite)


def _range(support: Any) -> tuple[np.ndarray | None, int]:
    """The least value of each coordinate, where both bounds are fixed, and the most values that one may have."""
    if type(support).__name__ == "Boolean":
        return np.zeros(support.size), 2
    low, high = support.a, support.b
    if any(end is None or callable(end) for end in (low, high)):
        return None, POINTS << FARTHEST
    low, high = (np.broadcast_to(np.asarray(end), support.shape).reshape(-1) for end in (low, high))
    return low, int(np.max(high - low)) + 1


def _all_values(key: jax.Array, start: int, low: np.ndarray, dtype: Any) -> Visits:
    """One visit a coordinate, from its least value on."""
    u = uniform_open(key, low.shape, dtype, stream=CHOICE)
    return Visits(
        jnp.arange(start, start + len(low), dtype=jnp.int32), u, jnp.asarray(low, dtype), jnp.ones(low.shape, dtype)
    )


def _lattices(key: jax.Array, start: int, size: int, count: int, dtype: Any) -> Visits:
    """A visit for every coordinate and spacing, wide spacings first."""
    widest = min(FARTHEST, int(np.ceil(np.log2(count / POINTS))))
    octaves = OCTAVES * np.arange(widest // OCTAVES, -1, -1)
    coordinate, octave = (a.reshape(-1) for a in np.meshgrid(np.arange(start, start + size), octaves, indexing="ij"))
    coordinate = coordinate.astype(np.int32)
    shift = bits(key, 32, coordinate.shape, SHIFT) % np.uint32(POINTS)
    between = bits(key, 32, coordinate.shape, OCTAVE) % np.uint32(OCTAVES)
    spacing = jnp.exp2(octave + between.astype(dtype)).astype(dtype)
    u = uniform_open(key, coordinate.shape, dtype, stream=CHOICE)
    return Visits(jnp.asarray(coordinate), u, shift.astype(dtype), jnp.round(spacing))


def _visitor(log_density: Any, points: int, from_low: bool) -> Any:
    """Draw one coordinate from its conditional law on `points` candidates."""

    def visit(carry: tuple, at: Visits) -> tuple:
        state, nonfinite = carry
        mine = jnp.arange(state.position.shape[0]) == at.coordinate
        here = jnp.sum(jnp.where(mine, state.position, 0.0))
        first = at.first if from_low else here - at.first * at.spacing
        values = first + at.spacing * jnp.arange(points, dtype=here.dtype)
        lps = jax.vmap(lambda value: log_density(jnp.where(mine, value, state.position)))(values)
        chosen = _choose(at.uniform, lps, jnp.argmin(jnp.abs(values - here)))
        new = ChainState(jnp.where(mine, values[chosen], state.position), lps[chosen])
        return (new, nonfinite | (jnp.any(jnp.isnan(lps)) & (state.lp < jnp.inf))), None

    return visit


def _choose(u: jax.Array, lps: jax.Array, current: jax.Array) -> jax.Array:
    """An index with probability ∝ exp(lps): NaN has none, +inf all; the current one where none has any."""
    largest = jnp.max(jnp.where(jnp.isnan(lps), -jnp.inf, lps))
    weights = jnp.where(lps == largest, 1.0, jnp.exp(lps - largest))
    possible = (weights > 0) & (lps > -jnp.inf)
    total = jnp.cumsum(jnp.where(possible, weights, 0.0))
    total = jnp.where(possible, total, -jnp.inf)  # a sum's rounding must not choose what has no weight
    return jnp.where(largest > -jnp.inf, jnp.argmax(total > u * jnp.max(total)), current)
