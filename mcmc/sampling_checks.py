"""What is checked of a run on the way: the resolution of its log density, its target, and its draws."""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.resolution import coarse, resolution
from mcmc.engine.run import Run
from mcmc.errors import ConvergenceWarning, FingerprintError, got

if TYPE_CHECKING:
    import xarray


def check_resolution(run: Run, state: Progress, reporter: Reporter) -> None:
    """Warn where log densities are rounded so coarsely in float32 that chains accept by chance."""
    if run.plan.dtype != np.float32 or run.target.discrete:
        return
    chains = run.joined(state).state
    error = resolution(chains.position, lambda y: run.begin(y)[1], [*map(int, run.plan.key)])
    message = coarse(error, float(np.median(chains.lp)), run.plan.dtype)
    if message:
        reporter.note(message)
        warnings.warn(message, ConvergenceWarning, stacklevel=6)


def judge(tree: xarray.DataTree, read: xarray.DataTree) -> None:
    """Warn with the diagnosis of what is read of a run, where it should not be trusted yet."""
    from mcmc.diagnostics.diagnosis import diagnose

    start = time.perf_counter()
    diagnosis = diagnose(read, quick=None)
    tree.attrs["diagnosis_time"] = time.perf_counter() - start
    if not diagnosis.ok:
        warnings.warn(str(diagnosis), ConvergenceWarning, stacklevel=5)


def check_fingerprint(run: Run, saved: Any) -> None:
    """The target gives the saved log densities at the saved positions, or it is another one."""
    positions, expected = saved.positions, saved.lps
    found = run.begin(positions)[1]
    tolerance = (1e-8 if run.plan.dtype == np.float64 else 1e-3) * np.maximum(1.0, np.abs(expected))
    bad = ~(np.abs(found - expected) <= tolerance)
    if bad.any():
        c = int(np.flatnonzero(bad)[0])
        remedy = "Resume with the target, and the data, that the run was made with."
        text = got("target", f"log density {found[c]:.10g} at chain {c}", f"{expected[c]:.10g}, as saved", remedy)
        raise FingerprintError(text, chain=c)
