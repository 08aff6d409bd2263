"""Whether gradients are NaN where the log density is finite: chains can't go there."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.warmup.starts import short

SPREADS = (1.0, 2.0, 4.0)
"""Standard deviations of the chains' positions, about their median."""


def nan_gradients(run: Run, state: Progress) -> dict[str, Any] | None:
    """Where the gradient is NaN at a finite log density: a share, the parameters concerned and a place; or None.

    Asked only after divergences or proposals that were not finite, at positions around the chains.
    """
    if run.layout.processes.count > 1 or not state.chains:
        return None
    if not run.has_gradient or run.target.host or run.target.discrete:
        return None
    chains = run.joined(state)
    if not (chains.diverging.any() or chains.nonfinite.any()):
        return None
    at, rng = chains.state.position, np.random.default_rng(0)
    for spread in SPREADS:
        beside = np.median(at, 0) + spread * (at.std(0) + 1e-3) * rng.normal(size=at.shape)
        made = run.joined(run.begin(beside.astype(at.dtype))[0]).state
        bad = np.isnan(made.gradient).any(1) & np.isfinite(made.lp)
        if bad.any():
            return _told(run, made, bad)
    return None


def _told(run: Run, made: Any, bad: np.ndarray) -> dict[str, Any]:
    c, found = int(np.flatnonzero(bad)[0]), {"positions": int(bad.sum()), "of": bad.size}
    if run.layers:  # positions are those of a map
        return found
    names = [x.name for x in run.target.leaves if np.isnan(made.gradient[c, x.start : x.stop]).any()]
    values = run.target.describe(made.position[c])
    return found | {"parameters": names, "at": {n: short(np.asarray(v)) for n, v in list(values.items())}}
