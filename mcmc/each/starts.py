"""Starts of many data sets: each searched for as `sample` does, all tried by the same calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import numpy as np

from mcmc.each.together import Together
from mcmc.errors import InitializationError
from mcmc.warmup.starts import find_starts

LOCK = threading.Lock()  # of what may compile: that sets JAX's flags for a while


class _Asked(Exception):
    """It is not known yet whether the log densities at these positions are finite."""

    def __init__(self, positions: np.ndarray):
        super().__init__()
        self.positions = positions


def _replayed(answers: list[np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    """An `evaluate` for `find_starts` that gives these answers in turn and then asks."""
    rest = iter(answers)

    def evaluate(positions: np.ndarray) -> np.ndarray:
        for answer in rest:
            return answer
        raise _Asked(positions)

    return evaluate


def find_all(
    shared: Together, data: list[np.ndarray], words: np.ndarray, finite: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, dict[int, InitializationError]]:
    """Starts (set, chain, dim), and what is wrong with the data sets that have none.

    `finite(positions)` says where log densities, and gradients, are finite (set, chain). What is tried next follows
    from what was finite so far, so each search is made again from its beginning with the answers that there are, until
    it asks nothing more.
    """
    size, settings = len(words), shared.settings
    starts = np.zeros((size, settings.chains, shared.target.dim), shared.dtype)
    answers: list[list[np.ndarray]] = [[] for _ in range(size)]
    failed: dict[int, InitializationError] = {}
    exact = settings.warmup == 0 and settings.superchains is None and not shared.layout.ensemble
    waiting = list(range(size))
    while waiting:
        asked = []
        for i in waiting:
            target = shared.given([x[i] for x in data])
            search = partial(find_starts, target, shared.init, shared.groups, words[i], shared.dtype)
            try:
                with LOCK:
                    starts[i] = search(_replayed(answers[i]), exact)
            except _Asked as question:
                starts[i] = question.positions
                asked.append(i)
            except InitializationError as error:
                failed[i] = error
        waiting = asked
        if waiting:
            found = finite(starts)
            for i in waiting:
                answers[i].append(found[i])
    return starts, failed
