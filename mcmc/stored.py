"""Runs on disk: what goes to a store, and runs read back from stores and files."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcmc import arviz_bridge
from mcmc.engine import store
from mcmc.engine.memory import human
from mcmc.engine.progress import Reporter
from mcmc.engine.run import Progress, Run
from mcmc.engine.store import StoreRecorder
from mcmc.errors import StoreError, got
from mcmc.settings import Settings

if TYPE_CHECKING:
    import xarray

JUDGED_BYTES = 100_000_000


def check_store(given: Any, save_warmup: bool) -> Path | None:
    """The store's folder; TypeError or ValueError for what can't be one."""
    if given is None:
        return None
    if not isinstance(given, str | Path):
        raise TypeError(got("store", given, "a path", 'Use store="run.zarr".'))
    if save_warmup:
        raise ValueError(got("save_warmup", True, "False with store=", "Warmup draws are kept in memory only."))
    return Path(given)


def store_of(draws_or_path: Any) -> Path | None:
    """The folder of the store that a run is to go on in, or None."""
    found = isinstance(draws_or_path, str | Path) and store.is_store(Path(draws_or_path))
    return Path(draws_or_path) if found else None


def create_store(folder: Path, run: Run, settings: Settings, until: Any, overwrite: bool) -> None:
    """The empty store, before anything is compiled; an error where the folder exists or the disk is too small."""
    size, draws = _bytes_a_draw(run, settings), settings.draws
    parent = next(place for place in folder.absolute().parents if place.exists())
    free = shutil.disk_usage(parent).free
    if size * draws > free:
        remedy = 'Use another disk, fewer draws or chains, thin=10 or dtype="float32".'
        raise StoreError(got("store", f"{human(size * draws)} of draws", f"at most {human(free)}, free", remedy))
    parameters, stats = run.recorder(0).result()
    groups = {"posterior": arviz_bridge.dataset(parameters, run.target)}
    groups["sample_stats"] = arviz_bridge.dataset(stats, None)
    store.create(folder, groups | arviz_bridge.data_of(run.target), until.most if until else draws, size, overwrite)
    unstarted = Progress(run.start_leaves, run.start_tuning, [], iteration=-1)
    recorder = store_recorder(folder, run, settings, None, until, time.time())
    recorder.begin(unstarted)
    recorder.wait()


def store_recorder(folder: Path, run: Run, settings: Settings, old: Any, until: Any, began: float) -> StoreRecorder:
    """What takes the draws of a run, from where `old`, the run that is resumed, ended."""
    order = {"posterior": [c.name for c in run.traced.columns], "sample_stats": [s.name for s in run.statistics]}

    def snapshot(progress: Progress, status: str) -> tuple[dict, dict]:
        per_chain, whole, state = arviz_bridge.state_of(run, settings, progress, until)
        facts = arviz_bridge.facts_of(run, settings, progress, status, began, old)
        return per_chain | whole, {"per_chain": list(per_chain), "state": state, "run": facts, "order": order}

    done = 0 if old is None else old["posterior"].sizes["draw"]
    return StoreRecorder(folder, run.recorder, _bytes_a_draw(run, settings), done, snapshot)


def _bytes_a_draw(run: Run, settings: Settings) -> int:
    """What a draw of all chains takes."""
    return settings.chains * (run.traced.width + len(run.statistics)) * run.dtype.itemsize


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

    arrays, facts = store.committed(path)
    state = (
        {n: a for n, a in arrays.items() if n in facts["per_chain"]},
        {n: a for n, a in arrays.items() if n not in facts["per_chain"]},
    )
    groups = store.read_groups(path, facts["draws"])
    groups |= {name: groups[name][variables] for name, variables in facts["order"].items()}  # a folder has no order
    groups["run_state"] = arviz_bridge.state_dataset(*state, facts["state"])
    return xarray.DataTree.from_dict({"/": xarray.Dataset(attrs=facts["run"]), **groups})


def every_few(tree: xarray.DataTree, reporter: Reporter) -> xarray.DataTree:
    """As many draws of a stored run, evenly spaced, as memory holds easily: what its diagnosis reads."""
    import xarray

    every = -(-tree["posterior"].to_dataset().nbytes // JUDGED_BYTES)
    if every <= 1:
        return tree
    reporter.note(f"the diagnosis reads every {every}th draw, so its effective sample sizes are too low if anything")
    groups = {name: tree[name].to_dataset() for name in ("posterior", "sample_stats", "run_state")}
    parts = {
        name: group.isel(draw=slice(None, None, every)) if "draw" in group.dims else group
        for name, group in groups.items()
    }
    return xarray.DataTree.from_dict(parts)


def open_run(path: str | Path) -> xarray.DataTree:
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
    return open_store(Path(path))


def load(draws_or_path: Any) -> xarray.DataTree:
    """A DataTree, or the one in a netCDF or zarr file, read into memory."""
    import xarray

    if isinstance(draws_or_path, xarray.DataTree):
        return draws_or_path
    if not isinstance(draws_or_path, str | Path):
        expected = "an xarray.DataTree from mcmc.sample, or a path to one"
        raise TypeError(got("draws", type(draws_or_path), expected, "Pass what sample returned."))
    path = Path(draws_or_path)
    if not path.exists():
        raise FileNotFoundError(got("draws", str(path), "a netCDF file or a zarr store", "Check the path."))
    if store.is_store(path):
        return open_store(path)
    options: dict[str, Any] = {"engine": "zarr", "consolidated": False} if path.is_dir() else {"engine": "h5netcdf"}
    with xarray.open_datatree(path, **options) as tree:
        return tree.load()
