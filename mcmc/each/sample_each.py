"""One model on many data sets at once: `sample_each(target, data)`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.typing import DTypeLike

from mcmc.each.batches import MOST_SETS
from mcmc.each.data import ManyData, check_free, many_data
from mcmc.each.records import Memory
from mcmc.each.stages import Group, draw_all, like_one
from mcmc.each.store import Store, open_or_create, open_store
from mcmc.each.together import Together, chosen, together
from mcmc.each.tree import assembled, facts_of, groups_in_memory, state_of
from mcmc.engine.memory import check_memory
from mcmc.engine.processes import Processes
from mcmc.engine.stopping import Converged
from mcmc.engine.surroundings import check_surroundings
from mcmc.errors import WrongType, WrongValue, warn
from mcmc.kernels.choose import FEW_CHAINS
from mcmc.kernels.protocols import Kernel
from mcmc.random.keys import run_words
from mcmc.settings import check_count, check_kept, precision_of
from mcmc.storage.zarr_store import alone
from mcmc.target.target import Target
from mcmc.words import own_words

if TYPE_CHECKING:
    import xarray

DRAWS, WARMUP = 300, 200
POOLED = 8  # chains from which a trajectory length can be tuned together
SHOWN = 5.0  # seconds between two lines
LISTED = 5


@dataclass(frozen=True)
class EachUpdate:
    """Where a run on many data sets stands: how many are done, of how many, and how many of these are doubtful so far.

    `elapsed` are the seconds since it began.
    """

    done: int
    total: int
    doubtful: int
    elapsed: float


@own_words
def sample_each(
    target: Target,
    data: Any,
    kernel: Kernel | None = None,
    *,
    chains: int = 16,
    draws: int = DRAWS,
    warmup: int | None = None,
    seed: int | jax.Array = 0,
    index: Sequence[int] | np.ndarray | None = None,
    init: Mapping[str, Any] | None = None,
    until: Converged | None = None,
    thin: int = 1,
    keep: str | Sequence[str] | None = None,
    dtype: DTypeLike | None = None,
    store: str | Path | None = None,
    overwrite: bool = False,
    progress: bool | Callable[[EachUpdate], Any] = True,
) -> xarray.DataTree:
    """Draw from the same model given each of many data sets, side by side in one compiled program.

    Each data set has chains, starts, step size and metric of its own. One whose draws fail their diagnosis is drawn
    again when the others are done: with five times the warmup and four times the iterations, then by itself as
    `sample(until=...)` does it, with every kernel and map that it knows; one that still fails is flagged, and so is one
    whose log density is NaN, with what was wrong. Draw t of chain c of data set i depends on the seed, i, c and t
    alone: by itself or among thousands, bit for bit.

    Args:
        target: with `data`, in the form of one data set.
        data: all data sets: a tree like the target's data whose arrays have a first axis more, or an iterable with the
            data of each, of any shapes; each shape is compiled once.
        kernel: as in `sample`. None: HMC, whose chains share a leapfrog count, where there is a gradient.
        chains: of each data set.
        draws: kept, per chain.
        warmup: iterations that tune the kernel and are discarded. None: 200; 1000 without gradients.
        seed: an int or a JAX key.
        index: the number i that each data set has in its random numbers, and in the coordinate `dataset`; None:
            0, 1, ... Some of them alone are drawn again by giving their data and their numbers.
        init: starts of every data set, as in `sample`.
        until: what the draws of a data set must have to be called good, and for how long one by itself goes on; None:
            `mcmc.Converged(ess=400)`.
        thin: keep every thin-th of draws · thin iterations.
        keep: as in `sample`.
        dtype: as in `sample`.
        store: a folder, `"run.zarr"`, to which draws stream batch by batch: memory stays the same however many data
            sets there are. The same call on a store that is there draws what is missing in it.
        overwrite: begin anew where the store exists.
        progress: True (lines on stderr), False, or a function of `EachUpdate`.

    Returns:
        An `xarray.DataTree` by ArviZ's schema with a dimension `dataset` before `chain` and `draw`: `posterior`,
        `sample_stats`, `observed_data`; `run_state` has the verdicts (`ok`, `stage`, `message`). `mcmc.diagnose` gives
        a table with a row a data set; `.sel(dataset=i)` a run like any other.

    Raises:
        ValueError, TypeError: a bad argument, data that are not in the target's form. MemoryLimitError: the draws do
            not fit. FingerprintError: the store is of another run.

    Warns:
        ConvergenceWarning: with the data sets whose draws should not be trusted.

    Example:
        >>> import mcmc, numpy as np
        >>> def log_density(p, y):
        ...     return -0.5 * p["mu"] ** 2 - 0.5 * ((y - p["mu"]) ** 2).sum()
        >>> target = mcmc.Target(log_density, {"mu": mcmc.real()}, data=np.zeros(5))
        >>> y = np.random.default_rng(0).normal(size=(100, 5))
        >>> draws = mcmc.sample_each(target, y, progress=False)
        >>> draws.posterior["mu"].shape, bool(draws.run_state["ok"].all())
        ((100, 16, 300), True)
    """
    check_surroundings(seed, getattr(target, "data", None))
    many, until = many_data(target, data), _checked(until, chains, draws)
    numbers, key, began = _index_of(index, many.count), run_words(seed), time.time()
    asked = {"kernel": kernel, "chains": chains, "draws": draws, "warmup": warmup, "init": init, "thin": thin}
    with precision_of(dtype, None) as precision:
        groups = []
        for members in many.groups(precision):
            try:
                groups.append(_group(target, many, members, numbers, key, until, asked | {"keep": keep}, precision))
            except Exception as error:
                error.add_note(f"It is data set {numbers[members[0]]} that this was found with.")
                raise
        shared = groups[0].shared
        _check_alike(groups)
        say, sink = _teller(progress, many.count), None
        title = f"{type(shared.kernel).__name__}, {many.count:,} data sets x {chains} chains x {draws} draws"
        folder = None if store is None else Path(store)
        with alone(folder):
            if folder is None:
                check_memory(many.count * chains, draws, shared.traced.width + 8, precision.itemsize, str(precision))
                sink = Memory(like_one(shared), many.count)
            else:
                facts = _facts(shared, many, numbers, key, began, keep)
                sink = open_or_create(folder, shared, like_one(shared), MOST_SETS, facts, overwrite)
            if progress is True:
                print(f"sample_each: {title}{_shapes(len(groups))}", file=sys.stderr)
            try:
                draw_all(groups, sink, lambda: say(sink.ledger.done, sink.ledger.doubtful))
            except KeyboardInterrupt:
                if not sink.ledger.done:
                    raise
        tree = _result(sink, groups, many, numbers, key, began)
    _warn_of(tree)
    return tree


# --- what was asked for -------------------------------------------------------------------------------------


def _checked(until: Any, chains: Any, draws: Any) -> Converged:
    """What is asked of each data set; ValueError where so few draws can't have it."""
    if until is not None and not isinstance(until, Converged):
        raise WrongType("until", until, "an mcmc.Converged", "Use until=mcmc.Converged(ess=400).")
    if Processes.here().count > 1:
        remedy = "Give each process data sets of its own, with their numbers as index=."
        raise WrongValue("data", f"{Processes.here().count} processes", "one process", remedy)
    until = until or Converged()
    check_count("chains", chains, 2)
    check_count("draws", draws, 4)
    if chains * draws < until.ess:
        expected = f"{-(-int(until.ess) // chains)} or more, for {until.ess:g} effective draws of {chains} chains"
        raise WrongValue("draws", draws, expected, "Draw more, or ask for less: until=mcmc.Converged(ess=100).")
    return until


def _index_of(index: Any, count: int) -> np.ndarray:
    if index is None:
        return np.arange(count)
    found = np.asarray(index)
    good = found.shape == (count,) and found.dtype.kind in "iu" and len(set(found.tolist())) == count
    if not good or found.min() < 0:
        raise WrongValue("index", index, f"{count} different whole numbers from 0", "Number each data set.")
    return found.astype(np.int64)


def _group(
    target: Target, many: ManyData, members: np.ndarray, numbers: Any, key: Any, until: Any, asked: dict, dtype: Any
) -> Group:
    """Data sets of equal shapes; the target is checked with the first of them."""
    first = target.with_data(many.tree(int(members[0])))
    if target.log_likelihood or target.predictive:  # not recorded
        first = first._copy(log_likelihood=None, predictive=None)
    traced, _ = check_kept(first.trace(dtype), asked["keep"], None, None)
    first.check_outputs(dtype)
    kernel, warmup = asked["kernel"], asked["warmup"]
    if kernel is None:
        pooled = FEW_CHAINS + 1 if asked["chains"] >= POOLED else 1  # chains that tune a trajectory length together
        kernel = chosen(first, traced, asked | {"chains": max(asked["chains"], pooled)}, dtype)[0]
    if warmup is None and getattr(kernel, "needs_gradient", False):
        warmup = WARMUP
    kernel, settings, _ = chosen(first, traced, asked | {"kernel": kernel, "warmup": warmup}, dtype, asked["thin"])
    shared = together(first, traced, kernel, settings, dtype, asked["init"])
    more = {"keep": asked["keep"], "init": asked["init"], "thin": asked["thin"]}
    return Group(shared, members, numbers, key, many, until, asked["kernel"], more)


def _check_alike(groups: list[Group]) -> None:
    """Raise ValueError where what is recorded has other shapes for other data sets."""
    shapes = [{c.name: c.shape for c in group.shared.traced.columns} for group in groups]
    check_free("derived", shapes[0])
    for group, found in zip(groups, shapes, strict=True):
        if found != shapes[0]:
            name = next(n for n in {**shapes[0], **found} if shapes[0].get(n) != found.get(n))
            shown = f"shape {found.get(name)} for data set {group.members[0]}"
            remedy = "Derive what has one shape, or leave it out: keep=[...]."
            raise WrongValue(f"derived[{name!r}]", shown, f"shape {shapes[0].get(name)} for each", remedy)


def _facts(shared: Together, many: ManyData, index: np.ndarray, key: np.ndarray, began: float, keep: Any) -> dict:
    """What a store keeps of the run; `asked` must be the same where it goes on."""
    run, settings = facts_of(shared, key, began), shared.settings
    names = [c.name for c in shared.traced.columns]
    asked = {n: run[n] for n in ("seed", "kernel", "chains", "warmup", "thin", "dtype", "lanes")}
    asked |= {"draws": settings.draws, "keep": names, "index": index.tolist(), "data": many.fingerprint}
    superchains = settings.superchains
    return {
        "asked": asked,
        "index": index.tolist(),
        "run": run,
        "derived": [name for name in names if name not in shared.target.names],
        "superchains": None if superchains is None else np.asarray(superchains).tolist(),
        "order": {"posterior": names, "sample_stats": [s.name for s in shared.first.statistics]},
    }


# --- what comes back ----------------------------------------------------------------------------------------


def _result(sink: Any, groups: list[Group], many: ManyData, index: np.ndarray, key: np.ndarray, began: float) -> Any:
    if isinstance(sink, Store):
        return open_store(sink.folder)
    shared = groups[0].shared
    derived = [c.name for c in shared.traced.columns if c.name not in shared.target.names]
    state = state_of(sink.ledger.records, sink.held.nonfinite, shared.settings.superchains, derived)
    facts = facts_of(shared, key, began) | {"sampling_time": time.time() - began}
    return assembled(groups_in_memory(shared, sink.held, many), state, index, facts)


def _warn_of(tree: Any) -> None:
    """Warn of the data sets whose draws should not be trusted."""
    state = tree["run_state"]
    bad = np.flatnonzero(~state["ok"].values)
    if not bad.size:
        return
    labels, messages = state["dataset"].values, state["message"].values
    lines = [f"  data set {labels[i]} ({state['stage'].values[i]}): {messages[i]}" for i in bad[:LISTED]]
    more = [f"  and {bad.size - LISTED} more: mcmc.diagnose(draws).table"] if bad.size > LISTED else []
    warn("\n".join([f"{bad.size:,} of {len(labels):,} data sets should not be trusted yet.", *lines, *more]))


def _shapes(count: int) -> str:
    return f"; the data have {count} shapes, each with a program of its own" if count > 1 else ""


def _teller(progress: Any, total: int) -> Callable[[int, int], None]:
    """What says how many data sets are done, and how many of these are doubtful."""
    began, shown = time.perf_counter(), [-SHOWN]

    def say(done: int, doubtful: int) -> None:
        elapsed = time.perf_counter() - began
        if callable(progress):
            progress(EachUpdate(done, total, doubtful, elapsed))
        elif progress and (elapsed - shown[0] >= SHOWN or done == total):
            shown[0] = elapsed
            print(
                f"sample_each: {done:,} of {total:,} data sets, {doubtful:,} doubtful, {elapsed:.0f} s", file=sys.stderr
            )

    return say


__all__ = ["EachUpdate", "sample_each"]
