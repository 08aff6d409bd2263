"""Chains that are stuck far away: found by their log density, and started again from the others where asked."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

FEWEST, DISTANCE = 8, 20.0


def lost_chains(lp: np.ndarray) -> np.ndarray:
    """Which chains are in another mode (..., chain): log densities 20 robust deviations, and 20, below the median.

    The deviation is 1.48 times the median distance from the median, and at least 1, as of a normal target in two
    dimensions. Of fewer than 8 chains none is called lost.
    """
    chains = lp.shape[-1]
    if chains < FEWEST:
        return np.zeros(lp.shape, bool)
    middle = slice(chains // 2, chains // 2 + 1)
    median = np.sort(lp)[..., middle]
    spread = np.maximum(1.4826 * np.sort(np.abs(lp - median))[..., middle].astype(float), 1.0)
    return lp < median - DISTANCE * spread


def reseeded(state: Any, lost: np.ndarray, seed: list[int]) -> Any:
    """Kernel states (chain, ...) in which lost chains have the state of others, chosen at random."""
    rng = np.random.default_rng(seed)
    source = np.arange(lost.size)
    source[lost] = rng.choice(np.flatnonzero(~lost), int(lost.sum()))
    return jax.tree.map(lambda x: np.asarray(x)[source], state)
