"""Walls where the log density falls to -inf: which parameters end there, and the supports to declare."""

import json
from typing import Any

from mcmc.diagnostics.check import Check, listed, percent
from mcmc.diagnostics.evidence import Evidence


def walls(e: Evidence) -> list[Check]:
    """A note of the walls that trajectories met, with the support to declare; nothing where there were none."""
    met = recorded_walls(e)
    if not met:
        return []
    turned, names = met["met"], tuple(met["ends"])
    what = f"{percent(turned)} of steps met a wall, where the log density is -inf"
    parts = [_ends(name, ends) for name, ends in met["ends"].items()]
    parts += ["where several parameters together are out of bounds"] if met["other"] else []
    advice = "Draws are right, and cost more gradients than they need: see whether other parameters suit the walls."
    if met["supports"]:
        supports = ", ".join(f'"{name}": {call}' for name, call in met["supports"].items())
        advice = f"Declare the support, {{{supports}}}, in place of the -inf: draws then cost fewer gradients."
    return [Check("wall", "info", False, f"{what}: {listed(parts)}", turned, 0.0, names, advice=advice)]


def support_call(e: Evidence) -> str:
    """The call that samples the same target with the supports declared; empty where they are not simple."""
    supports = recorded_walls(e).get("supports", {})
    if not supports or not all(call.startswith("mcmc.") for call in supports.values()):
        return ""
    named = ", ".join(f'"{name}": {call}' for name, call in supports.items())
    return f"mcmc.sample(mcmc.Target(log_density, parameters | {{{named}}}))"


def recorded_walls(e: Evidence) -> dict[str, Any]:
    """What the run recorded of walls, or nothing."""
    return json.loads(getattr(e.groups.get("run_state"), "attrs", {}).get("walls", "{}"))


def _ends(name: str, ends: dict[str, float]) -> str:
    sides = [f"{'below' if side == 'low' else 'above'} {place:g}" for side, place in ends.items()]
    return f"{name} {' and '.join(sides)}"
