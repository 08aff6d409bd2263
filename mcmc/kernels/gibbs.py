"""Gibbs sampling: kernels in turn, each for a block of the parameters, the others fixed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from mcmc.errors import WrongType, WrongValue
from mcmc.kernels.direct import Direct
from mcmc.kernels.discrete import DiscreteGibbs
from mcmc.kernels.hmc import HMC
from mcmc.kernels.metropolis import ChainState, RandomWalk
from mcmc.target import proposals
from mcmc.target.blocks import Block
from mcmc.target.space import Space
from mcmc.words import kernel_words


class GibbsInfo(NamedTuple):
    """What one sweep did: its mean acceptance rate and the rate of each block; `accepted` and `nonfinite` of any."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    rates: jax.Array


class GibbsTrajectoryInfo(NamedTuple):
    """The same where a block follows trajectories: whether one diverges, and the sum of their leapfrog steps."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    rates: jax.Array
    diverging: jax.Array
    n_steps: jax.Array


@jax.tree_util.register_pytree_with_keys_class
@kernel_words
@dataclass(frozen=True)
class Gibbs:
    r"""Kernels in turn, each for a block of parameters given the others: one sweep over the blocks is one draw.

    The kernel of block B leaves π(y_B | y_others) ∝ π(y) invariant, so the sweep leaves π invariant. Blocks move in
    the order given, in unconstrained coordinates and under the density of all parameters, Jacobians included, so
    that bounds which are functions of other blocks' parameters stay right. Each block is tuned by itself in warmup.

    Args:
        blocks: a dict from a parameter's name, or a tuple of names, to the kernel that moves these parameters.
            Every parameter of the target must be in exactly one block. Any kernel for one chain will do: gradient
            kernels for continuous blocks, `DiscreteGibbs` for integers and booleans, `MetropolisHastings` with a
            proposal that concerns the block's parameters only (a dict of them, or the bare array of one).
        spaces: filled in by `sample`: the blocks' places in the target.

    Raises:
        ValueError, TypeError: for a name that is unknown, missing or given twice; for a kernel that can't be one of a
            block (an ensemble, `Direct`, a `Mixture`, another `Gibbs`), or can't move its parameters.

    Source: Geman & Geman 1984; Gelfand & Smith 1990; Tierney 1994 (Metropolis within Gibbs).

    Example:
        >>> import mcmc
        >>> def log_density(p):  # n is geometric, x normal around it
        ...     return -0.5 * (p["x"] - p["n"]) ** 2 - 0.1 * p["n"]
        >>> target = mcmc.Target(log_density, {"x": mcmc.real(), "n": mcmc.integer(0, 20)})
        >>> kernel = mcmc.Gibbs({"n": mcmc.DiscreteGibbs(), "x": mcmc.HMC()})
        >>> draws = mcmc.sample(target, kernel, progress=False)
    """

    blocks: Any
    spaces: Any = None
    takes_discrete: ClassVar[bool] = True

    def tree_flatten_with_keys(self) -> tuple:
        """The kernels are the children; names and places are static."""
        keys = [jax.tree_util.GetAttrKey("_".join(names)) for names in map(_names, self.blocks)]
        return tuple(zip(keys, self.blocks.values(), strict=True)), (tuple(self.blocks), self.spaces)

    @classmethod
    def tree_unflatten(cls, static: tuple, kernels: Any) -> Gibbs:
        """The kernel of these inner kernels."""
        return cls(dict(zip(static[0], kernels, strict=True)), static[1])

    @property
    def needs_gradient(self) -> bool:
        """Whether a block's kernel uses gradients."""
        return any(getattr(kernel, "needs_gradient", False) for kernel in self.blocks.values())

    def with_kernels(self, kernels: Any) -> Gibbs:
        """The same blocks, moved by other kernels."""
        return Gibbs(dict(zip(self.blocks, kernels, strict=True)), self.spaces)

    def summary_rate(self, rates: Any) -> Any:
        """The acceptance rate to report: the mean of the blocks'."""
        return rates.mean()

    def check(self, target: Space) -> Iterator[tuple[Any, Block]]:
        """The kernels and their blocks of a target; ValueError or TypeError for names and kernels that don't fit."""
        spaces = _spaces(self.blocks, target)
        for (names, kernel), space in zip(self.blocks.items(), spaces, strict=True):
            several = getattr(kernel, "several", False)  # a mixture
            if isinstance(kernel, Gibbs | Direct) or several or getattr(kernel, "ensemble", False):
                argument, name = f"blocks[{names!r}]", type(kernel).__name__
                remedy = "Use a kernel that moves one chain by its own position: HMC, RandomWalk, DiscreteGibbs, ..."
                raise WrongValue(argument, name, "a kernel that can be one of several blocks", remedy)
            yield kernel, space

    def bind(self, target: Space, dtype: Any) -> Gibbs:
        """The kernel with its blocks found in the target, and its users' proposals put on their positions."""
        kernels, spaces = zip(*self.check(target), strict=True)
        bound = [proposals.bind(kernel, space, dtype) for kernel, space in zip(kernels, spaces, strict=True)]
        return Gibbs(dict(zip(self.blocks, bound, strict=True)), spaces)

    def each_draw(self, key: jax.Array) -> Gibbs:
        """The kernel of one iteration: what the blocks' kernels draw for all chains."""
        kernels = []
        for b, kernel in enumerate(self.blocks.values()):
            draw = getattr(kernel, "each_draw", None)
            kernels.append(draw(jax.random.fold_in(key, b)) if draw else kernel)
        return self.with_kernels(kernels)

    def init(self, position: jax.Array, log_density: Any) -> ChainState:
        """The state of a chain that starts at `position`."""
        return ChainState(position, log_density(position))

    def step(self, key: jax.Array, state: ChainState, log_density: Any) -> tuple[ChainState, NamedTuple]:
        """One sweep of one chain: every block moves once."""
        if self.spaces is None:
            remedy = "Use it in mcmc.sample, or call its bind(target, dtype) first."
            raise WrongValue("Gibbs.spaces", None, "blocks whose places in the target are known", remedy)
        infos = []
        for b, (space, kernel) in enumerate(zip(self.spaces, self.blocks.values(), strict=True)):
            state, info = _move(jax.random.fold_in(key, b), state, space, kernel, log_density)
            infos.append(info)
        return state, _summary(infos, state.lp.dtype)


def _move(key: jax.Array, state: ChainState, space: Block, kernel: Any, log_density: Any) -> tuple[ChainState, Any]:
    """One block's step. Its cached gradient is made anew, because the others have moved; the log density is known."""

    def conditional(part: jax.Array) -> jax.Array:
        return log_density(space.joined(state.position, part))

    proposal = getattr(kernel, "proposal", None)
    if isinstance(proposal, proposals.OnPositions):
        kernel = dataclasses.replace(kernel, proposal=proposal.at(state.position))
    begin = kernel.init(space.part(state.position), conditional)._replace(lp=state.lp)
    end, info = kernel.step(key, begin, conditional)
    return ChainState(space.joined(state.position, end.position), end.lp), info


def _summary(infos: list, dtype: Any) -> NamedTuple:
    def any_of(name: str) -> jax.Array:
        return jnp.any(jnp.stack([jnp.asarray(getattr(info, name, False)) for info in infos]))

    rates = jnp.stack([jnp.asarray(getattr(info, "acceptance_rate", 1.0), dtype) for info in infos])
    basic = (jnp.mean(rates), any_of("accepted"), any_of("nonfinite"), rates)
    if not any(hasattr(info, "diverging") for info in infos):
        return GibbsInfo(*basic)
    steps = [jnp.asarray(getattr(info, "n_steps", 0), jnp.int32) for info in infos]
    return GibbsTrajectoryInfo(*basic, any_of("diverging"), jnp.sum(jnp.stack(steps), dtype=jnp.int32))


def compose(target: Any, no_gradient: Callable[[Block], str]) -> tuple[Gibbs, str]:
    """Blocks for a target with discrete parameters: each of them by itself, the continuous ones together; and why.

    `no_gradient(block)` says why the log density has no gradient in a block's parameters, or nothing.
    """
    blocks: dict = {name: DiscreteGibbs() for name in target.discrete}
    rest = tuple(name for name in target.names if name not in blocks)
    described = [f"DiscreteGibbs for {', '.join(target.discrete)}"]
    if rest:
        reason = no_gradient(Block(target, rest))
        blocks[rest] = RandomWalk() if reason else HMC()
        why = f"RandomWalk for {', '.join(rest)}, without a gradient ({reason})"
        described.append(why if reason else f"HMC for {', '.join(rest)}")
    verb = "is" if len(target.discrete) == 1 else "are"
    return Gibbs(blocks), f"{', '.join(target.discrete)} {verb} discrete: {'; '.join(described)}"


def _names(key: Any) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


def _spaces(blocks: Any, target: Space) -> tuple[Block, ...]:
    """The blocks of a target; every parameter in exactly one."""
    form = 'mcmc.Gibbs({"tau": kernel, ("a", "b"): kernel})'
    if not isinstance(blocks, Mapping) or not blocks:
        expected = "a dict from a name, or a tuple of names, to a kernel"
        raise WrongType("blocks", blocks, expected, f"Write {form}.")
    known, seen = ", ".join(target.names), set()
    for names in map(_names, blocks):
        if len(names) == 0:
            raise WrongValue("blocks", "()", f"names among {known} in every block", f"Write {form}.")
        for name in names:
            if name not in target.names:
                raise WrongValue("blocks", repr(name), f"names among {known}", "Correct or remove it.")
            if name in seen:
                raise WrongValue("blocks", f"{name!r} twice", "every parameter in one block", "Remove one.")
            seen.add(name)
    missing = [name for name in target.names if name not in seen]
    if missing:
        remedy = f"Add a block for {', '.join(missing)}."
        raise WrongValue("blocks", f"none for {', '.join(missing)}", f"a kernel for each of {known}", remedy)
    return tuple(Block(target, _names(names)) for names in blocks)
