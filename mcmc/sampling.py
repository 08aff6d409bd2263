"""sample and resume: the main job, from a log density to a posterior with a verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.engine.devices import devices_of, layout_of
from mcmc.engine.memory import check_memory, human
from mcmc.engine.processes import Processes
from mcmc.engine.progress import Reporter, make_reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import EVERYTHING, Run
from mcmc.engine.stopping import Converged
from mcmc.errors import MemoryLimitError, SamplingError, got
from mcmc.kernels.choose import DEFAULT_CHAINS, check_kernel, choose_kernel
from mcmc.random import keys
from mcmc.sampling_checks import check_fingerprint, check_resolution, judge
from mcmc.settings import (
    Settings,
    as_target,
    chains_in,
    check_count,
    check_kept,
    check_optional,
    check_sample_size,
    check_until,
    precision_of,
    settings_of,
)
from mcmc.storage import datatree
from mcmc.storage.recorder import Kept
from mcmc.storage.runs import check_store, create_store, every_few, init_of, load, open_store, recorder_of, store_of
from mcmc.target.predict import add_predictions
from mcmc.target.proposals import bind
from mcmc.target.target import Target
from mcmc.warmup.pooled import prepare
from mcmc.warmup.starts import find_starts

if TYPE_CHECKING:
    import xarray


def sample(
    target: Any,
    kernel: Any = None,
    *,
    chains: int | None = None,
    draws: int | None = None,
    warmup: int | None = None,
    seed: Any = 0,
    init: Any = None,
    superchains: Any = None,
    until: Converged | None = None,
    thin: int = 1,
    keep: Any = None,
    keep_dtype: Any = None,
    reduce: int | None = None,
    dtype: Any = None,
    lanes: int | None = None,
    store: Any = None,
    overwrite: bool = False,
    mesh: Any = None,
    progress: bool | Callable = True,
    save_warmup: bool = False,
    chunk: int | None = None,
    reseed: bool = False,
) -> xarray.DataTree:
    r"""Draw from a target with many chains, and judge the draws.

    Args:
        target: a `Target`; or a direct sampler (an object with `sample(key, shape)`), whose independent draws come
            back as chains.
        kernel: the Markov transition; None chooses one and says which and why.
        chains: None: 64, or as many as the starts in `init` have.
        draws: kept draws a chain. None: 1000 for up to 16 chains, about 20,000 over all chains for more.
        warmup: iterations that tune the kernel and are discarded. None: 1000, or 200 for more than 16 chains of a
            kernel that uses gradients; 0 for a direct sampler.
        seed: an int or a JAX key. With a tuned kernel and equal `lanes`, draw t of chain c depends on the seed,
            c and t alone.
        init: starts, a dict of constrained arrays with a leading chain axis or without (then jittered); an earlier
            run, whose last draws are taken; None: finite, overdispersed starts; "pathfinder": these, moved uphill to
            where the target's mass is, for targets whose bulk is far from the origin.
        superchains: groups of chains that share a start, for nested R-hat: a number, an array (chain,), 0 for
            none; None: 16 groups of more than 16 chains, unless chains move by each other (ensemble kernels) or
            have starts of their own in `init`.
        until: `mcmc.Converged(ess=400, ...)`: as many draws as that takes; not with `draws`.
        thin: keep every thin-th of draws · thin iterations.
        keep: names of the parameters, and derived quantities, to record; None: all.
        keep_dtype: `"float32"`: record in half the room what is computed in float64.
        reduce: at most so many draws a chain are kept, evenly spaced, and the moments of all in the group `moments`:
            memory and disk stay the same however many draws.
        dtype: None: float64 on a CPU, float32 on an accelerator.
        lanes: chains a block of the compiled program; see the page on invariance.
        store: a folder, `"run.zarr"`, to which draws stream as they come; memory then holds two blocks of them, and
            the result is read from there when it is used. What ends the process leaves what was committed:
            `mcmc.open(store)`, `mcmc.resume(target, store)`.
        overwrite: replace a store that exists.
        mesh: a `jax.sharding.Mesh` whose devices share the chains.
        progress: True (a display on stderr), False, or a function of `mcmc.engine.progress.Update`; where that has
            methods `take_moments` and `end_run`, they are called too (`mcmc.engine.progress.Reporter`).
        save_warmup: record the warmup draws in `warmup_posterior` and `warmup_sample_stats`.
        chunk: the most iterations between two looks at the run; it does not change the draws.
        reseed: start chains that are stuck far below the others in the second half of warmup again, from others.
            Right where such a place has no mass worth counting; without it they are reported and left alone.

    Returns:
        An `xarray.DataTree` by ArviZ's schema: `posterior`, `sample_stats`, `observed_data`, `log_likelihood` and
        `posterior_predictive` where the target gives them, and `run_state`, from which `resume` goes on.

    Raises:
        ValueError, TypeError: a bad argument, before anything is compiled.
        InitializationError: no finite start. MemoryLimitError: the draws do not fit. FileExistsError: the store
            exists. StoreError: the disk is full. SamplingError: a log density
            of +inf, with chain, place and remedy.

    Warns:
        ConvergenceWarning: with the diagnosis, where the draws should not be trusted yet.

    Example:
        >>> import mcmc
        >>> target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
        >>> draws = mcmc.sample(target, seed=1, progress=False)
        >>> draws.posterior["x"].shape
        (64, 320)
    """
    with make_reporter(_shown(progress)) as reporter, precision_of(dtype, mesh) as precision:
        target, kernel = as_target(target, kernel, precision)
        check_optional("lanes", lanes)
        check_optional("chunk", chunk)
        key = keys.run_words(seed)
        traced, kept = check_kept(target.trace(precision), keep, keep_dtype, reduce)
        why = ""
        if kernel is None:
            asked = chains if isinstance(chains, int) else chains_in(target, init) or DEFAULT_CHAINS
            kernel, why = choose_kernel(target, traced, precision, asked)
        check_until(until, draws)
        first = draws if until is None else next(until.looks(0))
        settings = settings_of(target, kernel, chains, first, warmup, thin, init, superchains)
        check_kernel(kernel, target, settings.chains)
        folder = check_store(store, save_warmup)
        run = _make_run(target, traced, kernel, settings, key, precision, lanes, devices_of(mesh), chunk, kept)
        _check_memory(run, settings, folder)
        check_sample_size(until, kept, settings.chains)
        run.reseed, run.init = reseed, "none" if init is None else init if isinstance(init, str) else "given"
        if folder:
            create_store(folder, run, settings, until, overwrite)
        _announce(run, settings, type(kernel).__name__, why, reporter, until)
        state = _begun(run, settings, init, key)
        return _go(run, settings, state, reporter, save_warmup, None, until, folder)


def resume(
    target: Target,
    draws_or_path: Any,
    draws: int | None = None,
    *,
    until: Converged | None = None,
    kernel: Any = None,
    progress: bool | Callable = True,
    mesh: Any = None,
    chunk: int | None = None,
) -> xarray.DataTree:
    """Go on with a run, bit for bit as if it had not stopped.

    Args:
        target: the run's target.
        draws_or_path: what `sample` returned, or the file (netCDF or zarr) where that was written.
        draws: how many more a chain; None: what the run was asked for and has not done, its `until` included.
        until: go on until this holds, of old draws and new together; not with `draws`.
        kernel: the run's kernel, where it holds functions of your own (a proposal).
        progress: as in `sample`.
        mesh: as in `sample`; another number of devices gives the same draws.
        chunk: as in `sample`.

    Returns:
        The whole run, old draws and new.

    Raises:
        FingerprintError: the target gives other log densities at the saved positions. ValueError: no `run_state`,
            or a kernel that can't be rebuilt.

    Example:
        >>> import mcmc
        >>> target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
        >>> first = mcmc.sample(target, draws=200, progress=False)
        >>> more = mcmc.resume(target, first, 200, progress=False)
        >>> more.posterior["x"].shape
        (64, 400)
    """
    old = load(draws_or_path)
    saved, folder = datatree.read_state(old), store_of(draws_or_path)
    with make_reporter(_shown(progress)) as reporter, precision_of(saved.dtype, mesh) as precision:
        target, kernel = as_target(target, kernel, precision)
        kernel = datatree.restore_kernel(saved, kernel)
        check_until(until, draws)
        if saved.until and until is None and draws is None and old.attrs["status"] != "complete":
            until = Converged(**saved.until)
        remaining = saved.asked - saved.done if draws is None else draws
        if until is not None:
            remaining = max(remaining, next(until.looks(saved.done)) - saved.done)
        check_count("draws", remaining, 0)
        settings = Settings(saved.chains, saved.done + remaining, saved.warmup, saved.thin, saved.superchains)
        traced, kept = check_kept(target.trace(precision), *astuple(saved.kept))
        layout = precision, saved.lanes, devices_of(mesh)
        run = _make_run(target, traced, kernel, settings, saved.key, *layout, chunk, kept, saved.tunes)
        _check_memory(run, settings, folder)
        check_sample_size(until, kept, settings.chains)
        run.reseed, run.init = saved.reseed, saved.init
        run.stopped = "" if remaining else old.attrs.get("stopped", "")
        if saved.iteration < 0:
            state = _begun(run, settings, init_of(saved), saved.key)
        else:
            check_fingerprint(run, saved)
            run.groups = np.arange(saved.chains) if saved.superchains is None else saved.superchains
            run.starts, run.may_improve = saved.arrays.get("starts"), "starts" in saved.arrays
            state = datatree.restore_progress(saved, run)
        reporter.start(f"resuming {settings.chains} chains at draw {saved.done} of {settings.draws}")
        return _go(run, settings, state, reporter, "warmup_posterior" in old.children, old, until, folder, saved.done)


# --- the steps of a run, in order -------------------------------------------------------------------------


def _make_run(
    target: Target,
    traced: Any,
    kernel: Any,
    settings: Settings,
    key: np.ndarray,
    dtype: Any,
    lanes: int | None,
    devices: tuple,
    chunk: int | None,
    kept: Kept = EVERYTHING,
    tunes: list | None = None,
) -> Run:
    prepared, tuner = prepare(bind(kernel, target, dtype), target.dim, dtype, tunes)
    tuner = tuner if settings.warmup else None
    if hasattr(target, "host"):  # a black box is called for its own chains only, all in one call
        lanes, devices = lanes or settings.chains, devices[:1]
    layout = layout_of(settings.chains, lanes, traced.width + 8, dtype.itemsize, kernel, tuner is not None, devices)
    return Run(target, traced, prepared, tuner, layout, key, dtype, settings.warmup, settings.thin, chunk, kept=kept)


def _check_memory(run: Run, settings: Settings, folder: Path | None) -> None:
    """Raise MemoryLimitError where the draws that are held in memory do not fit."""
    draws = 1 if folder else min(settings.draws, run.kept.most or settings.draws)
    dtype = np.dtype(run.kept.dtype or run.dtype)
    check_memory(settings.chains, draws, run.traced.width + len(run.statistics), dtype.itemsize, str(dtype))


def _shown(progress: bool | Callable) -> bool | Callable:
    """Of several processes the first shows progress."""
    return progress if Processes.here().index == 0 else False


def _announce(run: Run, settings: Settings, name: str, why: str, reporter: Reporter, until: Converged | None) -> None:
    if until is not None:
        reporter.start(
            f"{name}, {settings.chains} chains until {until}, at most {until.most:,} draws each ({run.dtype})"
        )
        return
    total = settings.chains * settings.draws
    size = total * (run.traced.width + len(run.statistics)) * run.dtype.itemsize
    title = f"{name}, {settings.chains} chains x {settings.draws} = {total:,} draws ({human(size)}, {run.dtype})"
    reporter.start(title)
    if why:
        reporter.note(f"{name} with {settings.chains} chains, because {why}")


def _begun(run: Run, settings: Settings, init: Any, key: np.ndarray) -> Progress:
    """The chains at their starts."""
    run.starts = _starts(run, settings, init, key)
    run.may_improve = init is None and hasattr(run.state_shape, "gradient")
    return run.begin(run.starts)[0]


def _starts(run: Run, settings: Settings, init: Any, key: np.ndarray) -> np.ndarray:
    groups = settings.superchains
    if groups is None:
        groups = np.arange(settings.chains)
    run.groups = groups
    if hasattr(init, "children"):
        init = datatree.last_draws(init, run.target)
    if not isinstance(init, str):
        return find_starts(run.target, init, groups, key, run.dtype, lambda y: run.begin(y)[2])
    if init != "pathfinder":
        remedy = 'Give starts as {name: value}, or init="pathfinder".'
        raise ValueError(got("init", init, 'a dict of starts, an earlier run, None or "pathfinder"', remedy))
    if not hasattr(run.state_shape, "gradient"):
        remedy = "Use mcmc.HMC() or mcmc.NUTS(), or leave init out."
        raise ValueError(got("init", init, "a kernel that uses gradients, which the climb needs", remedy))
    return run.improved(find_starts(run.target, None, groups, key, run.dtype, lambda y: run.begin(y)[2]))


def _go(
    run: Run,
    settings: Settings,
    state: Progress,
    reporter: Reporter,
    save_warmup: bool,
    old: Any,
    until: Converged | None,
    folder: Path | None,
    done: int = 0,
) -> xarray.DataTree:
    """Warmup, sampling, the data, the verdict."""
    began = time.time()
    warm = run.recorder(settings.warmup) if save_warmup and state.iteration == 0 else None
    recorder = recorder_of(folder, run, settings, settings.draws - done, old, until, began)
    if folder:
        recorder.reserve(settings.draws - done)
        recorder.begin(state)
        run.looked_at = recorder.mark
    status = "complete"
    try:
        if state.iteration < settings.warmup:
            run.warm(state, reporter, warm)
            state.chains = run.place(run.joined(state).state)
            check_resolution(run, state, reporter)
        if until is None:
            run.advance(state, settings.warmup + settings.draws * settings.thin, reporter, recorder)
        else:
            run.stopped = _advance_until(until, run, settings, state, reporter, recorder, old, done)
            settings = replace(settings, draws=done + recorder.filled)
    except KeyboardInterrupt:
        if run.layout.processes.count > 1:  # the others are elsewhere: what is committed stays, and resumes
            raise
        done_now = max(0, (state.iteration - settings.warmup) // settings.thin) - done
        if done_now + done == 0 and not folder:
            raise
        recorder.filled, status = done_now, "interrupted"
        reporter.note("interrupted: the draws so far are returned, and mcmc.resume goes on from here")
    reporter.end_run("finished" if status == "complete" else "interrupted", run.stopped)
    if folder:
        recorder.mark(state, status)
        recorder.wait()
        if status == "complete":
            recorder.trim()
        tree = open_store(folder)
    else:
        tree = datatree.assemble(run, settings, state, recorder, warm, old, status, began, until)
        if set(run.target.names) <= set(tree["posterior"].data_vars):
            add_predictions(tree, run.target)
    if tree["posterior"].sizes["draw"] and run.layout.processes.index == 0:
        judge(tree, every_few(tree, reporter) if folder else tree)
    return tree


def _advance_until(
    until: Converged,
    run: Run,
    settings: Settings,
    state: Progress,
    reporter: Reporter,
    recorder: Any,
    old: Any,
    done: int,
) -> str:
    """Sample from one look to the next; why it stopped."""
    processes = run.layout.processes
    deadline = time.perf_counter() + (until.max_seconds or math.inf)
    moments, waited = Moments() if processes.count == 1 else None, False
    for look in until.looks(done):
        try:
            _check_memory(run, replace(settings, draws=look - done), None)
            full = ""
        except MemoryLimitError as error:
            full = str(error)
        if processes.gather(bool(full)).any():
            reporter.note(full or "another process has no memory for more draws")
            return "memory"
        recorder.reserve(look - done)
        run.advance(state, settings.warmup + look * settings.thin, reporter, recorder, moments, deadline)
        late = processes.first(time.perf_counter() >= deadline)
        if not late and look < until.most and not waited and moments is not None and until.hopeless(moments):
            waited = True
            continue
        waited = False
        missing = until.missing(datatree.judged(run, settings, recorder, old))
        if not missing:
            return "converged"
        if late:
            return "max_seconds"
        reporter.note(f"{done + recorder.filled:,} draws a chain: {missing[0]}")
    return "max_draws"


__all__ = ["SamplingError", "resume", "sample"]
