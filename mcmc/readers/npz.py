"""NumPy's npz: arrays (chain, draw, ...) by name, never unpickled, each checked before it is unpacked."""

from __future__ import annotations

import zipfile
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers.array_layout import with_chains
from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.trees import WITHOUT_DRAWS, group_and_name, placed, tree_of
from mcmc.readers.weights import drawn_columns, weights_in

if TYPE_CHECKING:
    import xarray

PACKED_AT_MOST = 1032
"""Bytes that a byte of deflated data can stand for: what claims more is a forgery."""


def read(paths: list[Path], limits: Limits, chains: int | None = None) -> xarray.DataTree:
    """Read one npz file; a name such as `sample_stats/energy` goes to that group, and so does `diverging`."""
    (path,) = paths
    arrays: dict[str, np.ndarray] = {}
    with only_read_errors(path, "npz file"), zipfile.ZipFile(path) as archive:
        check(archive, path, limits)
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as opened:
                values = np.lib.format.read_array(opened, allow_pickle=False)
                if opened.read(1):
                    raise fail(f"{path}, {member.filename}", "bytes after its array", "one array", "Write it again.")
            arrays[name] = values
    beside = {name: arrays.pop(name) for name in list(arrays) if group_and_name(name)[0] in WITHOUT_DRAWS}
    if weights_in(arrays):
        return _weighted(arrays, path, limits, chains)
    return tree_of(placed(with_chains(arrays, chains, path) | beside), path)


def _weighted(arrays: dict[str, np.ndarray], path: Path, limits: Limits, chains: int | None) -> xarray.DataTree:
    """Rows with weights, as nested sampling has them: what they resample to is one chain."""
    if chains not in (None, 1):
        raise fail(path, f"weights, and {chains} chains", "one chain of weighted rows", "Give a file a chain.")
    drawn, note, ignored = drawn_columns(arrays, path, limits)
    return tree_of(placed({k: v[None] for k, v in drawn.items()}), path, note=note, ignored=ignored)


def read_npy(
    paths: list[Path], limits: Limits, chains: int | None = None, names: list[str] | None = None
) -> xarray.DataTree:
    """Read one array `(chain, draw, parameter)` or `(chain, draw)`; a row a draw needs `chains=1` said."""
    (path,) = paths
    with only_read_errors(path, "NumPy file"), path.open("rb") as file:
        shape, dtype, start = _start(file, str(path))
        limits.check("elements", prod(shape), path)
        if start + prod(shape) * dtype.itemsize != path.stat().st_size:
            raise fail(path, f"{path.stat().st_size} bytes", f"those of shape {shape}, {dtype}", "Write it again.")
        file.seek(0)
        values = np.lib.format.read_array(file, allow_pickle=False)
    if values.ndim == 2 and chains is None:
        remedy = (
            "Say chains= (--chains in the shell): the chains of (chain, draw) or (draw, chain); 1 for a row a draw."
        )
        raise fail(path, f"shape {shape}", "(chain, draw, parameter), or the number of chains", remedy)
    values = with_chains({"its array": values}, chains, path)["its array"]
    if names is None:
        return tree_of({"posterior": {"x": values}}, path)
    if values.ndim != 3 or values.shape[2] != len(names) or len(set(names)) != len(names):
        raise fail(path, f"shape {shape}, names {names}", "(chain, draw, parameter), a name each", "Correct names.")
    return tree_of(placed({name: values[:, :, i] for i, name in enumerate(names)}), path)


def check(archive: zipfile.ZipFile, path: Path, limits: Limits) -> None:
    """Hold names, types, claimed sizes and the limits against each other, without unpacking more than headers."""
    members = archive.infolist()
    limits.check("members", len(members), path)
    limits.check("variables", len(members), path)
    elements, names = 0, set()
    for member in members:
        place = f"{path}, {member.filename}"
        if not member.filename.endswith(".npy") or member.filename in names:
            raise fail(place, "a member that is no array, or there twice", "distinct .npy members", "Use np.savez.")
        names.add(member.filename)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise fail(place, "another compression", "stored or deflated", "Use np.savez or np.savez_compressed.")
        shape, dtype, start = _header(archive, member, place)
        elements += prod(shape)
        limits.check("elements", elements, place)
        size = start + prod(shape) * dtype.itemsize
        if size != member.file_size or member.file_size > PACKED_AT_MOST * (member.compress_size + 64):
            found = f"shape {shape}, {dtype}, in {member.file_size} bytes"
            raise fail(place, found, f"{size} bytes, really there", "The file is damaged: write it again.")


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, place: str) -> tuple[tuple[int, ...], Any, int]:
    """Shape, dtype and the length of the header of one array."""
    with archive.open(member) as opened:
        return _start(opened, place)


def _start(opened: Any, place: str) -> tuple[tuple[int, ...], Any, int]:
    version = np.lib.format.read_magic(opened)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(opened)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(opened)
    else:
        raise fail(place, f"format {version}", "1.0 or 2.0, as real numbers have", "Use np.savez.")
    if dtype.hasobject:
        remedy = "It holds pickled objects, which are never opened: save each array of numbers by its own name."
        raise fail(place, f"dtype {dtype}", "real numbers", remedy)
    if dtype.kind not in "biuf":
        raise fail(place, f"dtype {dtype}", "real numbers or booleans", "Leave it out, or encode it as numbers.")
    if any(size < 0 for size in shape):
        raise fail(place, f"shape {shape}", "sizes from 0", "The file is damaged: write it again.")
    return shape, dtype, opened.tell()
