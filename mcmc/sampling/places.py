"""What only the target can tell of chains that do not agree: no end to the density, labels that switch, scales."""

from __future__ import annotations

import copy
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.modes import AGREEMENT
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.warmup.geometry.triangular_map import moved

if TYPE_CHECKING:
    from mcmc.diagnostics.diagnosis import Diagnosis

REACH = 1.5  # the reference scale of tempering, in root mean squares of where chains are
PILED = 0.05
SLIGHT = 1.05
"""R-hat up to which chains are slow, and not in different places."""
EDGE = {"interval": 30.0, "positive": 300.0, "lower": 300.0, "upper": 300.0}
"""Unconstrained distances from which a value is its bound, or infinite, to rounding."""


def at_bounds(run: Run, state: Progress) -> list[str]:
    """Parameters that lie on their bounds, to rounding, in a share of the chains."""
    if run.layout.processes.count > 1 or not state.chains:
        return []
    at, names = None, []
    for leaf in run.target.leaves:
        if leaf.support.name in EDGE:
            at = positions(run, state) if at is None else at
            share = (np.abs(at[:, leaf.start : leaf.stop]) > EDGE[leaf.support.name]).mean(0)
            names += [leaf.name] if (share > PILED).any() else []
    return names


def places(run: Run, state: Progress, posterior: Any, diagnosis: Diagnosis) -> dict[str, Any]:
    """Where the density has no end, labels that switch, the scale that tempering needs; of a run of one process."""
    if run.layout.processes.count > 1 or run.plan.settings.chains < 2:
        return {}
    from mcmc.ladder.rungs import improper_direction

    asked = not run.target.discrete and run.target.host is None  # a black box is not called for a verdict
    if asked and (where := improper_direction(run, state)):
        return {"improper": where}
    apart = [check for check in diagnosis.failures if check.code in AGREEMENT]
    if not any(check.code != "rhat" or (check.value or 0.0) > SLIGHT for check in apart):
        return {}
    at = positions(run, state)
    facts: dict[str, Any] = {"spread": [float(f"{s:.2g}") for s in REACH * np.sqrt((at**2).mean(0)) + at.std(0)]}
    switching = _switching(run, at, posterior, diagnosis) if run.target.host is None else None
    return facts | ({"label_switching": switching} if switching else {})


def positions(run: Run, state: Progress) -> np.ndarray:
    """Where the chains are in the target's unconstrained space, (chain, dim)."""
    return moved(run.layers, (), np.asarray(run.joined(state).state.position, float))


def _switching(run: Run, at: np.ndarray, posterior: Any, diagnosis: Diagnosis) -> dict[str, Any] | None:
    """Labels that differ between chains."""
    from mcmc.target.ordering import label_switching
    from mcmc.target.reflection import sign_switching
    from mcmc.target.symmetry import exchangeable

    plain = copy.copy(run)  # without the map
    plain.use((), run.programs_under(()))
    failing = {name.partition("[")[0] for check in diagnosis.failures for name in check.parameters}
    positions, known = at.astype(run.plan.dtype), run.traced.fingerprint
    leaves = tuple((leaf.name, repr(leaf.support)) for leaf in run.target.leaves)
    key = ("exchanges", known, leaves, positions.shape, positions.dtype.str, options())
    kept = partial(cache_of(run.target, known).get, key)
    found = exchangeable(run.target, positions, lambda z: plain.begin(z)[1], failing, kept)
    switching = label_switching(run.target, found, posterior) if found is not None else None
    return switching or sign_switching(run.target, positions, lambda z: plain.begin(z)[1], failing, posterior)
