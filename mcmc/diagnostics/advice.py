"""The one call to make next after a failed check, of runs that `mcmc.sample` made: what the run itself shows."""

import math
from collections.abc import Sequence
from dataclasses import replace

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.evidence import Evidence

SIZES = {"ess_bulk", "ess_tail", "ess_square"}
CURVED = {"divergences", "slow_tails", "ebfmi"}
MOST = 50
"""A run is resumed for up to so many times its draws."""


def advised(e: Evidence, checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks, with the call to make next where one is known to help."""
    failed = {check.code for check in checks if check.failed and check.severity != "info"}
    return tuple(replace(c, call=_call(e, c, failed)) if c.failed and c.severity != "info" else c for c in checks)


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
