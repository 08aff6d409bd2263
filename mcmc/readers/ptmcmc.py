"""PTMCMCSampler's chains: parameters, log posterior, log likelihood and two acceptance rates; a file a chain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmc.readers.limits import Limits, fail
from mcmc.readers.repeats import check_repeats
from mcmc.readers.text import check_table, count_lines, lines_of, parsed, whole_last_line
from mcmc.readers.trees import shortest, tree_of

if TYPE_CHECKING:
    import xarray

NAMES = "pars.txt"
NAMED = re.compile(r"chain_([\d.]+)\.txt(\.gz)?")
BESIDE = ("lp", "log_lik_total", "acceptance rate", "swap acceptance rate")
"""What follows the parameters in each row."""


def is_chain(path: Path) -> bool:
    """Whether a file is named as PTMCMCSampler names chains, with the names of as many parameters beside it."""
    names = path.parent / NAMES
    if not NAMED.fullmatch(path.name) or not names.is_file():
        return False
    first = next((line for _, line in lines_of(path) if line.strip()), "")
    return len(first.split()) == len(_listed(names)) + len(BESIDE)


def read(paths: list[Path], limits: Limits, names: list[str] | None = None) -> xarray.DataTree:
    """Read chains at temperature 1, with names from `pars.txt` beside them."""
    for path in paths:
        found = NAMED.fullmatch(path.name)
        if found and float(found[1].rstrip(".")) != 1:
            raise fail(path, f"a chain at temperature {found[1]}", "one at temperature 1", "Give chain_1.txt.")
    columns = names or _names(paths[0])
    if len(set(columns)) < len(columns):
        raise fail(paths[0], f"names {columns[:8]}", "distinct names", "Mend pars.txt.")
    for path in () if names else paths[1:]:
        if (others := _names(path)) != columns:
            raise fail(path, f"parameters {others[:8]}", f"{columns[:8]}, as {paths[0]} has", "Give one run's chains.")
    parts, total = [], 0
    for path in paths:
        total += count_lines(path)
        check_table(path, total, len(columns) + len(BESIDE), limits)
        if not whole_last_line(path):
            remedy = "Its last number may be cut: remove the line."
            raise fail(path, "a last line without an end", "whole lines", remedy)
        body = ((n, line) for n, line in lines_of(path) if line.strip() and not line.startswith("#"))
        parts.append(parsed(path, body, [*columns, *BESIDE], None))
        if not len(parts[-1]):
            raise fail(path, "no rows", "a chain", "Sample first.")
        check_repeats(parts[-1][:, : len(columns)], path)
    parts, note = shortest(parts, paths)
    rows = np.stack(parts)
    posterior = {name: rows[:, :, i] for i, name in enumerate(columns)}
    statistics = {name: rows[:, :, len(columns) + i] for i, name in enumerate(BESIDE[:2])}
    facts = {"note": note} if note else {}
    groups = {"posterior": posterior, "sample_stats": statistics}
    return tree_of(groups, paths[0], ignored=", ".join(BESIDE[2:]), **facts)


def _names(path: Path) -> list[str]:
    beside = path.parent / NAMES
    if beside.is_file():
        return _listed(beside)
    first = next((line for _, line in lines_of(path) if line.strip()), "")
    count = len(first.split()) - len(BESIDE)
    if count < 1:
        raise fail(path, f"{len(first.split())} columns", f"parameters, {', '.join(BESIDE)}", "See docs/formats.md.")
    return [f"param_{i}" for i in range(count)]


def _listed(path: Path) -> list[str]:
    return [line.strip() for _, line in lines_of(path) if line.strip()]
