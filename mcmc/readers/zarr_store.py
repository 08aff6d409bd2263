"""zarr stores: an ArviZ tree in a folder, or a run of ours, also while it grows."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from mcmc.errors import StoreError
from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.netcdf import quiet_open, with_posterior

ROOTS = ("zarr.json", ".zgroup", ".zmetadata")
METADATA = (*ROOTS, ".zarray")


def read(paths: list[Path], limits: Limits) -> Any:
    """Read one folder; its values stay on disk until they are used, unless there are limits."""
    from mcmc.storage import runs

    (path,) = paths
    eager = limits != Limits()
    check(path, limits, eager)
    if runs.store_of(path) is not None:
        try:
            tree = runs.open(path)
        except StoreError as error:
            raise fail(path, str(error), "a store with committed draws", "Wait for its first draws.") from error
        if tree["posterior"].sizes["draw"] == 0:
            raise fail(path, "0 draws", "a store with committed draws", "Wait for its first draws.")
        return tree
    with only_read_errors(path, "zarr store"):
        tree = quiet_open(path, engine="zarr")
        tree = tree.load() if eager else tree
    return with_posterior(tree, path)


def check(path: Path, limits: Limits, eager: bool) -> None:
    """Refuse pickled arrays, and hold what the metadata declare against the limits."""
    members = variables = elements = 0
    for file in sorted(path.rglob("*")):
        if file.name not in METADATA:
            continue
        with only_read_errors(file, "zarr metadata file"):
            known = json.loads(file.read_text(encoding="utf-8"))
        if _mentions_pickle(known):
            raise fail(file, "pickled values", "numbers", "Pickled objects are never opened: save numbers.")
        members += 1
        limits.check("members", members, path)
        shape = known.get("shape") if isinstance(known, dict) else None
        if isinstance(shape, list) and all(isinstance(n, int) for n in shape):
            variables, elements = variables + 1, elements + prod(shape)
            limits.check("variables", variables, path)
            if eager:
                limits.check("elements", elements, file)


def _mentions_pickle(known: Any) -> bool:
    """Whether a codec or filter in some metadata would unpickle."""
    if isinstance(known, dict):
        names = [known.get(key) for key in ("id", "name")]
        return any(isinstance(name, str) and "pickle" in name for name in names) or any(
            _mentions_pickle(part) for part in known.values()
        )
    return isinstance(known, list) and any(_mentions_pickle(part) for part in known)
