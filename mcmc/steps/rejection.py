"""The steps of rejection sampling: proposal, height, comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.direct.rejection.rounds import one_proposal_block, sizes_of
from mcmc.steps.counting import check_count

if TYPE_CHECKING:
    from mcmc.direct.rejection.rejection import Rejection

MOST_PROPOSALS = 200_000
GRID = 400


class RejectionSteps(NamedTuple):
    """Every proposal of a rejection sampler in order, as NumPy arrays (proposal, ...).

    Attributes:
        proposal: y ~ g.
        log_density: log f(y).
        log_envelope: log c + log g(y).
        ratio: f(y) / (c g(y)); above 1 where c is too small.
        uniform: u, of (0, 1).
        accepted: u < ratio. The draws are `proposal[accepted]`.
        grid: (m,) points for a curve, where y is a number; else none.
        grid_log_density: log f there.
        grid_log_envelope: log c + log g there.
    """

    proposal: Any
    log_density: np.ndarray
    log_envelope: np.ndarray
    ratio: np.ndarray
    uniform: np.ndarray
    accepted: np.ndarray
    grid: np.ndarray
    grid_log_density: np.ndarray
    grid_log_envelope: np.ndarray


def rejection_steps(sampler: Rejection, key: jax.Array, n: int) -> RejectionSteps:
    """The proposals that `sampler.sample(key, (n,))` makes, up to the n-th accepted."""
    check_count(n)
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    sizes = sizes_of(n, sampler.max_proposals or MOST_PROPOSALS)
    made, accepted = [], 0

    @jax.jit
    def block(key: jax.Array, i: Any) -> tuple:
        return one_proposal_block(key, lambda key: sampler._propose(sizes.block, key), sampler._ratio, i)

    for i in range(min(sizes.rounds * sizes.blocks, MOST_PROPOSALS // sizes.block)):
        draws, log_g, log_ratio, _, u = jax.device_get(block(key, np.int32(i)))
        made.append((draws, log_g, log_ratio, u, np.log(u) < log_ratio))
        accepted += int(made[-1][-1].sum())
        if accepted >= n:
            break
    draws, log_g, log_ratio, u, kept = jax.tree.map(lambda *parts: np.concatenate(parts), *made)
    enough = np.flatnonzero(np.cumsum(kept) >= n)
    last = int(enough[0]) + 1 if enough.size else len(kept)
    draws, log_g, log_ratio, u, kept = jax.tree.map(lambda a: a[:last], (draws, log_g, log_ratio, u, kept))
    envelope = log_g + np.asarray(sampler.log_bound, log_g.dtype)
    with np.errstate(over="ignore"):
        ratio = np.exp(log_ratio)
    return RejectionSteps(draws, log_ratio + envelope, envelope, ratio, u, kept, *_curves(sampler, draws))


def _curves(sampler: Rejection, draws: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log f and the log envelope where the proposals are; nothing where they are not numbers."""
    if not isinstance(draws, np.ndarray) or draws.ndim != 1:
        none = np.zeros(0)
        return none, none, none
    low, high = np.quantile(draws, (0.01, 0.99))
    grid = np.linspace(low, high, GRID).astype(jnp.result_type(float))

    @jax.jit
    def curves(grid: jax.Array) -> tuple[jax.Array, jax.Array]:
        return sampler.log_prob(grid), jax.vmap(sampler.proposal.log_prob)(grid)

    log_f, log_g = map(np.asarray, curves(grid))
    return grid, log_f, log_g + np.asarray(sampler.log_bound, log_g.dtype)
