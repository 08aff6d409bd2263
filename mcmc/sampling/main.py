"""sample and resume: the main job, from a log density to a posterior with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jax.typing import DTypeLike

from mcmc.engine.progress import Update
from mcmc.engine.progress_displays import make_reporter
from mcmc.engine.stopping import Converged
from mcmc.engine.surroundings import check_surroundings
from mcmc.engine.waiting import not_silent
from mcmc.errors import SamplingError
from mcmc.kernels.protocols import DirectSampler, Kernel
from mcmc.kernels.smc import SMC
from mcmc.sampling.run import carried_out, sampled
from mcmc.sampling.steps import continued_plan, continued_state, make_run, shown
from mcmc.settings import Request, precision_of
from mcmc.storage import datatree
from mcmc.storage.runs import load
from mcmc.storage.zarr_store import alone
from mcmc.target.target import Target
from mcmc.words import own_words

if TYPE_CHECKING:
    import xarray


@own_words
def sample(
    target: Target | DirectSampler,
    kernel: Kernel | SMC | None = None,
    *,
    chains: int | None = None,
    draws: int | None = None,
    warmup: int | None = None,
    seed: int | jax.Array = 0,
    init: Mapping[str, Any] | xarray.DataTree | Literal["pathfinder"] | None = None,
    superchains: int | Sequence[int] | np.ndarray | None = None,
    until: Converged | None = None,
    thin: int = 1,
    keep: str | Sequence[str] | None = None,
    keep_dtype: DTypeLike | None = None,
    reduce: int | None = None,
    dtype: DTypeLike | None = None,
    lanes: int | None = None,
    store: str | Path | None = None,
    overwrite: bool = False,
    mesh: jax.sharding.Mesh | None = None,
    progress: bool | Callable[[Update], Any] = True,
    save_warmup: bool = False,
    chunk: int | None = None,
    reseed: bool = False,
    geometry: Literal["auto", "affine"] = "auto",
) -> xarray.DataTree:
    """Draw from a target with many chains, and judge the draws.

    Args:
        target: a `Target`; or a direct sampler (an object with `sample(key, shape)`), whose independent draws come
            back as chains.
        kernel: the Markov transition; None chooses one and says which and why.
        chains: None: 64, or as many as the starts in `init` have; 32 where a gradient is dear (page on kernels), which
            is estimated from what it computes, never timed.
        draws: kept draws a chain. None: 1000 for up to 16 chains, about 20,000 over all chains for more, or fewer where
            a gradient is dear; up to four times as many where the verdict lacks nothing else, no kernel is named and
            nothing stored.
        warmup: iterations that tune the kernel and are discarded. None: 1000, or 200 for more than 16 chains of a
            kernel that uses gradients (100 where these are very dear); 0 for a direct sampler.
        seed: an int or a JAX key. With a tuned kernel and equal `lanes`, draw t of chain c depends on the seed,
            c and t alone.
        init: starts, a dict of constrained arrays with a leading chain axis or without (then jittered); an earlier
            run, whose last draws are taken, for other numbers of chains too (one point, as a mode is, is jittered);
            None: finite, overdispersed starts; "pathfinder": these, optimised to where the target's mass is, for
            targets whose bulk is far from the origin.
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
        chunk: the most iterations between two checks of the run; it does not change the draws.
        geometry: `"affine"`: warmup fits a metric only. `"auto"`: where draws and gradients show that coordinates are
            normal given others, as in a hierarchy, it also fits a map that non-centres them (page on geometry). Draws
            are of the same target; what was found is a note and the attribute `geometry`.
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
    check_surroundings(seed, getattr(target, "data", None))
    asked = Request(
        target,
        kernel,
        chains=chains,
        draws=draws,
        warmup=warmup,
        seed=seed,
        init=init,
        superchains=superchains,
        until=until,
        thin=thin,
        keep=keep,
        keep_dtype=keep_dtype,
        reduce=reduce,
        lanes=lanes,
        store=store,
        overwrite=overwrite,
        mesh=mesh,
        save_warmup=save_warmup,
        chunk=chunk,
        reseed=reseed,
        geometry=geometry,
    )
    if isinstance(kernel, SMC):
        from mcmc.evidence.posterior import sample_by_smc

        return sample_by_smc(asked, dtype, progress)
    return sampled(asked, dtype, progress)


@own_words
def resume(
    target: Target | DirectSampler,
    draws_or_path: xarray.DataTree | str | Path,
    draws: int | None = None,
    *,
    until: Converged | None = None,
    kernel: Kernel | None = None,
    progress: bool | Callable[[Update], Any] = True,
    mesh: jax.sharding.Mesh | None = None,
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
    check_surroundings(getattr(target, "data", None))
    old = load(draws_or_path)
    saved = datatree.read_state(old)
    asked = Request(target, kernel, draws=draws, until=until, store=draws_or_path, mesh=mesh, chunk=chunk)
    with (
        make_reporter(shown(progress)) as reporter,
        not_silent(reporter),
        precision_of(saved.dtype, mesh) as precision,
    ):
        run = make_run(continued_plan(asked, saved, old, precision))
        with alone(run.plan.store):
            state = continued_state(run, saved)
            settings = run.plan.settings
            reporter.start(f"resuming {settings.chains} chains at draw {saved.done} of {settings.draws}")
            return carried_out(run, state, reporter)


__all__ = ["SamplingError", "resume", "sample"]
