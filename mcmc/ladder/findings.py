"""Why a run need not draw on with the settings it has: what its draws show, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mcmc.diagnostics.check import count_of
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.modes import modes_of
from mcmc.diagnostics.verdict import diagnose
from mcmc.engine.stopping import MARGIN, Converged

KERNEL_CHECKS = ("divergences", "ebfmi", "frozen_chain")
RARE = 0.01
DRIFT_FROM = 190


@dataclass(frozen=True)
class Finding:
    """What kind of trouble, and what was seen; where chains sit in several modes, `groups` (chain,) tells which, and
    `levels` (chain,) at what log densities; `starts` (chain, dim) where chains should be instead.
    """

    kind: Literal["modes", "drift", "slow", "kernel", "higher"]
    seen: str
    groups: np.ndarray | None = None
    levels: np.ndarray | None = None
    starts: np.ndarray | None = None


def find(groups: Mapping[str, Any], until: Converged, most: float, converged: bool) -> Finding | None:
    """Why to leave the settings of these draws (posterior, sample_stats, run_state); None: draw on, or done.

    `most` is how many draws a chain the budget allows in all. More draws mend what grows with them: a run is slow
    where even the whole budget would not do, at the pace so far.
    """
    limits = 1 + (until.rhat - 1) / MARGIN, MARGIN * until.ess
    found = diagnose(groups, rhat=limits[0], ess=limits[1], quick=None)
    bad = [c for c in found.checks if c.failed and c.severity != "info" and c.code in KERNEL_CHECKS]
    if converged:
        return Finding("kernel", f"{bad[0].code}: {bad[0].message}") if bad else None
    x, lp = columns_of(groups["posterior"]), np.asarray(groups["sample_stats"]["lp"])
    if (modes := modes_of(x)) is not None:
        return Finding("modes", _in_words(modes, lp), modes, lp.mean(1))
    drift = next((c for c in found.failures if c.code == "drift"), None)
    if drift is not None and x.shape[1] >= DRIFT_FROM:
        return Finding("drift", drift.message)
    return _slow(found, limits, x.shape[:2], most)


def columns_of(posterior: Any) -> np.ndarray:
    """The scalar columns of draws that are finite, (chain, draw, column)."""
    arrays = [np.asarray(posterior[name], float) for name in posterior.data_vars]
    joined = np.concatenate([a.reshape(*a.shape[:2], -1) for a in arrays], 2)
    return joined[:, :, np.isfinite(joined).all((0, 1))]


def _in_words(modes: np.ndarray, lp: np.ndarray) -> str:
    """How many modes, with how many chains and at what log density."""
    parts = []
    for k in range(min(modes.max() + 1, 4)):
        here = modes == k
        parts.append(f"{count_of(int(here.sum()), 'chain')} at log density {lp[here].mean():.5g}")
    more = f", and {modes.max() + 1 - len(parts)} more" if modes.max() + 1 > len(parts) else ""
    return f"chains sit in {modes.max() + 1} modes and do not change between them: {', '.join(parts)}{more}"


def _slow(found: Diagnosis, limits: tuple[float, float], shape: tuple[int, int], most: float) -> Finding | None:
    """Whether so many draws as the budget has would not do, by a chain that mixes badly."""
    chains, draws = shape
    failed = {c.code: c for c in found.failures}
    sizes = [c.value for code, c in failed.items() if code.startswith("ess_") and c.value is not None]
    ess = min(sizes, default=np.inf)
    need = limits[1] / max(ess, 1e-300)
    for code in ("rhat", "nested_rhat"):
        c = failed.get(code)
        if c is not None and c.value is not None and c.threshold:
            need = max(need, (c.value - 1) / (c.threshold - 1))
    agree = not ({"rhat", "nested_rhat", "memory", "astray_chain", "slow_tails"} & set(failed))
    if draws * need <= most or (agree and ess > RARE * chains * draws):
        return None
    worst = next(iter(failed.values()))
    return Finding("slow", f"at this pace the budget of {most:,.0f} draws a chain will not do: {worst.message}")
