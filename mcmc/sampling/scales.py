"""Whether a density has no integral as a scale goes to 0 and what it scales goes with it, as in a hierarchy."""

from __future__ import annotations

import copy

import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.sampling.elsewhere import ROUNDS, evaluations
from mcmc.sampling.places import positions
from mcmc.warmup.pathfinder import approximations

FARTHER, LEAST_FALL = (4.0, 8.0), 0.3
"""Nats below the highest chain, twice; a proper scale loses more between them, 4 of them with a flat prior."""
PATHS, MOST_SCALES, LARGEST = 4, 8, 64
SCALES = ("positive", "lower")


def endless_scale(run: Run, state: Progress) -> list[str]:
    r"""The scales s with mass that does not fall as s goes to 0: 1 / s as the prior of a group's scale.

    Of log s at two places below the chains the log mass of all else is at least E_q[log π − log q], q the normal law
    that Pathfinder finds there. Along log s alone the density falls: the group must shrink with its scale.
    """
    few = run.target.dim <= LARGEST and run.layout.processes.count == 1 and state.chains
    if not few or not run.has_gradient or run.target.host is not None or run.target.discrete or run.target.dim < 2:
        return []
    plain = copy.copy(run)  # without the map
    plain.use((), run.programs_under(()))
    at, asked, found = positions(run, state), 0, []
    with np.errstate(all="ignore"):
        for leaf in run.target.leaves:
            if leaf.support.name not in SCALES:
                continue
            for i in range(leaf.start, leaf.stop):
                asked += 1
                if asked > MOST_SCALES:
                    return found
                start, high = at[:: max(1, len(at) // PATHS)][:PATHS], at[:, i].max()  # others may be stuck far below
                near, far = (_log_mass(plain, start, i, high - below) for below in FARTHER)
                if np.isfinite([near, far]).all() and abs(near - far) < LEAST_FALL:
                    index = np.unravel_index(i - leaf.start, leaf.support.shape) if leaf.support.shape else ()
                    found.append(leaf.name + (f"[{', '.join(map(str, index))}]" if leaf.support.shape else ""))
    return found


def _log_mass(run: Run, start: np.ndarray, i: int, value: float) -> float:
    """The log mass, at least, of all coordinates but one, which has a value."""
    free = np.arange(start.shape[1]) != i
    whole = evaluations(run)

    def evaluate(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.full((at.shape[1], len(free)), value)
        rows[:, free] = at[0]
        lps, gradients = whole(rows[None])
        return lps, gradients[..., free]

    best = approximations(start[None][..., free], evaluate, [np.random.default_rng(0)], ROUNDS)
    return float(np.max(best.elbo[0]))
