"""The zarr store of a run on many data sets: draws come in batch by batch, and what is committed survives any end.

    run.zarr/posterior/<name>, run.zarr/sample_stats/<name>   zarr arrays (dataset, chain, draw, ...)
    run.zarr/run_state/nonfinite_proposals                    (dataset, chain)
    run.zarr/each.json                                        what was asked for, written once
    run.zarr/done.jsonl                                       a line for each batch: which data sets, and their records

Draws are written and synced first; the line that is then added to `done.jsonl` commits them. A chunk that is written
again, for data sets that are drawn again, is replaced in one step.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.each.records import Ledger, Part, Record
from mcmc.each.tree import assembled, state_of
from mcmc.each.verdict import LEADING
from mcmc.engine.memory import human
from mcmc.errors import FingerprintError, StoreError, got
from mcmc.storage import datatree
from mcmc.storage.zarr_store import disk_errors, sync, where_absent, writing

if TYPE_CHECKING:
    import xarray

    from mcmc.each.together import Together

FACTS, DONE = "each.json", "done.jsonl"


class Store:
    """Draws of all data sets on disk."""

    def __init__(self, folder: Path, facts: dict[str, Any]):
        self.folder, self.facts = folder, facts
        self.ledger = Ledger(len(facts["index"]))
        for which, records in _committed(folder):
            self.ledger.take(which, records)

    def write(self, which: np.ndarray, part: Part, records: Sequence[Record]) -> None:
        """Write, sync and commit the draws of these data sets."""
        import zarr

        groups = {
            "posterior": part.parameters,
            "sample_stats": part.statistics,
            "run_state": {"nonfinite_proposals": part.nonfinite},
        }
        with disk_errors():
            root: Any = zarr.open_group(str(self.folder), mode="r+")
            for group, values in groups.items():
                for name, value in values.items():
                    array = root[f"{group}/{name}"]
                    if np.array_equal(which, np.arange(which[0], which[0] + len(which))):
                        array[which[0] : which[0] + len(which)] = value
                    else:
                        array.oindex[which] = value
                    sync(self.folder / group / name / "c", set(which // array.chunks[0]))
            line = {"which": which.tolist(), "records": [list(dataclasses.astuple(r)) for r in records]}
            with (self.folder / DONE).open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        self.ledger.take(which, records)


def _committed(folder: Path) -> Iterator[tuple[list[int], list[Record]]]:
    """What was committed, line by line; a line that the process did not finish is left out."""
    place = folder / DONE
    for line in place.read_text().splitlines(keepends=True) if place.exists() else []:
        if line.endswith("\n"):
            found = json.loads(line)
            yield found["which"], [Record(*record) for record in found["records"]]


def is_store(path: Path) -> bool:
    """Whether a folder is the store of a run on many data sets."""
    return (path / FACTS).exists()


def open_or_create(folder: Path, shared: Together, like: Part, chunk: int, facts: dict, overwrite: bool) -> Store:
    """The store that is there, where it is of the same run, or a new one."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not overwrite and is_store(folder):
            return Store(folder, _same(folder, facts))
        if not overwrite or not is_store(folder):
            remedy = "Choose another, or pass overwrite=True for a store of sample_each."
            raise FileExistsError(got("store", str(folder), "a folder that does not exist", remedy))
        shutil.rmtree(folder)
    with writing(folder):
        _create(folder, shared, like, chunk, facts)
    return Store(folder, facts)


def _same(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """The facts of the store; FingerprintError where it is of another run."""
    held = json.loads((folder / FACTS).read_text())
    for name, value in facts["asked"].items():
        if held["asked"].get(name) != value:
            remedy = "Ask for the same, with the same data, to go on; or choose another store, or overwrite=True."
            shown = (got_ if len(str(got_)) < 60 else "other values" for got_ in (value, held["asked"].get(name)))
            now, then = shown
            raise FingerprintError(got(name, now, f"{then}, as in {folder}", remedy))
    _mend(folder)
    return held


def _mend(folder: Path) -> None:
    """Drop a line that the process before did not finish, so that the next one starts on a line of its own."""
    place = folder / DONE
    text = place.read_bytes() if place.exists() else b""
    if text and not text.endswith(b"\n"):
        with place.open("r+b") as file:
            file.truncate(text.rfind(b"\n") + 1)


def _create(folder: Path, shared: Together, like: Part, chunk: int, facts: dict[str, Any]) -> None:
    import zarr

    count = len(facts["index"])
    groups = {
        "posterior": datatree.dataset(like.parameters, shared.target, LEADING),
        "sample_stats": datatree.dataset(like.statistics, None, LEADING),
        "run_state": datatree.dataset({"nonfinite_proposals": like.nonfinite}, None, LEADING[:2]),
    }
    size = count * sum(group.nbytes for group in groups.values())
    parent = next(place for place in folder.absolute().parents if place.exists())
    if size > (free := shutil.disk_usage(parent).free):
        remedy = "Use another disk, fewer draws or chains, or keep=."
        raise StoreError(got("store", f"{human(size)} of draws", f"at most {human(free)}, free", remedy))
    root = zarr.open_group(str(folder), mode="w")
    for name, held in groups.items():
        group = root.create_group(name)
        for key, variable in held.variables.items():
            per_set = "dataset" in variable.dims
            shape = (count, *variable.shape[1:]) if per_set else variable.shape
            array = group.create_array(
                str(key),
                shape=shape,
                dtype=str if variable.dtype.kind == "U" else variable.dtype,
                chunks=(chunk, *variable.shape[1:]) if per_set and variable.ndim > 1 else shape,
                compressors=None,
                fill_value=where_absent(variable.dtype),
                dimension_names=[str(d) for d in variable.dims],
                attributes=dict(variable.attrs),
            )
            if key == "dataset":
                array[...] = np.asarray(facts["index"])
            elif not per_set:
                array[...] = variable.values
    (folder / FACTS).write_text(json.dumps(facts))


def open_store(folder: Path) -> xarray.DataTree:
    """The draws of all data sets that were committed, read when they are used."""
    import xarray

    store = Store(folder, json.loads((folder / FACTS).read_text()))
    facts, groups = store.facts, {}
    for name in ("posterior", "sample_stats", "run_state"):
        held = xarray.open_zarr(str(folder), group=name, consolidated=False, chunks=None)
        text = {n: (c.dims, np.array(c.values.tolist())) for n, c in held.coords.items() if c.dtype.kind == "T"}
        groups[name] = held.assign_coords(text)[facts["order"].get(name, list(held.data_vars))]
    nonfinite = groups.pop("run_state")["nonfinite_proposals"].values
    superchains = facts["superchains"]
    state = state_of(store.ledger.records, nonfinite, superchains, facts["derived"])
    return assembled(groups, state, np.asarray(facts["index"]), facts["run"])
