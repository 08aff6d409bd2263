"""Whether the target has an integral, by what the run and its log density show."""

from collections.abc import Sequence

import numpy as np

from mcmc.diagnostics.check import Check, listed
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.modes import facts_of

FLAT, CLIMB = 0.1, 10.0
"""Nats: a log density that varies less is constant; one that rises by more, and no slower at the end, has no top."""
UNSETTLED = {"rhat", "nested_rhat", "drift", "memory", "astray_chain", "slow_tails", "divergences", "frozen_chain"}
BOUNDS = "it lies on its bound, or at infinity, as far as floating point tells them apart"


def improper(e: Evidence, checks: Sequence[Check]) -> list[Check]:
    """An error where the density has no finite integral, for all that shows; nothing where nothing speaks for it."""
    facts = facts_of(e)
    unsettled = [check for check in checks if check.failed and check.severity != "info" and check.code in UNSETTLED]
    where, shape = facts.get("improper", ""), _shape(e) if unsettled else ""
    if where:
        shape = shape or f"the log density does not fall along {where}"
    elif scales := facts.get("endless_scale", []):
        known = {scale.partition("[")[0] for scale in scales}
        where = listed(sorted([*scales, *(name for name in facts.get("bounds", ()) if name not in known)]))
        shape = f"the mass does not fall as {' or '.join(scales)} goes to its bound, and what it scales with it"
    elif facts.get("bounds"):
        where, shape = listed(facts["bounds"]), BOUNDS
    elif shape:
        where = next((check.parameters[0] for check in unsettled if check.parameters), e.labels[0])
    if not where:
        return []
    advice = f"Possibly not a proper density in {where}: {shape}. Check the prior and the sign."
    return [Check("improper", "error", False, f"draws of {where} do not settle: {shape}", advice=advice)]


def _shape(e: Evidence) -> str:
    """What the recorded log density says against a proper target; or nothing."""
    stats = e.groups.get("sample_stats")
    if stats is None or "lp" not in stats or e.plan.draws < 16:
        return ""
    lp = np.asarray(stats["lp"].transpose("chain", "draw", ...).values, float)
    if lp.ndim != 2 or not np.isfinite(lp).all():
        return ""
    low, high = np.quantile(lp, (0.1, 0.9))
    if high - low < FLAT:
        return "the log density is constant where the chains go"
    quarter = lp.shape[1] // 4
    rise = np.diff([lp[:, i * quarter : (i + 1) * quarter].mean() for i in range(4)])
    if (rise > CLIMB).all() and rise[-1] > 0.7 * rise[0]:
        return f"the log density rises without end, by {rise[-1]:.3g} in the last quarter of the draws"
    return ""
