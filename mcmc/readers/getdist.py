"""GetDist's and Cobaya's text chains: weight, minus log posterior, parameters; one file a chain."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmc.readers.limits import Limits, ReadWarning, fail
from mcmc.readers.repeats import check_repeats
from mcmc.readers.text import check_table, count_lines, first_lines, lines_of, parsed, whole_last_line
from mcmc.readers.trees import shortest, tree_of
from mcmc.readers.weights import drawn_rows

if TYPE_CHECKING:
    import xarray

NUMBERED = re.compile(r"[._](\d+)\.txt(\.gz)?$")
MINUS_LOG = ("minuslogpost", "minuslogpost*", "-loglike", "minusloglike", "-log(like)")
"""Names of the second column; a table whose header says something else there is no chain of these."""
COUNTED = 5
"""So many weights that go up by equal steps are numbers of rows."""
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
    for path in () if names else chains[1:]:
        if (others := _named(path, listed)) is not None and others != columns:
            raise fail(path, f"parameters {others[:8]}", f"{columns[:8]}, as {chains[0]} has", "Give one run's chains.")
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
    if path.suffix == ".paramnames" or beside(path).is_file():
        return True
    return _in_header(path) is not None


def beside(chain: Path) -> Path:
    """Where the parameters of a chain are named: root.paramnames for root_1.txt."""
    name = chain.name.removesuffix(".gz")
    root = NUMBERED.sub("", name) if NUMBERED.search(name) else Path(name).stem
    return chain.with_name(root + ".paramnames")


def _in_header(path: Path) -> list[str] | None:
    """Names in a first line as Cobaya's: a comment, weight, minus log posterior, parameters."""
    first = first_lines(path, 1)
    found = first[0].lstrip("#").split() if first and first[0].startswith("#") else []
    told = found[:1] == ["weight"] and len(found) > 2 and found[1] in MINUS_LOG and len(set(found)) == len(found)
    return found[2:] if told else None


def _named(chain: Path, listed: list[Path]) -> list[str] | None:
    """From a .paramnames file given or lying beside the chain, or from the header of Cobaya's."""
    names = listed[0] if listed else beside(chain)
    if not names.is_file():
        return _in_header(chain)
    found = [line.split()[0].rstrip("*") for _, line in lines_of(names) if line.strip()]
    if not found or len(set(found)) < len(found) or not all(found):
        raise fail(names, f"{len(found)} names, some twice or none", "one name a line", "Mend the file.")
    return found


def _names(chain: Path, listed: list[Path]) -> list[str]:
    """The names that are said; param_0, ... else."""
    found = _named(chain, listed)
    if found is not None:
        return found
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
    check_repeats(rows, path)
    steps = np.diff(rows[:, 0])
    if len(steps) >= COUNTED and steps[0] and (steps == steps[0]).all():
        found = f"weights {rows[0, 0]:g}, {rows[1, 0]:g}, {rows[2, 0]:g}, ..."
        remedy = "That counts rows: add a header with the columns' names, and say how many chains there are."
        raise fail(path, found, "how often each row counts", remedy)
    return rows
