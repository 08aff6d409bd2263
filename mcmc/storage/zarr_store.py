"""The zarr store of a run: draws stream into it, and what is committed survives whatever ends the process.

    run.zarr/posterior/<name>, run.zarr/sample_stats/<name>   zarr arrays (chain, draw, ...), written block by block
    run.zarr/committed.npz                                    how many draws count, and the state to go on from

A block of draws is written and synced first, by a thread, while the next one is computed; then `committed.npz` is
replaced in one step, which commits the draws and the state together. Of several processes each writes the draws of its
own chains, and the first replaces `committed.npz` when all have. What is kept of a reduced run is in `committed.npz`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.engine.devices import Layout
from mcmc.errors import StoreError, got
from mcmc.storage.recorder import Recorder

if TYPE_CHECKING:
    import xarray

BLOCK_BYTES, LEAST_BLOCK, MOST_BLOCK = 32_000_000, 16, 4096
COMMIT_SECONDS = 10.0
COMMITTED = "committed.npz"
GROUPS = ("posterior", "sample_stats")
Snapshot = Callable[[Any, str], tuple[dict[str, np.ndarray], dict[str, Any]]]


class StoreRecorder:
    """Takes a run's draws as `Recorder` does, and keeps them in a store; at most two blocks are in memory.

    `snapshot(progress, status)` gives what is committed beside the draws: arrays, and facts as JSON.
    """

    def __init__(
        self,
        folder: Path,
        layout: Layout,
        make_buffer: Callable[[int], Recorder],
        size: int,
        done: int,
        snapshot: Snapshot,
    ):
        self.folder, self.layout, self.make_buffer, self.snapshot = folder, layout, make_buffer, snapshot
        self.size, self.block = size, block_of(size)
        self.start = self.written = done
        self.buffer = make_buffer(self.block)
        self.pool, self.pending, self.last = ThreadPoolExecutor(1), None, time.monotonic()
        self.to_publish: tuple[dict, dict] | None = None

    @property
    def filled(self) -> int:
        """Draws a chain taken since the run was begun or resumed."""
        return self.written - self.start + self.buffer.filled

    @filled.setter
    def filled(self, draws: int) -> None:
        self.buffer.filled = draws + self.start - self.written

    @property
    def bytes_written(self) -> int:
        """What this process has written of the draws since the run was begun or resumed."""
        return self.layout.own * self.size // self.layout.chains * (self.written - self.start)

    @property
    def room(self) -> int:
        """How many draws fit before a block is full."""
        return self.block - self.written % self.block - self.buffer.filled

    def reserve(self, draws: int) -> None:
        """Have arrays of at least so many draws a chain beyond where the run was begun or resumed."""
        self.layout.processes.once(lambda: self._resize(self.start + draws, only_grow=True))

    def trim(self) -> None:
        """Have arrays of the committed draws and no more, so that any reader of zarr sees these alone."""
        self.layout.processes.once(lambda: self._resize(self.written, only_grow=False))

    def _resize(self, draws: int, only_grow: bool) -> None:
        import zarr

        root = zarr.open_group(str(self.folder), mode="r+")
        for name, held in zip(GROUPS, self.buffer.result(), strict=True):
            for key in held:
                array: Any = root[f"{name}/{key}"]
                if array.shape[1] < draws or (array.shape[1] > draws and not only_grow):
                    array.resize((array.shape[0], draws, *array.shape[2:]))

    def write(self, parts: list) -> None:
        """Take the rows of each device."""
        self.buffer.write(parts)

    def result(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The draws taken since the run was begun or resumed, read back."""
        import zarr

        self.wait()
        root, groups = zarr.open_group(str(self.folder), mode="r"), []
        mine = slice(self.layout.begin, self.layout.begin + self.layout.own)
        for name, held in zip(GROUPS, self.buffer.result(), strict=True):
            stored = {key: np.asarray(root[f"{name}/{key}"][mine, self.start : self.written]) for key in held}  # type: ignore[index]
            groups.append({key: np.concatenate([stored[key], values], 1) for key, values in held.items()})
        return groups[0], groups[1]

    def begin(self, progress: Any) -> None:
        """Commit where the run begins, so that it can be resumed from its first moment."""
        self.last = -np.inf
        self.mark(progress)

    def mark(self, progress: Any, status: str = "running") -> None:
        """Commit, if a block is full, the last commit is long ago, or the run has ended; `progress` is where it is."""
        late = time.monotonic() - self.last >= COMMIT_SECONDS
        if self.room and status == "running" and not self.layout.processes.first(late):
            return
        self.wait()
        arrays, facts = self.snapshot(progress, status)
        full, at, facts = self.buffer, self.written, facts | {"draws": self.written + self.buffer.filled}
        alone = self.layout.processes.count == 1
        drawn = full.result()
        self.pending = self.pool.submit(self._save, drawn, at, *((arrays, facts) if alone else (None, None)))
        self.to_publish = None if alone else (arrays, facts)
        self.buffer, self.written = self.make_buffer(self.block), at + full.filled  # Ctrl-C before: written twice
        self.last = time.monotonic()

    def wait(self) -> None:
        """Until what was committed last is on disk."""
        pending: Future | None = self.pending
        self.pending = None
        with disk_errors():
            if pending is not None:
                pending.result()
        if self.to_publish is not None:  # once all processes have written their draws
            self.layout.processes.wait()
            arrays, facts = self.to_publish
            self.to_publish = None
            with disk_errors():
                self.layout.processes.once(lambda: publish(self.folder, arrays, facts))

    def _save(self, drawn: tuple[dict, dict], at: int, arrays: dict | None, facts: dict | None) -> None:
        _write(self.folder, drawn, self.layout.begin, at)
        if arrays is not None and facts is not None:
            publish(self.folder, arrays, facts)


@contextmanager
def disk_errors() -> Iterator[None]:
    """What the disk refuses, as a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = "Free some, and mcmc.resume goes on from the last commit."
        raise StoreError(got("store", str(error), "room on the disk", remedy)) from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What a place that can't be written refuses, as a StoreError."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        remedy = "Choose a folder that this user may write in."
        raise StoreError(
            got("store", f"{folder} ({error.strerror})", "a folder that can be written", remedy)
        ) from error


_lock, _in_use = threading.Lock(), set()


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """Within, no other run of this process may write to the store."""
    if folder is None:
        yield
        return
    place = folder.absolute()
    with _lock:
        if place in _in_use:
            remedy = "Give each run a store of its own, or wait for the other."
            raise StoreError(got("store", f"{folder}, to which another run writes now", "a store for one run", remedy))
        _in_use.add(place)
    try:
        yield
    finally:
        with _lock:
            _in_use.discard(place)


def block_of(size: int) -> int:
    """How many draws a block has, for so many bytes a draw of all chains: a power of two."""
    return int(np.clip(2 ** int(np.log2(max(BLOCK_BYTES // size, 1))), LEAST_BLOCK, MOST_BLOCK))


def create(
    folder: Path, groups: Mapping[str, xarray.Dataset], draws: int, size: int, overwrite: bool, layout: Layout
) -> None:
    """An empty store with room for `draws` draws of `size` bytes of all the layout's chains; arrays have the names,
    types, dimensions and labels of these groups. A folder that exists is refused.
    """
    import zarr

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not overwrite:
            remedy = "Choose another, go on with mcmc.resume(target, store), or pass overwrite=True."
            raise FileExistsError(got("store", str(folder), "a folder that does not exist", remedy))
        if not (folder / COMMITTED).exists() and not (folder / "zarr.json").exists():
            remedy = "Choose another, or remove it yourself."
            raise FileExistsError(got("store", str(folder), "a run's store to overwrite", remedy))
        shutil.rmtree(folder)
    root = zarr.open_group(str(folder), mode="w")
    chains = layout.share if layout.processes.count > 1 else layout.chains
    for name, dataset in groups.items():
        group = root.create_group(name)
        for key, variable in dataset.variables.items():
            if key == "draw":
                continue
            sizes = dict(zip(variable.dims, variable.shape, strict=True))
            own = sizes | {"draw": block_of(size), "chain": chains}
            sizes |= {"draw": draws, "chain": layout.chains} if "draw" in sizes else {}
            array = group.create_array(
                str(key),
                shape=tuple(sizes.values()),
                dtype=str if variable.dtype.kind == "U" else variable.dtype,
                chunks=tuple(max(own[d], 1) if "draw" in sizes else max(n, 1) for d, n in sizes.items()),
                fill_value=where_absent(variable.dtype),
                compressors=None,
                dimension_names=[str(d) for d in variable.dims],
                attributes=dict(variable.attrs),
            )
            if "draw" not in sizes:
                array[...] = variable.values


def add_arrays(folder: Path, group: str, like: xarray.Dataset, size: int) -> None:
    """Arrays with the names and types of these, as long as those that the group has; what is there stays."""
    import zarr

    root: Any = zarr.open_group(str(folder), mode="r+")[group]
    arrays = dict(root.arrays())
    draws = max(a.shape[1] for a in arrays.values() if a.ndim > 1)
    for key, variable in like.data_vars.items():
        shape = (variable.sizes["chain"], draws)
        if key in arrays and arrays[key].dtype == variable.dtype:
            continue
        root.create_array(
            str(key),
            shape=shape,
            dtype=variable.dtype,
            chunks=(max(shape[0], 1), block_of(size)),
            fill_value=where_absent(variable.dtype),
            compressors=None,
            dimension_names=["chain", "draw"],
            overwrite=True,
        )


def where_absent(dtype: Any) -> Any:
    """What is read where a file is gone: NaN, where the type has one."""
    return {"f": np.nan, "U": ""}.get(np.dtype(dtype).kind, 0)


def _write(folder: Path, drawn: tuple[dict, dict], begin: int, at: int) -> None:
    """Draws of the chains from `begin` on, at these draws, and on the disk itself."""
    import zarr

    root = zarr.open_group(str(folder), mode="r+")
    for name, values in zip(GROUPS, drawn, strict=True):
        for key, value in values.items():
            if value.shape[1] and value.shape[0]:
                array: Any = root[f"{name}/{key}"]
                array[begin : begin + value.shape[0], at : at + value.shape[1]] = value
                blocks = range(at // array.chunks[1], -(-(at + value.shape[1]) // array.chunks[1]))
                sync(folder / name / key / "c" / str(begin // array.chunks[0]), blocks)


def publish(folder: Path, arrays: dict, facts: dict) -> None:
    """Replace what was committed, in one step."""
    buffer = io.BytesIO()
    np.savez(buffer, __facts__=np.array(json.dumps(facts)), **arrays)
    beside = folder / f"{COMMITTED}.new"
    with beside.open("wb") as file:
        file.write(buffer.getvalue())
        file.flush()
        os.fsync(file.fileno())
    beside.replace(folder / COMMITTED)


def sync(chunks: Path, which: Iterable[int]) -> None:
    """Have these parts of an array's chunks on the disk itself."""
    for k in which:
        place = chunks / str(k)
        for file in place.rglob("*") if place.is_dir() else [place]:
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())


def committed(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The state that was committed last, and its facts."""
    try:
        with np.load(folder / COMMITTED) as saved:
            arrays = {name: saved[name] for name in saved.files}
    except FileNotFoundError:
        remedy = "It was ended before its first draws, or is not a run's store: sample again."
        raise StoreError(got("path", str(folder), f"a store with {COMMITTED}", remedy)) from None
    return arrays, json.loads(str(arrays.pop("__facts__")))


def is_store(path: Path) -> bool:
    """Whether a folder is a run's store."""
    return (path / COMMITTED).exists()


def read_groups(folder: Path, draws: int) -> dict[str, xarray.Dataset]:
    """The committed draws, lazily."""
    groups = {}
    for path in sorted(folder.iterdir()):
        if (path / "zarr.json").exists():
            held = _read_group(path)
            if "draw" in held.dims:
                held = held.isel(draw=slice(0, draws)).assign_coords(draw=np.arange(draws))
            text = {
                name: (c.dims, np.array(c.values.tolist())) for name, c in held.coords.items() if c.dtype.kind == "T"
            }
            groups[path.name] = held.assign_coords(text)
    return groups


def _read_group(path: Path) -> xarray.Dataset:
    """A group; one by one where its arrays have different lengths, because the process ended while they grew."""
    import xarray

    def read(leave_out: list[str]) -> xarray.Dataset:
        return xarray.open_zarr(
            str(path.parent), group=path.name, consolidated=False, chunks=None, drop_variables=leave_out
        )

    try:
        return read([])
    except ValueError:
        names = [each.name for each in path.iterdir() if each.is_dir()]
        parts = [read([other for other in names if other != name]) for name in names]
        shortest = min(part.sizes["draw"] for part in parts if "draw" in part.dims)
        return xarray.merge([part.isel(draw=slice(shortest)) if "draw" in part.dims else part for part in parts])
