"""`diagnose(draws)`: the verdict on a run, or on each of many data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mcmc.diagnostics.check import Limits
from mcmc.diagnostics.diagnoses import diagnose_each
from mcmc.diagnostics.diagnosis import Diagnosis, diagnosed
from mcmc.diagnostics.evidence import gather
from mcmc.errors import WrongValue
from mcmc.words import reading_words

if TYPE_CHECKING:
    from mcmc.diagnostics.inputs import Draws


@reading_words
def diagnose(
    draws: Draws, *, rhat: float = 1.01, ess: float = 400, ebfmi: float = 0.3, quick: bool | None = False
) -> Diagnosis:
    """Judge a run: put every check that its data allow to it, and say what to do about those that fail.

    The draws themselves: `non_finite`, `constant`, `frozen_chain`, `duplicate_chains`, and of
    discrete parameters `stuck_discrete`. The kernel, from
    `sample_stats`: `divergences`, `ebfmi`, `max_tree_depth`, `nonfinite_proposals`. Enough draws: `ess_bulk`,
    `ess_tail`, `ess_square`, in total over all chains. Do the chains agree? Up to 16 chains: `rhat`, the
    largest rank-normalised split R-hat. Above, a chain may be too short to be judged by itself, and R-hat can
    acquit but not convict; then `nested_rhat` decides, over the superchains in `run_state["superchain"]`, with
    `drift` (the ensemble must not move), `astray_chain` (no chain may sit apart) and `slow_tails` (nor may all chains
    miss a part that they reach seldom). Without recorded superchains nested R-hat is not made, since groups of
    independent starts show nothing; `memory` takes its place: chains that do not drift and whose ends do not depend on
    their beginnings have forgotten where they started.

    Args:
        draws: a DataTree with a `posterior` (what `sample` returns, or any ArviZ tree), a Dataset, or a dict
            of groups of `(chain, draw, ...)` arrays. Missing groups leave checks "not made".
        rhat: largest R-hat to accept, also as a multiple of nested R-hat's floor.
        ess: smallest effective sample size to accept, in total, for every scalar parameter.
        ebfmi: smallest energy fraction to accept.
        quick: judge values instead of ranks, and leave out quantiles, at a few times the cost of reading the
            draws. None: above 4 million values.

    Returns:
        A `Diagnosis`: `ok`, `checks`, `table`, `to_dict()`, `str()`. Of draws of `mcmc.sample_each` a
        `mcmc.diagnostics.diagnoses.Diagnoses`: the same of all data sets, with a table that has a row for each.

    Raises:
        TypeError: not a tree, or a variable that is not numeric.
        ValueError: no posterior, nothing in it, no draws, dims other than chain and draw in front, or
            thresholds out of range.

    Sources: Vehtari et al. (2021), arXiv:1903.08008; Margossian et al. (2024), arXiv:2110.13017; Betancourt
    (2016),
    arXiv:1604.00695.

    Example:
        >>> import numpy as np
        >>> verdict = diagnose({"posterior": {"mu": np.random.default_rng(0).normal(size=(4, 1000))}})
        >>> verdict.ok, verdict["divergences"].made
        (True, False)
    """
    for name, value, least in (("rhat", rhat, 1.0), ("ess", ess, 0.0), ("ebfmi", ebfmi, 0.0)):
        if not (value >= least and np.isfinite(value)):
            raise WrongValue.told(
                name, f"{name} is {value}; expected a finite number from {least:g}: leave it out for the default."
            )
    if many(draws):
        return cast(Diagnosis, diagnose_each(draws, Limits(rhat, ess, ebfmi), quick))
    return diagnosed(gather(draws, quick), Limits(rhat, ess, ebfmi))


def diagnose_one(draws: Draws, **settings: Any) -> Diagnosis:
    """The diagnosis of a run; ValueError for draws on many data sets."""
    check_one(draws)
    return diagnose(draws, **settings)


def check_one(draws: Any) -> None:
    """Raise ValueError for draws on many data sets, where those on one are asked for."""
    if many(draws):
        first = np.asarray(draws["posterior"]["dataset"]).flat[0]
        remedy = f"Choose one: draws.sel(dataset={first}), or --dataset {first} in the shell."
        raise WrongValue("draws", "draws on many data sets", "draws on one data set", remedy)


def of_dataset(draws: Any, dataset: int) -> Any:
    """The draws on one of many data sets, by its number; ValueError where there is none."""
    if not many(draws):
        raise WrongValue("dataset", dataset, "draws on many data sets", "Leave --dataset out.")
    labels = np.asarray(draws["posterior"]["dataset"])
    if dataset not in labels:
        expected = f"one of the {len(labels)} data sets, {labels.min()} to {labels.max()}"
        raise WrongValue("dataset", dataset, expected, "mcmc diagnose lists them.")
    return draws.sel(dataset=dataset)


def many(draws: Any) -> bool:
    """Whether these are draws on many data sets."""
    posterior = draws["posterior"] if isinstance(draws, Mapping) and "posterior" in draws else None
    return {"dataset", "chain", "draw"} <= set(getattr(posterior, "dims", ()))
