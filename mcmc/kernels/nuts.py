"""The no-U-turn sampler as a state machine of single leapfrog steps, so that no lane waits for another's tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from mcmc.kernels.hmc import HMCState
from mcmc.kernels.metric import as_metric
from mcmc.kernels.walls import MAX_ENERGY_ERROR, jump
from mcmc.random.draws import bits, normal, uniform_open
from mcmc.words import kernel_words

MOST_DOUBLINGS = 20
DIRECTIONS = 1


class NUTSInfo(NamedTuple):
    """What one transition did; `tree_depth` counts the doublings that were kept, `n_steps` all leapfrog steps.

    `rates` are what warmup wants to know, as those of HMC: of the leaves before a wall, with the jumps passed left out.
    """

    acceptance_rate: jax.Array
    accepted: jax.Array
    nonfinite: jax.Array
    diverging: jax.Array
    energy: jax.Array
    n_steps: jax.Array
    tree_depth: jax.Array
    reached_max_treedepth: jax.Array
    step_size: jax.Array
    rates: jax.Array


class Edge(NamedTuple):
    """An end of the trajectory: position, whitened momentum and whitened gradient, each (dim,), and log density.

    `jumps` is by how much the energy grew across the jumps between here and the start.
    """

    position: jax.Array
    momentum: jax.Array
    gradient: jax.Array
    lp: jax.Array
    jumps: jax.Array


class Leaf(NamedTuple):
    """A state of the trajectory, and its log weight: the initial energy minus its own."""

    state: HMCState
    log_weight: jax.Array


class Tree(NamedTuple):
    """A transition under way.

    `front` moves; `flips` has one bit a doubling: whether the other end moves from then on; `step` is the step size
    with its direction. `whole` and `part` are the sums of the momenta of the tree and of the present doubling,
    `whole_weight` and `part_weight` the logs of their summed weights. `checkpoints` (level, 3, dim) are of the open
    subtrees of the doubling, outermost first, from level 1: of the leaf where each begins its momentum, the sum of
    the momenta before it, and the momentum before it. Row 0 is waste.
    """

    key: jax.Array
    flips: jax.Array
    step: jax.Array
    start_lp: jax.Array
    start_kinetic: jax.Array
    front: Edge
    back: Edge
    checkpoints: jax.Array
    whole: jax.Array
    part: jax.Array
    chosen: Leaf
    candidate: Leaf
    whole_weight: jax.Array
    part_weight: jax.Array
    rates: jax.Array
    inside_rates: jax.Array
    n_steps: jax.Array
    n_inside: jax.Array
    depth: jax.Array
    turned: jax.Array
    accepted: jax.Array
    diverging: jax.Array
    nonfinite: jax.Array
    stopped: jax.Array


@kernel_words
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NUTS:
    r"""The no-U-turn sampler: leapfrog steps under H(y, u) = −log π(y) + |u|²/2 until the trajectory turns back.

    The trajectory is doubled, forwards or backwards at random, until Σu · u₋ ≤ 0 or Σu · u₊ ≤ 0, u₋ and u₊ the
    momenta at its ends (whitened by the metric), or the same within one of its subtrees, or across two of them. The
    next state is drawn from the trajectory with weights exp(−H), the later doublings preferred.

    One transition is `start`, then `advance` (one leapfrog step, one gradient) until `done`, then `finish`. The
    engine gives a chain whose tree is done its next draw at once, while the others go on with theirs.

    Args:
        step_size: ε; None: tuned in warmup to the acceptance rate of all chains.
        metric: an estimate of the target's covariance (number, vector or matrix); None: tuned in warmup from all
            chains together.
        target_acceptance: the acceptance rate (its mean over the trajectory) that the step size is tuned to.
        max_tree_depth: the most doublings, 1 to 20: at most 2^max_tree_depth − 1 leapfrog steps.

    Divergence: an energy error above 1000, or one that is not finite; recorded as `diverging`. A wall, where the log
    density falls to −inf or jumps, ends the trajectory too, but is none, and is left out of what warmup tunes to.
    Source: Hoffman & Gelman 2014; Betancourt 2017 (weights, U-turn criterion); Phan, Pradhan & Jankowiak 2019
    (without recursion); Dance, Glaser, Orbanz & Adams 2025, arXiv 2503.17405 (one state machine a lane).

    Example:
        >>> import mcmc
        >>> kernel = mcmc.NUTS(max_tree_depth=8)
    """

    step_size: Any = None
    metric: Any = None
    target_acceptance: Any = 0.9
    max_tree_depth: Any = 10
    needs_gradient: ClassVar[bool] = True
    takes_discrete: ClassVar[bool] = False
    runs_freely: ClassVar[bool] = True

    def target_rate(self, dim: int) -> float:
        """The acceptance rate that warmup tunes to."""
        return self.target_acceptance

    def default_step_size(self, dim: int) -> float:
        """A first guess for a normal target whose covariance is the metric."""
        return 1.0 / dim**0.25

    def init(self, position: jax.Array, log_density: Any) -> HMCState:
        """The state of a chain that starts at `position`."""
        return HMCState(position, *jax.value_and_grad(log_density)(position))

    def step(self, key: jax.Array, state: HMCState, log_density: Any) -> tuple[HMCState, NUTSInfo]:
        """One transition of one chain."""
        tree = lax.while_loop(
            lambda tree: ~self.done(tree), lambda tree: self.advance(tree, log_density), self.start(key, state)
        )
        return self.finish(tree)

    # --- the state machine ---------------------------------------------------------------------------------

    def start(self, key: jax.Array, state: HMCState, old: Tree | None = None) -> Tree:
        """The tree of one state; `old` gives its room for checkpoints, whose contents do not matter."""
        dtype, dim = state.position.dtype, state.position.shape[-1]
        step = jnp.asarray(self.default_step_size(dim) if self.step_size is None else self.step_size, dtype)
        momentum = normal(key, state.position.shape, dtype)
        zero, count, no = jnp.zeros((), dtype), jnp.int32(0), jnp.bool_(False)
        whitened = as_metric(self.metric, state.position).scale_gradient(state.gradient)
        edge = Edge(state.position, momentum, whitened, state.lp, zero)
        leaf = Leaf(state, zero)
        return Tree(
            key=key,
            flips=bits(key, 32, stream=DIRECTIONS),
            step=step,
            start_lp=state.lp,
            start_kinetic=0.5 * jnp.sum(momentum**2),
            front=edge,
            back=edge,
            checkpoints=jnp.zeros((MOST_DOUBLINGS, 3, dim), dtype) if old is None else old.checkpoints,
            whole=momentum,
            part=jnp.zeros_like(momentum),
            chosen=leaf,
            candidate=leaf,
            whole_weight=zero,
            part_weight=zero,
            rates=zero,
            inside_rates=zero,
            n_steps=count,
            n_inside=count,
            depth=count,
            turned=no,
            accepted=no,
            diverging=no,
            nonfinite=no,
            stopped=no,
        )

    def advance(self, tree: Tree, log_density: Any) -> Tree:
        """One leapfrog step further; of a tree that is done nothing that `finish` reads changes."""
        size = jnp.int32(1) << tree.depth
        n = tree.n_steps - (size - 1)  # this leaf's number within the doubling
        first, last = n == 0, n == size - 1
        tree = _turn_around(tree, first)
        front, leaf, (nonfinite, diverging, infinite, wall) = self._leapfrog(tree, log_density)

        before = jnp.where(first, 0.0, tree.part)
        part = before + front.momentum
        level = jnp.where(n % 2 == 0, lax.population_count(n) + 1, 0)
        row = jnp.stack([front.momentum, before, tree.front.momentum])
        checkpoints = lax.dynamic_update_index_in_dim(tree.checkpoints, row, level, 0)
        outer = jnp.stack([tree.back.momentum, -tree.whole, tree.back.momentum])
        turned_within, turned = _turns(outer, checkpoints, part, front.momentum, n, last)
        turned |= tree.turned & ~first

        invalid = diverging | wall | turned_within
        grown = last & ~invalid & ~infinite
        part_weight = jnp.logaddexp(jnp.where(first, -jnp.inf, tree.part_weight), leaf.log_weight)
        # One uniform serves both choices: the leaf among those of its doubling, the doubling against the tree.
        take = jnp.where(last, jnp.exp(jnp.minimum(part_weight - tree.whole_weight, 0.0)), 1.0)
        u = uniform_open(jax.random.fold_in(tree.key, tree.n_steps), (), take.dtype)
        candidate = _select(infinite | (u < take * jnp.exp(leaf.log_weight - part_weight)), leaf, tree.candidate)
        accepted = ~tree.stopped & (infinite | (grown & (u < take)))

        going, depth = ~tree.stopped, tree.depth + grown
        inside = going & ~wall
        ended = invalid | infinite | (grown & (turned | (depth >= self.max_tree_depth)))
        return tree._replace(
            front=front,
            checkpoints=checkpoints,
            whole=jnp.where(grown, tree.whole + part, tree.whole),
            part=part,
            chosen=_select(accepted, candidate, tree.chosen),
            candidate=candidate,
            whole_weight=jnp.where(grown, jnp.logaddexp(tree.whole_weight, part_weight), tree.whole_weight),
            part_weight=part_weight,
            rates=tree.rates + jnp.where(going, jnp.exp(jnp.minimum(leaf.log_weight, 0.0)), 0.0),
            inside_rates=tree.inside_rates
            + jnp.where(inside, jnp.exp(jnp.minimum(leaf.log_weight + front.jumps, 0.0)), 0.0),
            n_steps=tree.n_steps + going,
            n_inside=tree.n_inside + inside,
            depth=jnp.where(going, depth, tree.depth),
            turned=jnp.where(going, turned, tree.turned),
            accepted=tree.accepted | accepted,
            diverging=tree.diverging | (going & diverging),
            nonfinite=tree.nonfinite | (going & nonfinite),
            stopped=tree.stopped | ended,
        )

    def done(self, tree: Tree) -> jax.Array:
        """Whether the transition is complete."""
        return tree.stopped

    def finish(self, tree: Tree) -> tuple[HMCState, NUTSInfo]:
        """The state after the transition, and what it did."""
        full = (tree.depth >= self.max_tree_depth) & ~tree.turned
        rate = jnp.where(tree.n_inside > 0, tree.inside_rates / jnp.maximum(tree.n_inside, 1), 1.0)
        return tree.chosen.state, NUTSInfo(
            acceptance_rate=tree.rates / tree.n_steps,
            accepted=tree.accepted,
            nonfinite=tree.nonfinite,
            diverging=tree.diverging,
            energy=tree.start_kinetic - tree.start_lp - tree.chosen.log_weight,
            n_steps=tree.n_steps,
            tree_depth=tree.depth,
            reached_max_treedepth=full,
            step_size=jnp.abs(tree.step),
            rates=jnp.stack([rate, jnp.zeros_like(rate), tree.n_inside / tree.n_steps]).astype(rate.dtype),
        )

    def _leapfrog(self, tree: Tree, log_density: Any) -> tuple[Edge, Leaf, tuple]:
        """The next leaf; whether its energy is NaN, its error too large, its log density +inf, a wall before it."""
        metric = as_metric(self.metric, tree.front.position)
        half = tree.front.momentum + 0.5 * tree.step * tree.front.gradient
        position = tree.front.position + tree.step * metric.scale(half)
        lp, gradient = jax.value_and_grad(log_density)(position)
        whitened = metric.scale_gradient(gradient)
        momentum = half + 0.5 * tree.step * whitened
        kinetic = 0.5 * jnp.sum(momentum**2)
        infinite = lp == jnp.inf
        nonfinite = (jnp.isnan(lp) | ~jnp.isfinite(kinetic)) & ~infinite
        log_weight = (lp - tree.start_lp) + (tree.start_kinetic - kinetic)
        log_weight = jnp.where(nonfinite | infinite, -jnp.inf, log_weight)
        along = tree.step * half
        grown = -jump(lp - tree.front.lp, jnp.sum(tree.front.gradient * along), jnp.sum(whitened * along))
        jumps = tree.front.jumps + grown
        too_far = ~(log_weight > -MAX_ENERGY_ERROR) & ~infinite
        wall = too_far & ((grown == jnp.inf) | (log_weight + jumps > -MAX_ENERGY_ERROR))
        leaf = Leaf(HMCState(position, lp, gradient), log_weight)
        edge = Edge(position, momentum, whitened, lp, jumps)
        return edge, leaf, (nonfinite, too_far & ~wall, infinite, wall)


def _select(which: jax.Array, one: Any, other: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(which, a, b), one, other)


def _turn_around(tree: Tree, first: jax.Array) -> Tree:
    """At the first leaf of a doubling: perhaps the other end is to move."""
    flip = first & ((tree.flips >> tree.depth.astype(jnp.uint32)) & 1 == 1)
    front, back = _select(flip, (tree.back, tree.front), (tree.front, tree.back))
    return tree._replace(front=front, back=back, step=jnp.where(flip, -tree.step, tree.step))


def _turns(
    outer: jax.Array, checkpoints: jax.Array, part: jax.Array, momentum: jax.Array, n: jax.Array, last: jax.Array
) -> tuple[jax.Array, jax.Array]:
    r"""Whether leaf n shows a U-turn within the doubling, and one of the tree doubled.

    A stretch of the trajectory has turned if u · Σu ≤ 0 at one of its ends. Leaf n is the end of these stretches:
    odd n of each subtree that it completes (after the last leaf also of the whole tree), and of the second half of
    each with the last leaf of the first half; even n of the first half of the subtree in whose middle it lies, with
    itself, which is checked here, half a subtree before it is complete. `outer` is the checkpoint of level 0: of
    the tree so far, whose momenta count as negative before the doubling.
    """
    top = lax.population_count(n)
    low = jnp.where(last, 0, jnp.minimum(top, lax.population_count(n + 1)))

    def turned(start: jax.Array, total: jax.Array) -> jax.Array:
        return (jnp.sum(start * total) <= 0) | (jnp.sum(momentum * total) <= 0)

    def check(carry: tuple) -> tuple:
        level, within, whole = carry
        row = lax.dynamic_index_in_dim(checkpoints, level, 0, keepdims=False)
        start, before, previous = jnp.where(level > 0, row, outer)
        total = part - before
        subtree = turned(start, total)
        across = turned(previous, total + previous) & (level > low)
        within |= (subtree & (level > 0)) | (across & (level > 1))
        whole |= (subtree & (level == 0)) | (across & (level == 1))
        return level - 1, within, whole

    no = jnp.bool_(False)
    _, within, whole = lax.while_loop(lambda carry: carry[0] >= low, check, (top, no, no))
    return within, whole
