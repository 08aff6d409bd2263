"""posteriordb's reference draws: JSON, a list of chains, each the draws of every scalar by its name; also zipped."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.text import opened
from mcmc.readers.trees import placed, tree_of

if TYPE_CHECKING:
    import xarray


def is_text(lines: list[str]) -> bool:
    """Whether a text begins as a list of objects."""
    return "".join("".join(lines[:50]).split()).startswith('[{"')


def member_of(path: Path) -> str | None:
    """The one JSON file in a zip; None where it holds something else."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return None
    return names[0] if len(names) == 1 and names[0].endswith(".json") else None


def read(paths: list[Path], limits: Limits) -> xarray.DataTree:
    """Read one file of all chains."""
    (path,) = paths
    with only_read_errors(path, "JSON file of chains"):
        found = _loaded(path, limits)
    if not isinstance(found, list) or not found or not all(isinstance(chain, dict) and chain for chain in found):
        remedy = "Write one object a chain, with a list of draws by each parameter's name."
        raise fail(path, "another form", '[{"mu": [0.1, 0.2]}, {"mu": [0.3, 0.1]}]', remedy)
    names = list(found[0])
    for i, chain in enumerate(found):
        if set(chain) != set(names):
            raise fail(f"{path}, chain {i + 1}", f"{sorted(chain)[:8]}", f"{names[:8]}, as chain 1", "Save one run.")
    limits.check("variables", len(names), path)
    arrays = {name: _array([chain[name] for chain in found], f"{path}, {name}") for name in names}
    limits.check("elements", sum(values.size for values in arrays.values()), path)
    return tree_of(placed(arrays), path)


def _loaded(path: Path, limits: Limits) -> Any:
    member = member_of(path)
    if member is None:
        with opened(path) as file:
            return json.load(file)
    with zipfile.ZipFile(path) as archive:
        limits.check("elements", archive.getinfo(member).file_size // 32, path)
        return json.loads(archive.read(member))


def _array(chains: list[Any], place: str) -> np.ndarray:
    """`(chain, draw, ...)` of nested lists; null is NaN."""
    lengths = {len(chain) for chain in chains if isinstance(chain, list)}
    if len(lengths) != 1 or not all(isinstance(chain, list) for chain in chains):
        raise fail(place, f"draws {sorted(lengths)}", "a list of as many draws in each chain", "Let all chains end.")
    try:
        return np.asarray(chains, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise fail(place, "something else than numbers", "numbers", "Leave it out.") from error
