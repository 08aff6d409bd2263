"""Gradients that are NaN where the log density is finite, as `sample` found them."""

from mcmc.diagnostics.check import Check, listed
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.modes import facts_of
from mcmc.user_code import DOUBLE_WHERE

MOST_SHOWN = 4


def nan_gradients(e: Evidence) -> list[Check]:
    """An error where gradients are NaN at a finite log density; nothing where none were found."""
    found = facts_of(e).get("nan_gradient")
    if not found:
        return []
    names, at = tuple(found.get("parameters", ())), found.get("at", {})
    where = ", ".join(f"{name} = {value}" for name, value in list(at.items())[:MOST_SHOWN])
    such = f", such as {where}" if where else ""
    return [
        Check(
            "nan_gradient", "error", False,
            f"the gradient{f' in {listed(names)}' if names else ''} is NaN although the log density is finite "
            f"({found['positions']} of {found['of']} positions near the chains{such}): "
            "chains do not go there",
            float(found["positions"]), 0.0, names, (), DOUBLE_WHERE,
        )
    ]  # fmt: skip
