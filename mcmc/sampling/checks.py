"""What is checked of a run on the way: the resolution of its log density, its target, and its draws."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mcmc.engine.compilation import compile_program
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.resolution import coarse, resolution
from mcmc.engine.run import Run
from mcmc.errors import FingerprintError, got, warn
from mcmc.target.target import Target
from mcmc.target.traced import Traced
from mcmc.warmup.geometry.triangular_map import moved
from mcmc.warmup.starts import short

if TYPE_CHECKING:
    import xarray

    from mcmc.diagnostics.diagnosis import Diagnosis


def check_resolution(run: Run, state: Progress, reporter: Reporter) -> None:
    """Warn where log densities are rounded so coarsely in float32 that chains accept by chance."""
    if run.plan.dtype != np.float32 or run.target.discrete:
        return
    chains = run.joined(state).state
    error = resolution(chains.position, lambda y: run.begin(y)[1], [*map(int, run.plan.key)])
    message = coarse(error, float(np.median(chains.lp)), run.plan.dtype)
    if message:
        reporter.note(message)
        warn(message)


def judge(
    tree: xarray.DataTree, read: xarray.DataTree, run: Run, state: Progress, diagnosis: Diagnosis | None = None
) -> bool:
    """Warn with the diagnosis of what is read of a run, made here where it is not yet, if it should not be trusted.

    What only the target can tell of a run that fails is kept in the attribute `places` of `run_state`; whether there is
    any.
    """
    from mcmc.diagnostics.verdict import diagnose
    from mcmc.sampling.elsewhere import elsewhere, not_sought
    from mcmc.sampling.flips import unseen_values
    from mcmc.sampling.gradients import nan_gradients
    from mcmc.sampling.places import at_bounds, places
    from mcmc.sampling.scales import endless_scale
    from mcmc.sampling.tails import tails_of_target

    start = time.perf_counter()
    run.places = {"bounds": found} if (found := at_bounds(run, state)) else {}
    if not run.places and (found := nan_gradients(run, state)):
        run.places["nan_gradient"] = found
    run.places |= {"tails": tails} if (tails := tails_of_target(run, state, read["posterior"])) else {}
    run.places |= {"not_sought": why} if (why := not_sought(run)) else {}
    _keep(run, tree, read)
    if diagnosis is None or run.places:
        diagnosis = diagnose(read, quick=None)
    if not diagnosis.ok:
        more = places(run, state, read["posterior"], diagnosis)
        if "improper" not in more and (scale := endless_scale(run, state)):
            more["endless_scale"] = scale
    else:
        effective = diagnosis["ess_bulk"].value or 0.0
        seek = unseen_values if run.target.discrete else elsewhere
        found = None if why else seek(run, state, read["posterior"], effective)
        more = {"elsewhere": found} if found else {}
    if more:
        run.places |= more
        _keep(run, tree, read)
        diagnosis = diagnose(read, quick=None)
    tree.attrs["diagnosis_time"] = time.perf_counter() - start
    if not diagnosis.ok:
        warn(str(diagnosis))
    return bool(run.places)


def _keep(run: Run, *trees: xarray.DataTree) -> None:
    """Write what the target tells of a run beside its draws."""
    for each in trees if run.places else ():
        each["run_state"].attrs["places"] = json.dumps(run.places)


def check_columns(target: Target, traced: Traced, old: xarray.DataTree, saved: Any) -> None:
    """The names, shapes and number of draws of a saved run are those that the target, and its state, go on with."""
    posterior = old["posterior"]
    found = {c.name: c.shape for c in traced.columns}
    held = {str(n): tuple(a.shape[2:]) for n, a in posterior.data_vars.items()}
    if found != held:
        differ = [n for n in {**held, **found} if held.get(n) != found.get(n)]
        shown, expected = (", ".join(f"{n} {d.get(n, 'missing')}" for n in differ) for d in (found, held))
        remedy = "Resume with the parameters and derived quantities that the run was made with."
        raise FingerprintError(got("target", f"shapes {shown}", f"{expected}, as saved", remedy))
    if saved.iteration >= 0 and saved.positions.shape[-1] != target.dim:
        expected = f"{saved.positions.shape[-1]}, as saved"
        raise FingerprintError(got("target", f"{target.dim} dimensions", expected, "Resume with the same supports."))
    cut = saved.reduced is None and (posterior.sizes["chain"], posterior.sizes["draw"]) != (saved.chains, saved.done)
    if cut:
        shown = f"{posterior.sizes['chain']} chains x {posterior.sizes['draw']} draws"
        remedy = "Resume the whole run, and cut the result: draws.isel(draw=...) of it."
        raise FingerprintError(got("draws", shown, f"{saved.chains} x {saved.done}, as sampled", remedy))


def check_last_draw(run: Run, saved: Any) -> None:
    """Saved positions are those of the last draws: parameters have the order and the supports that they had."""
    old = run.plan.old
    if old is None or saved.done == 0 or saved.reduced is not None or run.plan.kept.dtype or run.target.discrete:
        return
    if run.layout.processes.count > 1:
        return
    position = moved(run.layers, (), np.asarray(saved.positions[:1], float))[0]
    for name, value in run.target.describe(position).items():
        if name not in old["posterior"]:
            continue
        held = np.asarray(old["posterior"][name])[0, -1]
        if not np.allclose(value, held, 1e-3, 1e-3 * (1e-300 + np.abs(held).max())):
            remedy = "Resume with the same parameters in the same order, and the same supports."
            text = got(f"target, {name}", f"{short(np.asarray(value))} at chain 0", f"{short(held)}, as saved", remedy)
            raise FingerprintError(text, chain=0)


def check_derived(run: Run, saved: Any) -> None:
    """What is recorded at the last draws is what the target gives there: derived quantities are still the same."""
    old = run.plan.old
    if run.target.derived is None or old is None or saved.done == 0 or saved.reduced is not None or run.plan.kept.dtype:
        return
    if run.layout.processes.count > 1 or run.layers:
        return
    position = np.asarray(saved.positions[0], run.plan.dtype)

    def derived(arrays: tuple, position: jax.Array) -> jax.Array:
        return run.traced.record(arrays, position)

    row = np.asarray(compile_program(derived, run.traced.arrays, position)[0](run.traced.arrays, position))
    tolerance = 1e-6 if run.plan.dtype == np.float64 else 1e-3
    for c in run.traced.columns:
        found, held = row[c.start : c.stop], np.asarray(old["posterior"][c.name])[0, -1].reshape(-1).astype(float)
        if not np.allclose(found, held, tolerance, tolerance, equal_nan=True):
            worst = int(np.nanargmax(np.abs(found - held)))
            remedy = "Resume with the derived quantities that the run was made with, or sample anew."
            text = got(
                f"derived[{c.name!r}]", f"{found[worst]:.10g} at chain 0", f"{held[worst]:.10g}, as saved", remedy
            )
            raise FingerprintError(text, chain=0)


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
