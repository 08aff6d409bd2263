"""Whether draws begin elsewhere than they go on, and how many to drop: files often have their burn-in."""

import numpy as np

from mcmc.diagnostics.check import Check, named
from mcmc.diagnostics.evidence import Evidence

BLOCKS, SHORTEST = 50, 4
"""The draws are looked at in so many blocks, of so many draws at least."""
MOST_COLUMNS, MOST_VALUES, SAMPLE = 50, 2_000_000, 2000
CLIP = 10.0
"""Draws farther from the median than so many interquartile ranges count as that far."""
APART, STILL_APART = 5.0, 3.0
"""Standard deviations by which the first block must differ, and those after it."""
FAR, FARTHER = 1e3, 3.0
"""A few draws at the very beginning must be so much farther away than any as few later; they count up to FAR."""


def burn_in(e: Evidence) -> list[Check]:
    """An error where the first draws differ from the second half; nothing for runs of ours, which drop their warmup.

    The first block's mean over all chains must be away from the mean of the second half by 5 standard deviations of
    such blocks, and of independent single draws of as many chains: slow chains alone don't do that. Or the first four
    draws are three times as far away as any four of the second half: a start far out, left within few draws.
    """
    draws, index = e.plan.draws, np.flatnonzero(e.judged)
    blocks = min(BLOCKS, draws // SHORTEST)
    if "run_state" in e.groups or blocks < 10 or not index.size:
        return []
    most = max(1, min(MOST_COLUMNS, MOST_VALUES // (draws * e.plan.chains)))
    index = index[np.linspace(0, len(index) - 1, min(most, len(index))).astype(int)]
    size = draws // blocks
    lasts = np.array([_draws_apart(e.scaled(int(i)), size) for i in index])
    drop = int(max(lasts.max(), *(_draws_apart(lp, size) for lp in _log_density(e)), 0))
    if not drop:
        return [Check("burn_in", "error", True, "the first draws are like the others", 0.0)]
    far = index[lasts > 0]
    where = named(e, far) if far.size else "the log density"
    message = f"the first {drop} of {draws} draws differ from the rest in {where}"
    advice = f"They are burn-in: drop {drop} draws of each chain (burn={drop} in mcmc.read, --burn {drop})."
    if drop > draws / 2:
        advice = "Most of the run is burn-in: let it run longer, then drop the beginning."
    call = f"mcmc.read(files, burn={drop})" if drop <= draws / 2 else ""
    parameters = tuple(e.labels[int(i)] for i in far)
    return [Check("burn_in", "error", False, message, float(drop), 0.0, parameters, advice=advice, call=call)]


def _log_density(e: Evidence) -> list[np.ndarray]:
    stats = e.groups.get("sample_stats")
    if stats is None or "lp" not in stats or not {"chain", "draw"} <= set(stats["lp"].dims):
        return []
    lp = np.asarray(stats["lp"].transpose("chain", "draw", ...).values, float)
    fits = lp.shape == (e.plan.chains, e.plan.draws) and np.isfinite(lp).all() and np.ptp(lp) > 0
    return [lp / np.abs(lp).max()] if fits else []


def _draws_apart(x: np.ndarray, size: int) -> int:
    """How many draws (chain, draw) at the beginning are apart from the second half, in place or in spread; 0: none."""
    found = [0]
    for z in _views(x):
        found.append(_beginning(np.clip(z, -CLIP, CLIP), size, 0.0))
        if size > SHORTEST:
            found.append(_beginning(z, SHORTEST, FARTHER))
    return max(found)


def _views(x: np.ndarray) -> list[np.ndarray]:
    """Draws about the median of their second half, in its interquartile ranges; and how far they are from it."""
    late = x[:, x.shape[1] // 2 :].ravel()
    low, middle, high = np.quantile(late[:: max(1, late.size // SAMPLE)], (0.25, 0.5, 0.75))
    if not low < high:
        return []
    z = np.clip((x - middle) / (high - low), -FAR, FAR)
    return [z, np.abs(z)]


def _beginning(z: np.ndarray, size: int, farther: float) -> int:
    """How many draws at the beginning are apart from the second half, by means of blocks over all chains."""
    chains, draws = z.shape
    blocks = draws // size
    means = z[:, : size * blocks].reshape(chains, blocks, size).mean(axis=(0, 2))
    late = means[blocks // 2 :]
    away = np.abs(means - late.mean())
    spread = late.std(ddof=1)
    alone = z[:, draws // 2 :].std() / np.sqrt(chains)
    if away[0] <= max(APART * spread, APART * alone, farther * away[blocks // 2 :].max()):
        return 0
    near = np.flatnonzero(away <= STILL_APART * spread)
    return min(int(near[0]) + 1 if near.size else blocks, blocks) * size
