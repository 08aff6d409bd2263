"""The one call to make next after a failed check, of runs that `mcmc.sample` made: what the run itself shows."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.walls import support_call

SIZES = {"ess_bulk", "ess_tail", "ess_square"}
CURVED = {"divergences", "slow_tails", "ebfmi"}
UNSETTLED = {"rhat", "nested_rhat", "drift", "memory", "slow_tails"}
SLOW = SIZES | UNSETTLED | {"divergences"}
FLAT, CLIMB = 0.1, 10.0
"""Nats: a log density that varies less is constant; one that rises by more, and no slower at the end, has no top."""
MOST = 50
"""A run is resumed for up to so many times its draws."""


def advised(e: Evidence, checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, with the call to make next where one is known to help."""
    failed = {check.code for check in checks if check.failed and check.severity != "info"}
    shape = _improper(e) if failed & UNSETTLED else ""
    wall = next((check for check in checks if check.code == "wall"), None)
    found = []
    for check in checks:
        if check.failed and check.severity != "info":
            if shape and check.code in UNSETTLED:
                where = check.parameters[0] if check.parameters else "a parameter"
                advice = f"Possibly not a proper density in {where}: {shape}. Check the prior and the sign."
                check = replace(check, advice=advice)
            elif check.code in SLOW and wall:
                check = replace(check, advice=wall.advice, call=support_call(e))
            else:
                check = replace(check, call="" if shape else _call(e, check, failed))
        found.append(check)
    return tuple(found)


def _improper(e: Evidence) -> str:
    """What the recorded log density says against a proper target, of chains that do not settle; or nothing."""
    stats = e.groups.get("sample_stats")
    if stats is None or "lp" not in stats or e.plan.draws < 16:
        return ""
    lp = np.asarray(stats["lp"].transpose("chain", "draw", ...).values, float)
    if lp.ndim != 2 or not np.isfinite(lp).all():
        return ""
    low, high = np.quantile(lp, (0.1, 0.9))
    if high - low < FLAT:
        return "its log density is constant where the chains go"
    quarter = lp.shape[1] // 4
    rise = np.diff([lp[:, i * quarter : (i + 1) * quarter].mean() for i in range(4)])
    if (rise > CLIMB).all() and rise[-1] > 0.7 * rise[0]:
        return f"its log density rises without end, by {rise[-1]:.3g} in the last quarter of the draws"
    return ""


def _call(e: Evidence, check: Check, failed: set[str]) -> str:
    if check.code == "heavy_tails":
        name = check.parameters[0].partition("[")[0]
        return f'draws.posterior["{name}"].quantile([0.05, 0.5, 0.95], dim=("chain", "draw"))'
    attrs = getattr(e.groups.get("run_state"), "attrs", {})
    if "geometry" not in attrs:  # not a run of mcmc.sample
        return ""
    if check.code in CURVED and attrs["geometry"] == "affine":
        return "mcmc.sample(target)"
    value, threshold = check.value or 0.0, check.threshold or 0.0
    if failed <= SIZES and value * MOST > threshold:
        lowest = min(1.0, value / threshold)
        more = 10 * math.ceil(e.plan.draws * (1.3 / lowest - 1) / 10)
        return f"mcmc.resume(target, draws, draws={more})"
    return ""
