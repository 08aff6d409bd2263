"""The diagnosis of each data set of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.diagnostics.diagnosis import Diagnosis, diagnose
from mcmc.each.batch import Drawn
from mcmc.each.together import Together
from mcmc.storage.datatree import dataset


def judged(shared: Together, drawn: Drawn, row: int) -> tuple[dict[str, np.ndarray], Diagnosis]:
    """What the run on one data set drew, by name, and the diagnosis of it."""
    named = shared.named(drawn.kept[row])
    superchains = shared.settings.superchains
    state = {"nonfinite_proposals": drawn.nonfinite[row]}
    state |= {} if superchains is None else {"superchain": np.asarray(superchains)}
    statistics = {name: values[row] for name, values in drawn.statistics.items()}
    groups: dict[str, Any] = {"posterior": dataset(named, None), "sample_stats": dataset(statistics, None)}
    return named, diagnose(groups | {"run_state": dataset(state, None, ("chain",))}, quick=None)
