"""The one call to make next after a failed check, of runs that `mcmc.sample` made: what the run itself shows."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.modes import AGREEMENT, facts_of
from mcmc.diagnostics.walls import support_call
from mcmc.warmup.lost_chains import lost_chains

SIZES = {"ess_bulk", "ess_tail", "ess_square"}
CURVED = {"divergences", "slow_tails", "ebfmi"}
CAUSES = ("improper", "nan_gradient", "burn_in", "label_switching", "modes", "elsewhere")
FIRST = CAUSES
"""What is said first of a failed run: other failures may follow from it."""
FOLLOWS = SIZES | AGREEMENT | {"slow_tails"}
OF_A_BROKEN_DENSITY = FOLLOWS | CURVED | {"nonfinite_proposals", "frozen_chain"}
FROM = {"improper": OF_A_BROKEN_DENSITY, "nan_gradient": OF_A_BROKEN_DENSITY, "burn_in": FOLLOWS | {"heavy_tails"}}
"""What may follow from a cause; of the others it is what comes of chains that do not agree."""
FEW_DIMENSIONS, FEW_TEMPERATURES, MANY_TEMPERATURES = 4, 8, 16
COSTLY = 0.1
"""A share of steps at walls that is likely to be why draws are few."""
MOST = 50
"""A run is resumed for up to so many times its draws."""


def advised(e: Evidence, checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, with the call to make next where one is known to help; what follows from another check says so."""
    failed = {check.code for check in checks if check.failed and check.severity != "info"}
    cause = next((code for code in CAUSES if code in failed), "")
    wall = next((check for check in checks if check.code == "wall"), None)
    found = []
    for check in checks:
        if check.code in failed and check.severity != "info":
            if cause and check.code in FROM.get(cause, FOLLOWS):
                check = replace(check, advice=f"This follows from what {cause} says.")
            elif wall and (wall.value or 0.0) > COSTLY and check.code in FOLLOWS:
                check = replace(check, advice=wall.advice, call=support_call(e))
            elif not check.call and cause not in ("nan_gradient", "improper"):
                check = replace(check, call=_call(e, check, failed))
        found.append(check)
    return tuple(found)


def _call(e: Evidence, check: Check, failed: set[str]) -> str:
    if check.code == "heavy_tails":
        name = check.parameters[0].partition("[")[0]
        return f'draws.posterior["{name}"].quantile([0.05, 0.5, 0.95], dim=("chain", "draw"))'
    attrs = getattr(e.groups.get("run_state"), "attrs", {})
    if "geometry" not in attrs:  # not a run of mcmc.sample
        return ""
    if check.code in CURVED and attrs["geometry"] == "affine":
        return "mcmc.sample(target)"
    if check.code in CURVED | AGREEMENT | {"frozen_chain"}:
        return "" if attrs.get("attempts") else "mcmc.sample(target, until=mcmc.Converged(ess=400))"
    if check.code == "modes":
        return _between_modes(e, check)
    if check.code == "elsewhere":
        spread = facts_of(e)["elsewhere"].get("spread")
        return _tempered(spread, json.loads(attrs["kernel"])) if spread else ""
    value, threshold = check.value or 0.0, check.threshold or 0.0
    if failed <= SIZES and value * MOST > threshold:
        lowest = min(1.0, value / threshold)
        more = 10 * math.ceil(e.plan.draws * (1.3 / lowest - 1) / 10)
        return f"mcmc.resume(target, draws, draws={more})"
    return ""


def _between_modes(e: Evidence, check: Check) -> str:
    """A run that moves between modes: tempering, or chains far below started from the others."""
    attrs = e.groups["run_state"].attrs
    spread = json.loads(attrs.get("places", "{}")).get("spread")
    levels = [g["log_density"] for g in check.groups for _ in g["chains"]]
    if None not in levels and lost_chains(np.array(levels)).any() and not attrs["reseed"]:
        return "mcmc.sample(target, reseed=True)"
    if spread is None or e.discrete.any():
        return ""
    return _tempered(spread, json.loads(attrs["kernel"]))


def _tempered(spread: Sequence[float], kernel: dict) -> str:
    temperatures = FEW_TEMPERATURES if len(spread) <= FEW_DIMENSIONS else MANY_TEMPERATURES
    if kernel["name"] == "Tempered":
        temperatures = 2 * kernel["temperatures"]
    scale = spread if 1 < len(spread) <= FEW_DIMENSIONS else max(spread)
    settings = f"temperatures={temperatures}, reference_scale={scale}"
    return f"mcmc.sample(target, mcmc.Tempered({settings}), init=draws, until=mcmc.Converged(ess=400))"
