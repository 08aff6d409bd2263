"""Convergence statistics of many short chains: drift of the ensemble, memory of the starts, outlying chains.

With a thousand chains each may be far too short to be judged by itself (R-hat says 1.39 of a thousand
stationary chains shorter than their autocorrelation), and groups formed afterwards see nothing. Two things
then show whether the starts are forgotten: the ensemble's distribution no longer changes with time, and where
a chain ends does not depend on where it began. The first without the second is a stuck
ensemble; the second without the first can't last. Both are needed, of the location and of the spread, and neither
fails chains merely for being short.

All functions take the chains' moments, `Ensemble`.
"""

from typing import NamedTuple

import numpy as np

FADED = 0.05
"""Share of the variance to which a chain's memory of its start must have come down."""


class Ensemble(NamedTuple):
    """Means of chains and of their parts, from which everything here follows: one reading of the draws."""

    mean: np.ndarray
    """Of half chains, `(column, 2 chain)`: rows 2c and 2c + 1 are the halves of chain c."""
    variance: np.ndarray
    """Unbiased variances of half chains, `(column, 2 chain)`."""
    quarters: np.ndarray
    """Means of chains' quarters in order, `(4, column, chain)`; nothing where chains are judged one by one."""
    total: np.ndarray
    """Variance over all draws of all chains, `(column,)`."""

    @classmethod
    def of(cls, halves: np.ndarray, many: bool = True) -> "Ensemble":
        """Read `(column, 2 chain, draw)` halves, as `variances.split` makes them."""
        n, quarter = halves.shape[2], max(halves.shape[2] // 2, 1)
        mean = halves.mean(axis=-1)
        centred = halves - mean[:, :, None]
        square = np.einsum("cmn,cmn->cm", centred, centred)
        of_chains = (halves[:, 0::2], halves[:, 1::2]) if many else ()
        parts = [half[:, :, at].mean(axis=-1) for half in of_chains for at in _ends(quarter)]
        return cls(mean, square / (n - 1), np.array(parts), square.mean(axis=-1) / n + mean.var(axis=-1))

    @property
    def chain_mean(self) -> np.ndarray:
        """Means of whole chains, `(column, chain)`."""
        return (self.mean[:, 0::2] + self.mean[:, 1::2]) / 2


def _ends(length: int) -> tuple[slice, slice]:
    return slice(None, length), slice(-length, None)


def drift(e: Ensemble, groups: np.ndarray | None = None) -> np.ndarray:
    """Return how far the ensemble's mean moved from the first to the last half, in sds, noise taken off.

    `sqrt(max(0, d^2 - 4 se^2)) / sd` with `d` the mean over chains of their difference; the chains are
    independent, so `se` needs no autocorrelation (those of a superchain may not be: then the larger of the
    `se` over chains and over superchains). 0.2 corresponds to an R-hat of 1.01 between the two halves.
    """
    moved = e.mean[:, 1::2] - e.mean[:, 0::2]
    noise = moved.var(axis=-1, ddof=1) / moved.shape[1]
    if groups is not None:
        noise = np.maximum(noise, moved[:, groups].mean(axis=-1).var(axis=-1, ddof=1) / len(groups))
    return np.sqrt(np.maximum(moved.mean(axis=-1) ** 2 - 4 * noise, 0.0) / e.total)


def memory(e: Ensemble) -> np.ndarray:
    """Return the share of the variance that chains keep from their first to their last quarter, at the least.

    `cov(m_first, m_last) / variance` over chains, less three standard errors. It estimates the variance of
    whatever did not change within the run: 1 for chains that never moved, 0 where each visited everything. A chain that
    is short, but forgets where it was within the run, keeps nothing, however high R-hat is. Groups do not enter: chains
    that parted after a start they shared, and stay apart, keep as much.
    """
    centred = e.quarters - e.quarters.mean(axis=-1, keepdims=True)
    product, degrees = centred[0] * centred[3], centred.shape[-1] - 1
    error = product.std(axis=-1) / np.sqrt(degrees)
    return np.maximum(product.sum(axis=-1) / degrees - 3 * error, 0.0) / e.total


def start_effect(e: Ensemble, groups: np.ndarray) -> np.ndarray:
    """Return the probability that superchains differ this much although their starts are forgotten.

    An F test on the chains' means: between superchains against between the chains of each. Nested R-hat has
    this noise in it, 1.01 for 50 effective draws a superchain, and can't separate it from a start
    that is not forgotten.
    """
    from scipy.special import fdtrc

    mean = e.chain_mean[:, groups]
    superchains, members = groups.shape
    between = members * mean.mean(axis=-1).var(axis=-1, ddof=1)
    within = mean.var(axis=-1, ddof=1).mean(axis=-1)
    return fdtrc(superchains - 1, superchains * (members - 1), between / within)


def astray(e: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the chain farthest from the others is, in their robust sds, and which one it is.

    Zero where no chain's mean is a whole posterior sd from the median chain's: many chains hide one that is
    stuck elsewhere from every pooled number.
    """
    distance = np.abs(e.chain_mean - np.median(e.chain_mean, axis=-1, keepdims=True))
    spread = 1.4826 * np.median(distance, axis=-1)
    farthest = distance.max(axis=-1)
    counts = (farthest > np.sqrt(e.total)) & (spread > 0)
    return np.where(counts, farthest / np.where(spread > 0, spread, 1.0), 0.0), distance.argmax(axis=-1)
