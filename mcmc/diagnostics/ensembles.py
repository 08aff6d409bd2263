"""What many chains tell that few can't: does the ensemble move, does it remember, is a chain astray?

With a thousand chains each may be far too short to be judged by itself (R-hat says 1.39 of a thousand
stationary chains shorter than their autocorrelation), and groups formed afterwards see nothing. Two things
then show whether the starts are forgotten: the ensemble's distribution no longer changes with time, and where
a chain ends does not depend on where it began. The first without the second is what a stuck ensemble looks
like; the second without the first can't last. Both are needed, of the location and of the spread, and neither
fails chains merely for being short.

All functions take `(column, 2 chain, draw)` halves, as `variances.split` makes them.
"""

import numpy as np


def drift(halves: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """Return how far the ensemble's mean moved from the first to the last half, in sds, noise taken off.

    `sqrt(max(0, d^2 - 4 se^2)) / sd` with `d` the mean over chains of their difference; the chains are
    independent, so `se` needs no autocorrelation (those of a superchain may not be: then the larger of the
    `se` over chains and over superchains). 0.2 corresponds to an R-hat of 1.01 between the two halves.
    """
    mean = halves.mean(axis=-1)
    moved = mean[:, 1::2] - mean[:, 0::2]
    noise = moved.var(axis=-1, ddof=1) / moved.shape[1]
    if groups is not None:
        noise = np.maximum(noise, moved[:, groups].mean(axis=-1).var(axis=-1, ddof=1) / len(groups))
    return np.sqrt(np.maximum(moved.mean(axis=-1) ** 2 - 4 * noise, 0.0) / halves.var(axis=(1, 2)))


def memory(halves: np.ndarray) -> np.ndarray:
    """Return the share of the variance that chains keep from their first to their last quarter, at the least.

    `cov(m_first, m_last) / variance` over chains, less three standard errors. It estimates the variance of
    whatever did not change within the run: 1 for chains that never moved, 0 where each visited everything.
    """
    quarter = max(halves.shape[2] // 2, 1)
    first = halves[:, 0::2, :quarter].mean(axis=-1)
    last = halves[:, 1::2, -quarter:].mean(axis=-1)
    chains = first.shape[1]
    first = first - first.mean(axis=-1, keepdims=True)
    last = last - last.mean(axis=-1, keepdims=True)
    kept = (first * last).sum(axis=-1) / (chains - 1)
    product = (first**2).sum(axis=-1) * (last**2).sum(axis=-1) / (chains - 1) ** 2
    error = np.sqrt((product + kept**2) / (chains - 1))
    return np.maximum(kept - 3 * error, 0.0) / halves.var(axis=(1, 2))


def start_effect(halves: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the probability that superchains differ this much although their starts are forgotten.

    An F test on the chains' means: between superchains against between the chains of each. Nested R-hat has
    this noise in it, 1.01 for 50 effective draws a superchain, and can't tell it from a start that lives on.
    """
    from scipy.special import fdtrc

    mean = ((halves[:, 0::2].mean(axis=-1) + halves[:, 1::2].mean(axis=-1)) / 2)[:, groups]
    superchains, members = groups.shape
    between = members * mean.mean(axis=-1).var(axis=-1, ddof=1)
    within = mean.var(axis=-1, ddof=1).mean(axis=-1)
    return fdtrc(superchains - 1, superchains * (members - 1), between / within)


def astray(halves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the chain farthest from the others is, in their robust sds, and which one it is.

    Zero where no chain's mean is a whole posterior sd from the median chain's: many chains hide one that is
    stuck elsewhere from every pooled number.
    """
    mean = (halves.mean(axis=-1)[:, 0::2] + halves.mean(axis=-1)[:, 1::2]) / 2
    distance = np.abs(mean - np.median(mean, axis=-1, keepdims=True))
    spread = 1.4826 * np.median(distance, axis=-1)
    chain = distance.argmax(axis=-1)
    farthest = distance.max(axis=-1)
    counts = (farthest > halves.std(axis=(1, 2))) & (spread > 0)
    return np.where(counts, farthest / np.where(spread > 0, spread, 1.0), 0.0), chain
