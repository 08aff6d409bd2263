"""The check of draws that `mcmc.approximate` made: whether their weights hold."""

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.evidence import Evidence

GOOD_K = 0.7


def approximation(e: Evidence) -> list[Check]:
    """Draws of an approximation are as good as the Pareto k of their weights; nothing of other draws."""
    attrs = getattr(e.groups.get("approximation"), "attrs", None)
    if not attrs:
        return []
    good = bool(attrs["good"])
    k = float(attrs["pareto_k"]) if "pareto_k" in attrs else None
    message = str(attrs["verdict"]).rstrip(".").replace(". Use mcmc.sample", "")
    if good:
        return [Check("approximation", "error", True, message, k, GOOD_K)]
    advice = "The approximation is far from the density: take it for a start."
    call = "mcmc.sample(target, init=draws)" if k is not None else 'mcmc.approximate(target, method="pathfinder")'
    return [Check("approximation", "error", False, message, k, GOOD_K, advice=advice, call=call)]
