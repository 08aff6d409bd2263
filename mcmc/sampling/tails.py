"""How heavy the tails of a target are, by its density along each parameter: chains seldom go that far."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run

FARTHER, RISE = (1e3, 1e6, 1e9), 20.0
"""Distances in sds; of a logarithm in steps, e^20 times."""
FAR, MOST_ASKED, MOST_VALUES, ALIKE, HEAVIEST = 5.5, 16, 4_000_000, 0.05, 100.0
LOGARITHMS = ("positive", "lower", "upper")


def tails_of_target(run: Run, state: Progress, posterior: Any) -> dict[str, list[float]]:
    r"""The Pareto k, 1 / α, of parameters whose density falls as |x|^(−1−α), element by element; 0 of all others.

    Along a line, all else held, so of a parameter's law given the others: its own has no lighter tails. Only what is as
    steep at three distances is a power of x. Asked of real and one-sided parameters with a draw FAR sds away.
    """
    if run.layout.processes.count > 1 or run.layers or run.target.host is not None or not state.chains:
        return {}
    at, found = np.asarray(run.joined(state).state.position, float), {}
    sd, asked = at.std(0) + 1e-300, 0
    with np.errstate(all="ignore"):
        for leaf in run.target.leaves:
            if leaf.support.name not in ("real", *LOGARITHMS) or leaf.name not in posterior:
                continue
            far = _far(np.asarray(posterior[leaf.name]))[: MOST_ASKED - asked]
            ks, asked = np.zeros(leaf.stop - leaf.start), asked + len(far)
            for j in far:
                ks[j] = _k(run, at, int(leaf.start + j), float(sd[leaf.start + j]), leaf.support.name == "real")
            found |= {leaf.name: ks.tolist()} if ks.any() else {}
    return found


def _far(x: np.ndarray) -> np.ndarray:
    """Which elements of draws (chain, draw, ...) have one that is far away."""
    x = x[:, :: 1 + x.size // MOST_VALUES]  # the far ones of many are seen in a part of them
    flat = x.reshape(x.shape[0] * x.shape[1], -1)
    return np.flatnonzero(np.abs(flat - flat.mean(0)).max(0) > FAR * flat.std(0))


def _k(run: Run, at: np.ndarray, i: int, sd: float, real: bool) -> float:
    """1 / α of the heavier tail, or 0 where none is a power; of a logarithm upwards only, where x has no end."""
    span, found = np.log(FARTHER[1] / FARTHER[0]) if real else RISE, 0.0
    for side in (1.0, -1.0) if real else (1.0,):
        lps = []
        for n, times in enumerate(FARTHER, 1):
            there = at.copy()
            there[:, i] += side * sd * times if real else n * RISE
            lps.append(run.begin(there.astype(run.plan.dtype))[1])
        falls = [float(np.median(a - b)) / span - real for a, b in itertools.pairwise(lps)]
        if np.isfinite(falls).all() and abs(falls[0] - falls[1]) < ALIKE and falls[1] > 1 / HEAVIEST:
            found = max(found, 1.0 / falls[1])
    return found
