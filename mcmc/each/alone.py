"""One data set by itself, with a long warmup and other settings where these do not do, in the shape of the others."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from mcmc.diagnostics.verdict import diagnose
from mcmc.each.records import Part, Record
from mcmc.engine.stopping import Converged
from mcmc.errors import ConvergenceWarning, SamplingError
from mcmc.sampling.run import sampled
from mcmc.settings import Request


def alone(asked: Request, dtype: Any, draws: int, like: Part) -> tuple[Part | None, Record]:
    """So many draws, spread evenly over a run that goes on until it converges.

    None where there are none: its log density is not finite. `like` says which statistics are wanted: what another
    kernel has not is NaN, 0 for counts.
    """
    until = asked.until or Converged()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            tree = sampled(asked, dtype)
        except SamplingError as error:
            return None, Record(False, "alone", str(error), final=True)
    verdict = diagnose(tree, rhat=until.rhat, ess=until.ess, quick=None)
    drawn = tree["posterior"].sizes["draw"]
    kept = np.linspace(0, drawn - 1, draws).round().astype(int)
    record = Record(verdict.ok, "alone", "" if verdict.ok else said(verdict), final=True)
    return _part(tree, kept, like), record


def said(verdict: Any) -> str:
    """What is wrong, in a line."""
    return f"{verdict.verdict} {verdict.failures[0].message}"


def _part(tree: Any, kept: np.ndarray, like: Part) -> Part:
    """These draws, with one data set in front."""

    def of(group: str, wanted: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        held = tree[group].to_dataset()
        found = {}
        for name, values in wanted.items():
            x = held[name].values[:, kept] if name in held else np.full(values.shape[1:], np.nan)
            found[name] = (x if values.dtype.kind == "f" else np.nan_to_num(x)).astype(values.dtype)[None]
        return found

    nonfinite = tree["run_state"]["nonfinite_proposals"].values[None].astype(like.nonfinite.dtype)
    return Part(of("posterior", like.parameters), of("sample_stats", like.statistics), nonfinite)
