"""Logs as Tracer reads them, of BEAST, MrBayes and RevBayes: a counter of states, then a column a parameter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmc.readers.limits import Limits, fail
from mcmc.readers.text import check_table, count_lines, lines_of, parsed, whole_last_line
from mcmc.readers.trees import shortest, tree_of

if TYPE_CHECKING:
    import xarray

COUNTERS = ("state", "sample", "gen", "iteration")
DENSITIES = {"posterior": "lp", "joint": "lp", "lnl": "log_lik_total", "likelihood": "log_lik_total",
             "lnpr": "log_prior", "prior": "log_prior"}  # fmt: skip
IDENTITY = re.compile(r"\[ID: \d+\]")


def is_log(lines: list[str]) -> bool:
    """Whether the first line that is no comment is a header of such a log."""
    header = next((line for line in lines if not _is_comment(line)), "")
    cells = header.split("\t")
    return len(cells) > 1 and cells[0].strip().lower() in COUNTERS and "chain" not in map(str.lower, cells)


def read(paths: list[Path], limits: Limits) -> xarray.DataTree:
    """Read a log a chain, all of one analysis; densities go to `sample_stats`."""
    first, parts, total = _header(paths[0])[0], [], 0
    for path in paths:
        names, number = _header(path)
        if names != first:
            raise fail(path, f"columns {names[:8]}", f"those of {paths[0]}", "Give the logs of one analysis.")
        total += count_lines(path)
        check_table(path, total, len(names), limits)
        parts.append(_rows(path, names, number))
    parts, note = shortest(parts, paths)
    rows = np.stack(parts)
    groups: dict[str, dict[str, np.ndarray]] = {"posterior": {}, "sample_stats": {}}
    dropped = [first[0]]
    for column, name in enumerate(first[1:], start=1):
        ours = DENSITIES.get(name.lower())
        if name == "Replicate_ID":
            dropped.append(name)
        elif ours and ours not in groups["sample_stats"]:
            groups["sample_stats"][ours] = rows[:, :, column]
        else:
            groups["posterior"][name.replace("/", "_")] = rows[:, :, column]
    facts = {"note": note} if note else {}
    return tree_of(groups, paths[0], ignored=", ".join(dropped), **facts)


def _is_comment(line: str) -> bool:
    return not line.strip() or line.startswith("#") or bool(IDENTITY.match(line))


def _header(path: Path) -> tuple[list[str], int]:
    for number, line in lines_of(path):
        if not _is_comment(line):
            names = [name.strip() for name in line.rstrip("\t").split("\t")]
            if names[0].lower() not in COUNTERS or len(names) < 2 or len(set(names)) < len(names) or not all(names):
                expected = f"distinct names after one of {', '.join(COUNTERS)}, with tabs between"
                raise fail(f"{path}, line {number}", f"columns {names[:8]}", expected, "Mend the header.")
            return names, number
    raise fail(path, "no header", "a log as Tracer reads it", "See docs/formats.md.")


def _rows(path: Path, names: list[str], header: int) -> np.ndarray:
    """Rows of one chain; its counter must rise by equal steps."""
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    body = ((n, line.rstrip("\t")) for n, line in lines_of(path) if n > header and not _is_comment(line))
    rows = parsed(path, body, names, "\t")
    if not len(rows):
        raise fail(path, "a header alone", "rows of draws", "Sample first.")
    steps = np.diff(rows[:, 0])
    bad = np.flatnonzero(~(steps > 0) | (steps != np.median(steps[:1000])))
    bad = bad[bad > 0] if bad.size and steps[bad[0]] > 0 else bad  # MrBayes counts 1, 100, 200, ...
    if bad.size:
        place = f"{path}, row {bad[0] + 2} after its header, {names[0]}"
        found = f"{rows[bad[0] + 1, 0]:g} after {rows[bad[0], 0]:g}"
        raise fail(place, found, "equal steps", "Give one run a file, in its order, with no rows left out.")
    return rows
