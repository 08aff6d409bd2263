"""Non-reversible parallel tempering: replicas between the target and a wide normal, which swap places."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongValue
from mcmc.kernels.direct import Direct
from mcmc.kernels.gibbs import Gibbs
from mcmc.kernels.hmc import HMC
from mcmc.kernels.metropolis import Accept, accept
from mcmc.random.draws import normal
from mcmc.target import proposals
from mcmc.target.blocks import Block
from mcmc.words import kernel_words

SPACING = 3.0


class TemperedState(NamedTuple):
    """Where a chain is: position (dim,) and lp of the replica that follows the target.

    Further all replicas' positions (replica, dim) and log densities of the target there (replica,), coldest first;
    `parity` says which pairs swap next.
    """

    position: jax.Array
    lp: jax.Array
    positions: jax.Array
    lps: jax.Array
    parity: jax.Array


class TemperedInfo(NamedTuple):
    """What one transition did: the coldest replica's acceptance, NaNs of any, the mean acceptance rate of swaps.

    `rates` holds the acceptance rates of the replicas that the kernel moves, then those of the swaps.
    """

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    swap_rate: jax.Array
    rates: jax.Array


class TemperedTrajectoryInfo(NamedTuple):
    """The same of a kernel with trajectories: whether the coldest diverges, and the leapfrog steps of all replicas."""

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    swap_rate: jax.Array
    rates: jax.Array
    diverging: jax.Array
    n_steps: jax.Array


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["kernel", "reference_scale", "inverse_temperatures"],
    meta_fields=["temperatures", "replicated"],
)
@kernel_words
@dataclass(frozen=True)
class Tempered:
    r"""Non-reversible parallel tempering around any kernel, for targets with several modes.

    A chain is K replicas at inverse temperatures 1 = β₁ > … > β_K = 0; replica k follows

        log π_k(y) = β_k log π(y) + (1 − β_k) log N(y; 0, s² I)

    in unconstrained space. In a draw each replica but the last takes one step of the kernel under its own density,
    the last is drawn from the reference N(0, s² I) itself, and then neighbours (i, i + 1), i even and odd by turns,
    swap with probability min(1, exp((β_i − β_{i+1}) (V_{i+1} − V_i))), V = log π − log N. The first replica's
    position is the draw. Modes that the reference covers are visited as often as they have mass, wherever chains
    start; a draw costs K − 1 steps of the kernel, and as many lanes.

    Warmup tunes each replica's step size from its own acceptance rate, the inverse temperatures so that all swaps
    are rejected equally often, and a metric: the covariance C of the coldest replica, for the others
    (β_k C⁻¹ + (1 − β_k) s⁻² I)⁻¹. `swap_rate`, recorded, is the mean acceptance rate of swaps; with one below about
    0.3 take more temperatures, or a reference scale nearer to the spread of the target. No map is looked for: behind
    one that fits where chains are, the reference would not cover modes that they have not seen.

    Args:
        kernel: moves a replica: any kernel for one chain of continuous parameters, by its own position.
        temperatures: K, the number of replicas, 2 or more.
        reference_scale: s, a number or one a coordinate of unconstrained space; wide enough that the target's modes
            lie within about 2 s of 0.
        inverse_temperatures: β, K falling numbers from 1 to 0; None: tuned in warmup.
        replicated: filled in by `sample`: the kernel's arrays have one row a replica.

    Raises:
        ValueError, TypeError: for temperatures, scales or inverse temperatures out of range; for a kernel that can't
            move a replica (an ensemble, `Direct`, `Gibbs`, another `Tempered`); for a target with discrete parameters;
            as a block of `Gibbs`.

    Source: Syed, Bouchard-Côté, Deligiannidis & Doucet 2022 (arXiv 1905.02939).

    Example:
        >>> import jax.numpy as jnp
        >>> import mcmc
        >>> def log_density(p):  # modes at -6 and 6, with 0.3 and 0.7 of the mass
        ...     low, high = -0.5 * (p["x"] + 6) ** 2, -0.5 * (p["x"] - 6) ** 2
        ...     return jnp.logaddexp(jnp.log(0.3) + low, jnp.log(0.7) + high)
        >>> target = mcmc.Target(log_density, {"x": mcmc.real()})
        >>> draws = mcmc.sample(target, mcmc.Tempered(mcmc.HMC()), init={"x": 6.0}, progress=False)
    """

    kernel: Any = field(default_factory=HMC)
    temperatures: Any = 8
    reference_scale: Any = 5.0
    inverse_temperatures: Any = None
    replicated: bool = False
    takes_discrete: ClassVar[bool] = False

    @property
    def needs_gradient(self) -> bool:
        """Whether the kernel inside uses gradients."""
        return getattr(self.kernel, "needs_gradient", False)

    def bind(self, target: Any, dtype: Any) -> Tempered:
        """The kernel after a check against the target, with a user's proposal put on its positions."""
        from mcmc.kernels.choose import check_kernel

        self._check(target)
        check_kernel(self.kernel, target, 1)
        return dataclasses.replace(self, kernel=proposals.bind(self.kernel, target, dtype))

    def each_draw(self, key: jax.Array) -> Tempered:
        """The kernel of one iteration, the same for all chains: what each replica's kernel draws for them."""
        if not hasattr(self.kernel, "each_draw"):
            return self
        return dataclasses.replace(self, kernel=_by_replica(lambda kernel: kernel.each_draw(key), self.kernel))

    def init(self, position: jax.Array, log_density: Callable) -> TemperedState:
        """The state of a chain whose replicas all start at `position`."""
        lp = log_density(position)
        positions = jnp.broadcast_to(position, (self.temperatures, *position.shape))
        return TemperedState(position, lp, positions, jnp.broadcast_to(lp, positions.shape[:1]), jnp.int32(0))

    def step(self, key: jax.Array, state: TemperedState, log_density: Callable) -> tuple[TemperedState, NamedTuple]:
        """One transition of one chain: every replica moves, then neighbours swap."""
        if not self.replicated:
            remedy = "Use it in mcmc.sample, which gives every replica a step size and a metric."
            raise WrongValue("Tempered.replicated", False, "a kernel whose arrays have a row a replica", remedy)
        dtype, last = state.position.dtype, self.temperatures - 1
        betas, scale = jnp.asarray(self.inverse_temperatures, dtype), jnp.asarray(self.reference_scale, dtype)

        def log_reference(position: jax.Array) -> jax.Array:
            return -0.5 * jnp.sum((position / scale) ** 2)

        def move(kernel: Any, key: jax.Array, beta: jax.Array, position: jax.Array, lp: jax.Array) -> tuple:
            def tempered(y: jax.Array, lp: jax.Array | None = None) -> jax.Array:
                return beta * (log_density(y) if lp is None else lp) + (1 - beta) * log_reference(y)

            begin = kernel.init(position, tempered)._replace(lp=tempered(position, lp))
            end, info = kernel.step(key, begin, tempered)
            return end.position, info

        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(self.temperatures + 1))
        given = (a[:last] for a in (keys, betas, state.positions, state.lps))
        moved, infos = _by_replica(move, self.kernel, *given)
        drawn = scale * normal(keys[last], state.position.shape, dtype)
        positions = jnp.concatenate([moved, drawn[None]])
        lps = jax.vmap(log_density)(positions)
        order, swaps = swap(keys[-1], betas, lps - jax.vmap(log_reference)(positions), state.parity)
        positions, lps = positions[order], lps[order]
        new = TemperedState(positions[0], lps[0], positions, lps, 1 - state.parity)
        return new, _summary(infos, swaps.acceptance_rate, last)

    def _check(self, target: Any) -> None:
        """Raise ValueError for what does not fit the target, or can't be tempered."""
        if isinstance(target, Block):
            remedy = "Put Tempered around a kernel for all parameters."
            raise WrongValue("blocks", "Tempered", "kernels that keep nothing from draw to draw", remedy)
        count = self.temperatures
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 2:
            raise WrongValue("temperatures", count, "a whole number of replicas, 2 or more", "Use 8.")
        shared = any(getattr(self.kernel, name, False) for name in ("ensemble", "several"))
        if isinstance(self.kernel, Gibbs | Direct | Tempered) or shared:
            expected = "a kernel that moves one chain by its own position"
            remedy = "Use mcmc.HMC(), mcmc.NUTS(), mcmc.RandomWalk(), ..."
            raise WrongValue("Tempered's kernel", type(self.kernel).__name__, expected, remedy)
        scale = _numbers(self.reference_scale)
        if scale.shape not in ((), (target.dim,)) or not np.all(np.isfinite(scale) & (scale > 0)):
            expected = f"a positive number, or {target.dim} of them"
            raise WrongValue("reference_scale", self.reference_scale, expected, "Use 5.")
        if self.inverse_temperatures is not None:
            betas = _numbers(self.inverse_temperatures)
            ends = betas.shape == (count,) and betas[0] == 1 and betas[-1] == 0
            if not (ends and np.all(np.diff(betas) < 0)):
                expected = f"{count} falling numbers, the first 1 and the last 0"
                remedy = "Leave it out to have it tuned."
                raise WrongValue("inverse_temperatures", self.inverse_temperatures, expected, remedy)


def first_betas(temperatures: int) -> np.ndarray:
    """Inverse temperatures before anything is known: (1 − k/(K − 1))³, close together near 0."""
    return np.linspace(1.0, 0.0, temperatures) ** SPACING


def swap(key: jax.Array, betas: jax.Array, log_ratios: jax.Array, parity: jax.Array) -> tuple[jax.Array, Accept]:
    """Which replica goes where (replica,) when the pairs (i, i + 1) with i of this parity swap, or do not.

    `log_ratios` are V = log π − log reference of the replicas; the outcome has the acceptance rates of all pairs.
    """
    outcome = accept(key, jnp.zeros_like(betas[1:]), (betas[:-1] - betas[1:]) * jnp.diff(log_ratios))
    pairs = jnp.arange(betas.size - 1)
    swapped = (outcome.accepted & (pairs % 2 == parity)).astype(jnp.int32)
    return jnp.arange(betas.size) + jnp.pad(swapped, (0, 1)) - jnp.pad(swapped, (1, 0)), outcome


def _by_replica(function: Callable, kernels: Any, *args: Any) -> Any:
    """A function of each replica's kernel; a leaf of the kernel that is no array is shared."""
    leaves, structure = jax.tree.flatten(kernels)

    def one(arrays: list, *args: Any) -> Any:
        own = [leaf if array is None else array for leaf, array in zip(leaves, arrays, strict=True)]
        return function(jax.tree.unflatten(structure, own), *args)

    return jax.vmap(one)([leaf if hasattr(leaf, "dtype") else None for leaf in leaves], *args)


def _summary(infos: Any, swap_rates: jax.Array, moved: int) -> NamedTuple:
    """What the replicas' steps (replica,) and the swaps did."""
    rates = jnp.broadcast_to(getattr(infos, "acceptance_rate", 1.0), (moved,)).astype(swap_rates.dtype)
    accepted = jnp.broadcast_to(getattr(infos, "accepted", True), (moved,))[0]
    nonfinite = jnp.any(jnp.asarray(getattr(infos, "nonfinite", False)))
    basic = (rates[0], accepted, nonfinite, jnp.mean(swap_rates), jnp.concatenate([rates, swap_rates]))
    if not hasattr(infos, "diverging"):
        return TemperedInfo(*basic)
    return TemperedTrajectoryInfo(*basic, infos.diverging[0], jnp.sum(infos.n_steps, dtype=jnp.int32))


def _numbers(value: Any) -> np.ndarray:
    """An argument as numbers; NaN where it is none."""
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        return np.asarray(np.nan)
