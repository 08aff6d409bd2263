"""What a run with `until` tried before the settings of its draws, and what it saw where it did not converge."""

import json

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.evidence import Evidence


def attempts(e: Evidence) -> list[Check]:
    """A note of the settings that were left, a warning of what stood in the way; nothing where there was neither."""
    attrs = getattr(e.groups.get("run_state"), "attrs", {})
    tried, seen = json.loads(attrs.get("attempts", "[]")), attrs.get("seen", "")
    steps = [f"{a['kernel']} for {a['draws']} draws a chain ({a['seen']}), then {a['then']}" for a in tried]
    if seen:
        message = "; ".join([*steps, seen]) if steps else seen
        advice = "No other settings are known to help: look at the model, or give a kernel and starts of your own."
        return [Check("attempts", "warning", False, message, float(len(tried)), advice=advice)]
    if not tried:
        return []
    advice = "For information: the draws of those settings were discarded."
    return [Check("attempts", "info", False, "; ".join(steps), float(len(tried)), advice=advice)]
