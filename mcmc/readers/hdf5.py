"""Checks of an HDF5 file before it is read: no links out of the file, declared sizes within the limits."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

from mcmc.readers.limits import LimitError, Limits, fail, only_read_errors

MAGIC = b"\x89HDF\r\n\x1a\n"
DEEPEST = 32


def check(path: Path, limits: Limits, eager: bool) -> None:
    """Refuse links and storage outside the file; hold members, variables and (if `eager`) elements to the limits."""
    import h5py

    with only_read_errors(path, "HDF5 file"), h5py.File(path, "r") as file:
        found: list[tuple[str, Any]] = []

        def visit(name: str | bytes, link: Any) -> Exception | None:  # what is raised in here h5py hides
            found.append((str(name), link))
            try:
                limits.check("members", len(found), path)
            except LimitError as error:
                return error
            if str(name).count("/") >= DEEPEST:  # a path is walked from the root each time
                return fail(f"{path}, {str(name)[:40]}...", "groups in groups", f"at most {DEEPEST} deep", "Copy them.")
            if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
                return fail(f"{path}, {name}", "a link", "data within the file", "Copy the data into the file.")
            return None

        wrong = file.visititems_links(visit)
        if wrong is not None:
            raise wrong
        elements = variables = 0
        groups: set[Any] = {file["/"]}
        for name, _ in found:
            item = file[name]
            if not isinstance(item, h5py.Dataset):
                if item in groups:
                    raise fail(f"{path}, {name}", "a group that is there twice", "a tree", "Copy it.")
                groups.add(item)
                continue
            if item.external or item.is_virtual:
                raise fail(f"{path}, {name}", "data in another file", "data within the file", "Copy the data into it.")
            variables += 1
            most = max(prod(item.shape or ()), prod(item.chunks or ()))  # a chunk is read whole
            elements += most * -(-item.dtype.itemsize // 8)
            limits.check("variables", variables, path)
            if eager:
                limits.check("elements", elements, f"{path}, {name}")


def format_of(path: Path) -> str:
    """What wrote it: emcee's backend, bilby, or else it is to be netCDF."""
    import h5py

    with only_read_errors(path, "HDF5 file"), h5py.File(path, "r") as file:
        if emcee_groups(file):
            return "emcee"
        return "bilby" if {"sampler", "posterior", "search_parameter_keys"} <= set(file) else "netcdf"


def emcee_groups(file: Any) -> list[str]:
    """Names of the groups that hold an ensemble's chain."""
    names = [str(name) for name in file if file.get(str(name), getlink=True).__class__.__name__ == "HardLink"]
    return [n for n in names if "nwalkers" in file[n].attrs and "ndim" in file[n].attrs and "chain" in file[n]]
