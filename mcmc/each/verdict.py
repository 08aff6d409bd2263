"""The diagnosis of each data set of a batch."""

from __future__ import annotations

import json

import numpy as np

from mcmc.diagnostics.check import Limits
from mcmc.diagnostics.diagnoses import each_verdict
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.each.batch import Drawn
from mcmc.each.together import Together
from mcmc.engine.stopping import Converged
from mcmc.storage.datatree import dataset

LEADING = ("dataset", "chain", "draw")


def judged(
    shared: Together, drawn: Drawn, count: int, until: Converged | None = None
) -> tuple[dict[str, np.ndarray], list[Diagnosis]]:
    """What the first `count` data sets drew, by name (set, chain, draw, ...), and the diagnosis of each."""
    import scipy.special  # noqa: F401  # with which thousands of normal scores are made sooner

    named = shared.named(drawn.kept[:count])
    superchains = shared.settings.superchains
    statistics = {name: values[:count] for name, values in drawn.statistics.items()}
    state = dataset({"nonfinite_proposals": drawn.nonfinite[:count]}, None, LEADING[:2])
    if superchains is not None:
        state = state.assign(superchain=("chain", np.asarray(superchains)))
    state.attrs["derived"] = json.dumps([name for name in named if name not in shared.target.names])
    groups = {"posterior": dataset(named, shared.target, LEADING), "sample_stats": dataset(statistics, None, LEADING)}
    limits = Limits() if until is None else Limits(until.rhat, until.ess)
    return named, list(each_verdict(iter([groups | {"run_state": state}]), limits, None))
