"""The diagnosis of each data set of a batch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mcmc.diagnostics.diagnosis import Diagnosis, diagnose
from mcmc.each.batch import Drawn
from mcmc.each.together import Together
from mcmc.engine.stopping import Converged
from mcmc.storage.datatree import dataset


def judged(
    shared: Together, drawn: Drawn, row: int, until: Converged | None = None
) -> tuple[dict[str, np.ndarray], Diagnosis]:
    """What the run on one data set drew, by name, and the diagnosis of it."""
    named = shared.named(drawn.kept[row])
    superchains = shared.settings.superchains
    state = {"nonfinite_proposals": drawn.nonfinite[row]}
    state |= {} if superchains is None else {"superchain": np.asarray(superchains)}
    statistics = {name: values[row] for name, values in drawn.statistics.items()}
    groups: dict[str, Any] = {"posterior": dataset(named, shared.target), "sample_stats": dataset(statistics, None)}
    run_state = dataset(state, None, ("chain",))
    run_state.attrs["derived"] = json.dumps([name for name in named if name not in shared.target.names])
    limits = {} if until is None else {"rhat": until.rhat, "ess": until.ess}
    return named, diagnose(groups | {"run_state": run_state}, quick=None, **limits)
