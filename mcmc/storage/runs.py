"""Runs on disk: writing a run to its store, opening and loading stores and files."""

from __future__ import annotations

import math
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.engine.memory import human
from mcmc.engine.progress import Reporter
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.errors import StoreError, WrongType, WrongValue, got
from mcmc.storage import datatree, zarr_store
from mcmc.storage.reduced import ReducedRecorder
from mcmc.storage.zarr_store import StoreRecorder

if TYPE_CHECKING:
    import xarray

JUDGED_BYTES, JUDGED_DRAWS = 20_000_000, 500


def check_store(given: Any, save_warmup: bool) -> Path | None:
    """The store's folder; TypeError or ValueError for what can't be one."""
    if given is None:
        return None
    if not isinstance(given, str | Path):
        raise WrongType("store", given, "a path", 'Use store="run.zarr".')
    if save_warmup:
        raise WrongValue("save_warmup", True, "False with store=", "Warmup draws are kept in memory only.")
    return Path(given)


def store_of(draws_or_path: Any) -> Path | None:
    """The folder of the store that a run is to go on in, or None."""
    found = isinstance(draws_or_path, str | Path) and zarr_store.is_store(Path(draws_or_path))
    if found and not os.access(draws_or_path, os.W_OK):
        remedy = "Copy it to a place where this user may write, or resume a tree: mcmc.open(path).load()."
        raise StoreError(got("store", str(draws_or_path), "a store that can be written", remedy))
    return Path(draws_or_path) if found else None


def create_store(folder: Path, run: Run) -> None:
    """The empty store, before anything is compiled; an error where the folder exists or the disk is too small."""
    plan, settings = run.plan, run.plan.settings
    size, draws = _bytes_a_draw(run), run.kept.most or settings.draws
    parent = next(place for place in folder.absolute().parents if place.exists())
    if not os.access(parent, os.W_OK):
        remedy = "Choose a folder that this user may write in."
        raise StoreError(got("store", f"{folder}, in {parent}", "a folder that can be written", remedy))
    free = shutil.disk_usage(parent).free
    if size * draws > free:
        remedy = 'Use another disk, fewer draws or chains, keep=, reduce=1000 or dtype="float32".'
        raise StoreError(got("store", f"{human(size * draws)} of draws", f"at most {human(free)}, free", remedy))
    whole = ({n: np.empty((settings.chains, *a.shape[1:]), a.dtype) for n, a in g.items()} for g in _nothing(run))
    groups = {name: datatree.dataset(arrays, run.target) for name, arrays in zip(zarr_store.GROUPS, whole, strict=True)}
    if run.kept.most:  # its draws are committed with the state
        groups = {name: group.drop_vars(list(group.data_vars)) for name, group in groups.items()}
    groups |= datatree.data_of(run.target)
    room = plan.until.most if plan.until else draws
    with zarr_store.writing(folder):
        run.layout.processes.once(lambda: zarr_store.create(folder, groups, room, size, plan.overwrite, run.layout))
    unstarted = Progress(run.form.start, run.start_tuning, [], iteration=-1)
    recorder = recorder_of(run, 0)
    recorder.begin(unstarted)
    recorder.wait()


def renew_store(run: Run) -> None:
    """The store of a run that goes on with other settings: room for what these record.

    What was committed stays so until the first commit of the new draws, which are written over the old ones.
    """
    folder = run.plan.store
    if folder is not None and not run.kept.most:
        stats = {n: np.empty((run.plan.settings.chains, *a.shape[1:]), a.dtype) for n, a in _nothing(run)[1].items()}
        zarr_store.add_arrays(folder, "sample_stats", datatree.dataset(stats, None), _bytes_a_draw(run))


def recorder_of(run: Run, draws: int) -> Any:
    """What takes so many draws of a run, in memory or in a store, from where the run that is resumed ended."""
    folder, old = run.plan.store, run.plan.old

    def snapshot(progress: Progress, status: str) -> tuple[dict, dict]:
        per_chain, whole, state = datatree.state_of(run, progress)
        facts = datatree.facts_of(run, progress, status)
        return per_chain | whole, {"per_chain": list(per_chain), "state": state, "run": facts, "order": order}

    order = {"posterior": [c.name for c in run.traced.columns], "sample_stats": [s.name for s in run.statistics]}
    if run.kept.most:
        commit = partial(_commit_reduced, folder, run, snapshot) if folder else None
        recorder = ReducedRecorder(run.recorder(run.kept.most), run.layout, commit)
        if old is not None and "reduced" in old["run_state"].attrs:
            drawn, stats, state = (
                {str(n): a.values for n, a in old[g].data_vars.items()} for g in (*order, "run_state")
            )
            recorder.restore(drawn, stats, state, old["run_state"].attrs["reduced"])
        return recorder
    if folder is None:
        return run.recorder(draws)
    done = 0 if old is None else old["posterior"].sizes["draw"]
    return StoreRecorder(folder, run.layout, run.recorder, _bytes_a_draw(run), done, snapshot)


def _commit_reduced(folder: Path, run: Run, snapshot: Any, progress: Progress, status: str, recorder: Any) -> None:
    """Commit what is kept of a reduced run, with its state."""
    arrays, facts = snapshot(progress, status)
    moments, reduced = recorder.state()
    arrays, facts["per_chain"] = arrays | moments, [*facts["per_chain"], *moments]
    facts["state"] |= reduced
    facts["run"]["thin"] *= recorder.stride
    groups: dict[str, xarray.Dataset] = {}
    for name, drawn, target in zip(facts["order"], recorder.result(), (run.target, None), strict=True):
        groups[name] = datatree.dataset(run.together(drawn), target)
    if recorder.drawn:
        made = datatree.moments_group(
            moments, facts["state"], run.traced.columns, run.target, run.plan.settings.superchains
        )
        groups["moments"] = made
    facts["held"] = {
        name: {str(n): [str(d) for d in v.dims] for n, v in group.data_vars.items()} for name, group in groups.items()
    }
    arrays |= {f"{name}/{n}": v.values for name, group in groups.items() for n, v in group.data_vars.items()}
    facts["held_attrs"] = {name: group.attrs for name, group in groups.items()}
    facts["draws"] = recorder.held.filled
    with zarr_store.disk_errors():
        run.layout.processes.once(lambda: zarr_store.publish(folder, arrays, facts))


def _bytes_a_draw(run: Run) -> int:
    """What a draw of all chains takes."""
    each = (a.dtype.itemsize * math.prod(a.shape[2:]) for group in _nothing(run) for a in group.values())
    return run.plan.settings.chains * sum(each)


def _nothing(run: Run) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arrays of a run without draws: parameters and statistics."""
    return run.recorder(0).result()


def init_of(saved: Any) -> str | None:
    """What the starts of a run are made from that was ended before it had any."""
    if saved.init == "given":
        remedy = "Call mcmc.sample again, with overwrite=True: nothing had been drawn."
        raise StoreError(
            got("draws", "a run ended before its first iteration, with starts of yours", "one with draws", remedy)
        )
    return None if saved.init == "none" else saved.init


def open_store(path: Path) -> xarray.DataTree:
    """The committed draws of a store, read when they are used."""
    import xarray

    arrays, facts = zarr_store.committed(path)
    state = (
        {n: a for n, a in arrays.items() if n in facts["per_chain"]},
        {n: a for n, a in arrays.items() if n not in facts["per_chain"] and "/" not in n},
    )
    groups = zarr_store.read_groups(path, facts["draws"])
    for name, variables in facts.get("held", {}).items():
        made = _held(groups.get(name, groups["posterior"]), name, variables, arrays)
        groups[name] = made.assign_attrs(facts["held_attrs"][name])
    groups |= {name: groups[name][variables] for name, variables in facts["order"].items()}  # a folder has no order
    groups["run_state"] = datatree.state_dataset(*state, facts["state"])
    return xarray.DataTree.from_dict({"/": xarray.Dataset(attrs=facts["run"]), **groups})


def _held(group: xarray.Dataset, name: str, variables: dict, arrays: dict) -> xarray.Dataset:
    """What was committed of a group beside the state, with the labels that the store has."""
    import xarray

    made = xarray.Dataset({n: (dims, arrays[f"{name}/{n}"]) for n, dims in variables.items()})
    labels = {d: group.coords[d] for d in made.sizes if d in group.coords}
    own = {"draw": np.arange(made.sizes["draw"])} if "draw" in made.sizes else {"statistic": list(datatree.MOMENTS)}
    return made.assign_coords(labels | own)


def every_few(tree: xarray.DataTree, reporter: Reporter) -> xarray.DataTree:
    """As many draws of a stored run, evenly spaced, as memory holds easily: what its diagnosis reads."""
    import xarray

    posterior = tree["posterior"].to_dataset()
    every = min(-(-posterior.nbytes // JUDGED_BYTES), posterior.sizes["draw"] // JUDGED_DRAWS)
    if every <= 1:
        return tree
    reporter.note(f"the diagnosis reads every {every}th draw, so its effective sample sizes are too low if anything")
    groups = {name: tree[name].to_dataset() for name in ("posterior", "sample_stats", "run_state")}
    parts = {name: _thinned(group, every) if "draw" in group.dims else group for name, group in groups.items()}
    return xarray.DataTree.from_dict(parts)


def _thinned(group: xarray.Dataset, every: int) -> xarray.Dataset:
    """Every so manyth draw, read block by block: zarr would hold many blocks at once."""
    import xarray
    import zarr

    draws = group.sizes["draw"]
    size = max(every, zarr_store.block_of(max(1, group.nbytes // max(draws, 1))) // every * every)
    with zarr.config.set({"async.concurrency": 1}):
        parts = [group.isel(draw=slice(first, first + size, every)).load() for first in range(0, draws, size)]
    return xarray.concat(parts, "draw")


def open(path: str | Path) -> xarray.DataTree:
    """The draws that a run has committed to its store, lazily, also while it goes on.

    Args:
        path: what was given as `store=`.

    Returns:
        A DataTree as `sample` returns it; its values are read from disk when they are used, and stay those of the
        moment when it was opened.

    Raises:
        StoreError: no store is there, or nothing was committed yet.

    Example:
        >>> import mcmc, tempfile
        >>> folder = tempfile.mkdtemp() + "/run.zarr"
        >>> target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
        >>> draws = mcmc.sample(target, draws=100, store=folder, progress=False)
        >>> mcmc.open(folder).posterior["x"].shape
        (64, 100)
    """
    from mcmc.each import store as many

    return many.open_store(Path(path)) if many.is_store(Path(path)) else open_store(Path(path))


def load(draws_or_path: Any) -> xarray.DataTree:
    """A DataTree, or the one in a netCDF or zarr file, read into memory."""
    import xarray

    if isinstance(draws_or_path, xarray.DataTree):
        return draws_or_path
    if not isinstance(draws_or_path, str | Path):
        expected = "an xarray.DataTree from mcmc.sample, or a path to one"
        raise WrongType("draws", type(draws_or_path), expected, "Pass what sample returned.")
    path = Path(draws_or_path)
    if not path.exists():
        raise FileNotFoundError(got("draws", str(path), "a netCDF file or a zarr store", "Check the path."))
    if zarr_store.is_store(path) or (path / "each.json").exists():
        return open(path)
    options: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "h5netcdf"}
    with xarray.open_datatree(path, **options) as tree:
        return tree.load()
