"""The accept step that every kernel shares, and the kernels that are little more than it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.kernels.metric import Metric, as_metric
from mcmc.random.draws import symmetric_normal, uniform_open
from mcmc.words import kernel_words

if TYPE_CHECKING:
    from jax.typing import ArrayLike

    from mcmc.steps.metropolis import MetropolisSteps

ACCEPT = 1


class Accept(NamedTuple):
    """The outcome of the accept step."""

    accepted: jax.Array
    acceptance_rate: jax.Array
    nonfinite: jax.Array


class ChainState(NamedTuple):
    """Where a chain is: its position (dim,) and the log density there."""

    position: jax.Array
    lp: jax.Array


class ChainInfo(NamedTuple):
    """What one transition did: its acceptance rate, whether it was accepted, whether a NaN was rejected."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array


def accept(key: jax.Array, lp: jax.Array, proposed_lp: jax.Array, log_correction: jax.Array | float = 0.0) -> Accept:
    r"""The Metropolis–Hastings accept step: accept with probability min(1, r).

    log r = proposed_lp − lp + log_correction, where log_correction = log q(from | to) − log q(to | from).
    NaN is rejected and counted, −inf is rejected, +inf is accepted, where the chain stays: the engine makes it an
    error with the place. The uniform is neither 0 nor 1, and comes from a stream of the key of its own: the
    proposal may use the same key. Arrays of log densities are accepted element by element.

    Source: Metropolis et al. 1953; Hastings 1970.

    Example:
        >>> import jax
        >>> bool(accept(jax.random.key(0), 0.0, float("nan")).accepted)
        False
    """
    lp, proposed_lp = jnp.asarray(lp), jnp.asarray(proposed_lp)
    log_ratio = proposed_lp - lp + log_correction
    infinite = (proposed_lp == jnp.inf) & (lp < jnp.inf)
    log_ratio = jnp.where(infinite, jnp.inf, log_ratio)
    nonfinite = jnp.isnan(log_ratio) & (lp < jnp.inf)
    rate = jnp.where(jnp.isnan(log_ratio), 0.0, jnp.exp(jnp.minimum(log_ratio, 0.0)))
    accepted = acceptance_uniform(key, rate.dtype, rate.shape) < rate
    return Accept(accepted, rate, nonfinite)


def acceptance_uniform(key: jax.Array, dtype: Any, shape: tuple[int, ...] = ()) -> jax.Array:
    """The uniforms that `accept` compares acceptance rates with: with their logs a slice, for what wants it earlier."""
    return uniform_open(key, shape, dtype, stream=ACCEPT)


def move(
    key: jax.Array, state: ChainState, to: jax.Array, proposed_lp: jax.Array, log_correction: jax.Array | float = 0.0
) -> tuple[ChainState, ChainInfo]:
    """Accept or stay: the new state and what happened, for kernels whose state is a position and its log density."""
    outcome = accept(key, state.lp, proposed_lp, log_correction)
    new = jax.tree.map(lambda a, b: jnp.where(outcome.accepted, a, b), ChainState(to, proposed_lp), state)
    return new, ChainInfo(outcome.acceptance_rate, outcome.accepted, outcome.nonfinite)


class WithSteps:
    """What kernels have in common whose transition is a proposal (`propose`) and the accept step."""

    if TYPE_CHECKING:
        propose: Any
        init: Any

    def steps(self, key: jax.Array, log_density: Any, start: ArrayLike, n: int) -> MetropolisSteps:
        """The first n transitions of one chain, for `mcmc.plot_steps`: plain arrays, no warmup.

        Args:
            key: a JAX key.
            log_density: log π(x) of a number or a vector, up to a constant, in `jax.numpy`.
            start: where the chain begins, a number or a vector (dim,).
            n: how many transitions, to 10,000.

        Raises:
            ValueError, TypeError: a bad argument; a start where the log density is not finite.

        Example:
            >>> import jax, mcmc
            >>> walk = mcmc.RandomWalk(step_size=1.0)
            >>> steps = walk.steps(jax.random.key(0), lambda x: -0.5 * x**2, start=0.0, n=20)
            >>> moved = steps.uniform < steps.ratio
            >>> bool((steps.position[1:][moved] == steps.proposal[moved]).all())
            True
        """
        from mcmc.steps.metropolis import metropolis_steps

        return metropolis_steps(self, key, log_density, start, n)

    def watched(
        self, key: jax.Array, state: ChainState, log_density: Any, shape: tuple[int, ...]
    ) -> tuple[ChainState, tuple]:
        """One transition, and what decided it: x', log π(x'), the log ratio, the acceptance rate, u, the decision."""
        to, log_correction = self.propose(key, state.position, shape)
        to = to.reshape(state.position.shape)
        lp = log_density(to)
        new, info = move(key, state, to, lp, log_correction)
        u = acceptance_uniform(key, info.acceptance_rate.dtype)
        return new, (to, lp, lp - state.lp + log_correction, info.acceptance_rate, u, info.accepted)


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RandomWalk(WithSteps):
    r"""Random-walk Metropolis: y' = y + ε F z, z standard normal, F Fᵀ the metric.

    Args:
        step_size: ε; None: tuned in warmup to an acceptance rate of 0.234 (0.44 in one dimension).
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.

    Source: Roberts, Gelman & Gilks 1997; Haario, Saksman & Tamminen 2001.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.RandomWalk(step_size=0.5, metric=[1.0, 4.0])
    """

    step_size: Any = None
    metric: Any = None
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return 0.44 if dim == 1 else 0.234

    def default_step_size(self, dim: int) -> float:
        """The optimal step size for a normal target whose covariance is the metric."""
        return 2.38 / dim**0.5

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One transition of one chain."""
        to, log_correction = self.propose(key, state.position)
        return move(key, state, to, log_density(to), log_correction)

    def propose(self, key: jax.Array, position: jax.Array, shape: Any = None) -> tuple[jax.Array, float]:
        """A proposed position, and 0: the walk is symmetric."""
        metric: Metric = as_metric(self.metric, position)
        dim = position.shape[-1]
        step_size = self.default_step_size(dim) if self.step_size is None else self.step_size
        z = symmetric_normal(key, position.shape, position.dtype)
        return position + step_size * metric.scale(z), 0.0


def propose(proposal: Any, key: jax.Array, position: jax.Array, conditional: bool) -> tuple[jax.Array, jax.Array]:
    """A proposed position and log q(from | to) − log q(to | from), densities with respect to positions."""
    if hasattr(proposal, "propose"):
        return proposal.propose(key, position)
    if conditional:
        to = proposal.sample(key, position)
        return to, jnp.sum(proposal.log_prob(position, to)) - jnp.sum(proposal.log_prob(to, position))
    to = proposal.sample(key, ())
    return to, jnp.sum(proposal.log_prob(position)) - jnp.sum(proposal.log_prob(to))


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class MetropolisHastings(WithSteps):
    r"""Metropolis–Hastings with a proposal of your own, for any parameters, discrete ones too.

    A move from x to x' ~ q(· | x) is accepted with probability min(1, π(x') q(x | x') / (π(x) q(x' | x))).

    Args:
        proposal: an object with `sample(key, given) -> to` and `log_prob(to, given)`, both in the constrained
            parameters as the log density has them (a dict; the bare array where there is one parameter), the
            density with respect to them. A proposal with arrays inside may be a pytree: they can then change
            without a new program.

    Source: Hastings 1970.
    """

    proposal: Any
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = True
    conditional: ClassVar[bool] = True

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, ChainInfo]:
        """One transition of one chain."""
        to, log_correction = self.propose(key, state.position)
        return move(key, state, to, log_density(to), log_correction)

    def propose(self, key: jax.Array, position: jax.Array, shape: Any = None) -> tuple[jax.Array, jax.Array]:
        """A proposed position, and log q(from | to) − log q(to | from); the proposal sees points of this shape."""
        given = position if shape is None else position.reshape(shape)
        return propose(self.proposal, key, given, self.conditional)


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IndependentMetropolis(MetropolisHastings):
    r"""Independent Metropolis: x' ~ q, wherever the chain is; accepted by π(x') q(x) / (π(x) q(x')).

    Args:
        proposal: an object with `sample(key, shape)` and `log_prob(x)`, as NumPyro's distributions and this
            package's direct samplers have, or a dict of them by parameter; its tails must not be lighter than the
            target's.

    Source: Tierney 1994.
    """

    conditional: ClassVar[bool] = False
