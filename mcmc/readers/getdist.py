"""GetDist's and Cobaya's text chains: weight, minus log posterior, parameters; one file a chain."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmc.readers.limits import Limits, ReadWarning, fail
from mcmc.readers.text import check_table, count_lines, first_lines, lines_of, parsed, whole_last_line
from mcmc.readers.trees import shortest, tree_of
from mcmc.readers.weights import drawn_rows

if TYPE_CHECKING:
    import xarray

NUMBERED = re.compile(r"[._](\d+)\.txt$")
DENSITY = re.compile(r"(minuslogprior|minuslogpost|chi2)(__.*)?")
"""Columns of Cobaya's that are no parameters."""


def files_of(path: Path) -> list[Path]:
    """The chains that a root stands for: root_1.txt, root_2.txt, ... (or root.1.txt), or root.txt."""
    if path.exists() or not path.parent.is_dir():
        return [path]
    numbered = [
        (int(found[1]), file)
        for file in path.parent.iterdir()
        if (found := NUMBERED.search(file.name)) and file.name[: found.start()] == path.name
    ]
    alone = path.with_name(path.name + ".txt")
    return [file for _, file in sorted(numbered)] or ([alone] if alone.is_file() else [path])


def read(paths: list[Path], limits: Limits, names: list[str] | None = None) -> xarray.DataTree:
    """Read weighted chains: rows repeated or, where weights are not whole, resampled; cut to equal lengths."""
    listed = [path for path in paths if path.suffix == ".paramnames"]
    chains = [path for path in paths if path.suffix != ".paramnames"]
    if not chains:
        raise fail(listed[0], "parameter names alone", "chains beside them", "Give root_1.txt, ... too.")
    columns = names or _names(chains[0], listed)
    parts, notes, total = [], [], 0
    for path in chains:
        rows = _rows(path, columns, limits)
        which, told = drawn_rows(rows[:, 0], rows[:, 1], path, limits)
        total += len(which) * len(columns)
        limits.check("elements", total, path)
        parts.append(rows[which, 1:])
        notes += [told] * bool(told)
    parts, note = shortest(parts, chains)
    note = "; ".join([*notes, note] if note else notes)
    if note:
        warnings.warn(f"{chains[0]}: {note}.", ReadWarning, stacklevel=2)
    drawn = np.stack(parts)
    values = {name: drawn[:, :, 1 + i] for i, name in enumerate(columns)}
    densities = {name: values.pop(name) for name in columns if DENSITY.fullmatch(name)}
    groups = {"posterior": values, "sample_stats": {"lp": -drawn[:, :, 0]} | densities}
    return tree_of(groups, chains[0], **({"note": note} if note else {}))


def is_chain(path: Path) -> bool:
    """Whether a table of numbers says that it is a chain: by a header as Cobaya's, or a .paramnames file beside it."""
    if path.suffix == ".paramnames" or _beside(path).is_file():
        return True
    first = first_lines(path, 1)
    return bool(first) and first[0].startswith("#") and first[0].lstrip("#").split()[:1] == ["weight"]


def _beside(chain: Path) -> Path:
    root = NUMBERED.sub("", chain.name) if NUMBERED.search(chain.name) else chain.stem
    return chain.with_name(root + ".paramnames")


def _names(chain: Path, listed: list[Path]) -> list[str]:
    """From a .paramnames file given or lying beside the chain, or from the header of Cobaya's; param_0, ... else."""
    beside = listed[0] if listed else _beside(chain)
    if beside.is_file():
        found = [line.split()[0].rstrip("*") for _, line in lines_of(beside) if line.strip()]
        if not found or len(set(found)) < len(found) or not all(found):
            raise fail(beside, f"{len(found)} names, some twice or none", "one name a line", "Mend the file.")
        return found
    first = first_lines(chain, 1)[0] if chain.stat().st_size else ""
    if first.startswith("#"):
        found = first.lstrip("#").split()
        if found[:1] == ["weight"] and len(found) > 2 and len(set(found)) == len(found):
            return found[2:]
    width = next((len(line.split()) for _, line in lines_of(chain) if line.strip() and not line.startswith("#")), 0)
    if width < 3:
        raise fail(chain, f"{width} columns", "weight, minus log posterior, parameters", "See docs/formats.md.")
    return [f"param_{i}" for i in range(width - 2)]


def _rows(path: Path, names: list[str], limits: Limits) -> np.ndarray:
    columns = ["weight", "-loglike", *names]
    check_table(path, count_lines(path), len(columns), limits)
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    body = ((n, line) for n, line in lines_of(path) if line.strip() and not line.startswith("#"))
    rows = parsed(path, body, columns, None)
    if not len(rows):
        raise fail(path, "no rows", "a chain", "Sample first.")
    return rows
