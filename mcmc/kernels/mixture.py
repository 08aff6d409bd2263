"""A mixture of kernels: in every iteration one of them, drawn at random, moves all chains."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.kernels.direct import Direct
from mcmc.kernels.gibbs import Gibbs
from mcmc.kernels.metropolis import ChainState
from mcmc.kernels.smc import SMC
from mcmc.kernels.tempered import Tempered
from mcmc.random.draws import uniform_open
from mcmc.target import proposals
from mcmc.target.space import Space
from mcmc.words import kernel_words

FORM = "mcmc.Mixture([mcmc.Stretch(), mcmc.KDE()], weights=[0.8, 0.2])"


class MixtureInfo(NamedTuple):
    """What the chosen kernel did; of each kernel its acceptance rate where it was chosen, and whether it was."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    rates: jax.Array


class MixtureTrajectoryInfo(NamedTuple):
    """The same where a kernel follows trajectories: whether this one diverges, and its leapfrog steps."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    rates: jax.Array
    diverging: jax.Array
    n_steps: jax.Array


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixture:
    r"""A mixture of kernels, P = Σ wₖ Pₖ: each iteration is a step of one of them, drawn with probabilities w.

    Each leaves the target invariant, so their mixture does. One is drawn for all chains together, so that no chain
    waits for another; every kernel is tuned by itself from the iterations in which it was drawn. Ensemble moves and
    kernels of one chain may be mixed.

    Args:
        kernels: two or more. Any will do but `Gibbs`, `Direct`, `Tempered`, `SMC` and another mixture.
        weights: a positive number for each, in proportion to its probability; None: equal.
        which: filled in by the engine: the kernel of this iteration.

    Raises:
        ValueError, TypeError: for fewer than two kernels, weights that are no positive numbers, a kernel that can't be
            one of several.

    Source: Tierney 1994; emcee's `moves=[(move, weight), ...]`.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.Mixture([mcmc.DifferentialEvolution(), mcmc.KDE()], weights=[0.8, 0.2])
    """

    kernels: Any
    weights: Any = None
    which: Any = None
    several: ClassVar[bool] = True

    @property
    def ensemble(self) -> bool:
        """Whether a kernel moves chains by each other."""
        return any(map(_is_ensemble, self._given))

    @property
    def needs_gradient(self) -> bool:
        """Whether a kernel uses gradients."""
        return any(getattr(kernel, "needs_gradient", False) for kernel in self._given)

    @property
    def takes_discrete(self) -> bool:
        """Whether all kernels move discrete parameters."""
        return all(getattr(kernel, "takes_discrete", False) for kernel in self._given)

    @property
    def _given(self) -> Any:
        return self.kernels if isinstance(self.kernels, list | tuple) else ()  # anything else is refused by `check`

    def summary_rate(self, rates: Any) -> Any:
        """The acceptance rate to report: that of the iterations."""
        return rates[: len(self.kernels)].sum()

    def check(self) -> Iterator[Any]:
        """The kernels; ValueError or TypeError for what can't be a mixture."""
        if not isinstance(self.kernels, list | tuple) or len(self.kernels) < 2:
            raise WrongType("kernels", self.kernels, "a list of two kernels or more", f"Write {FORM}.")
        weights_of(self.weights, len(self.kernels))
        for kernel in self.kernels:
            if isinstance(kernel, Gibbs | Direct | Tempered | SMC | Mixture):
                name, remedy = type(kernel).__name__, "Use mcmc.HMC(), mcmc.RandomWalk(), mcmc.Stretch(), ..."
                raise WrongValue("kernels", name, "kernels that can be one of several", remedy)
            yield kernel

    def bind(self, target: Space, dtype: Any) -> Mixture:
        """The kernel with its users' proposals put on the target's positions."""
        return dataclasses.replace(self, kernels=[proposals.bind(k, target, dtype) for k in self.check()])

    def each_draw(self, key: jax.Array) -> Mixture:
        """The kernel of one iteration, the same for all chains: which it is, and what it draws for them."""
        drawing = [getattr(kernel, "each_draw", None) for kernel in self.kernels]
        kernels = [d(jax.random.fold_in(key, i)) if d else self.kernels[i] for i, d in enumerate(drawing)]
        return dataclasses.replace(self, kernels=kernels, which=self._drawn(key))

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`, or of all of an ensemble."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, NamedTuple]:
        """One transition by the kernel of this iteration."""
        which = self._drawn(key) if self.which is None else self.which
        move = _move_all if self.ensemble else _move
        follows = any(hasattr(kernel, "max_steps") or hasattr(kernel, "max_tree_depth") for kernel in self.kernels)
        moves = [partial(_told, move, kernel, follows) for kernel in self.kernels]
        given = jax.random.fold_in(key, len(moves)), state
        new, info = jax.lax.switch(which, [partial(m, log_density) for m in moves], *given)
        there = jnp.arange(len(moves)) == which
        rate = info["acceptance_rate"]
        rates = jnp.concatenate([there * rate[..., None], jnp.broadcast_to(there, (*rate.shape, len(moves)))], -1)
        kind = MixtureTrajectoryInfo if follows else MixtureInfo
        return new, kind(**info, rates=rates.astype(state.lp.dtype))

    def _drawn(self, key: jax.Array) -> jax.Array:
        weights = np.ones(len(self.kernels)) if self.weights is None else self.weights
        ends = jnp.cumsum(jnp.asarray(weights, jnp.float32))
        u = uniform_open(key, (), jnp.float32)
        return jnp.minimum(jnp.sum(u * ends[-1] > ends, dtype=jnp.int32), len(self.kernels) - 1)


def weights_of(weights: Any, count: int) -> np.ndarray:
    """Weights of so many kernels; ValueError where these are not positive numbers, one a kernel."""
    if weights is None:
        return np.ones(count)
    try:
        numbers = np.asarray(weights, float)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not (np.isfinite(numbers) & (numbers > 0)).all():
        remedy = "Leave them out for equal ones."
        raise WrongValue("weights", weights, f"{count} positive numbers, one a kernel", remedy)
    return numbers


def _is_ensemble(kernel: Any) -> bool:
    return bool(getattr(kernel, "ensemble", False))


def _move(kernel: Any, log_density: Any, key: jax.Array, state: ChainState) -> tuple[Any, Any]:
    """A step of one chain, or of an ensemble by an ensemble's kernel; its log density is known."""
    return kernel.step(key, kernel.init(state.position, log_density)._replace(lp=state.lp), log_density)


def _move_all(kernel: Any, log_density: Any, key: jax.Array, state: ChainState) -> tuple[Any, Any]:
    """A step of an ensemble, each chain by itself where the kernel is one of a chain."""
    if _is_ensemble(kernel):
        return _move(kernel, log_density, key, state)

    def one(key: jax.Array, state: ChainState) -> tuple[Any, Any]:
        return _move(kernel, lambda y: log_density(y[None])[0], key, state)

    return jax.vmap(one)(jax.random.split(key, len(state.lp)), state)


def _told(
    move: Any, kernel: Any, follows: bool, log_density: Any, key: jax.Array, state: ChainState
) -> tuple[ChainState, dict[str, jax.Array]]:
    """A kernel's move with what all of them say of it."""
    new, info = move(kernel, log_density, key, state)

    def said(name: str, dtype: Any, otherwise: Any) -> jax.Array:
        return jnp.broadcast_to(jnp.asarray(getattr(info, name, otherwise), dtype), state.lp.shape)

    found = {"acceptance_rate": said("acceptance_rate", state.lp.dtype, 1.0)}
    found |= {"accepted": said("accepted", bool, True), "nonfinite": said("nonfinite", bool, False)}
    if follows:
        found |= {"diverging": said("diverging", bool, False), "n_steps": said("n_steps", jnp.int32, 1)}
    return ChainState(new.position, new.lp.astype(state.lp.dtype)), found
