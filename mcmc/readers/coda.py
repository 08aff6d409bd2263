"""CODA's text files, as JAGS, OpenBUGS and WinBUGS write them: an index of names, and a file a chain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcmc.readers.limits import Limits, fail
from mcmc.readers.text import check_table, count_lines, is_number, lines_of, parsed, whole_last_line
from mcmc.readers.trees import placed, tree_of

if TYPE_CHECKING:
    import xarray

ENTRY = re.compile(r"(\S+)[ \t]+(\d+)[ \t]+(\d+)")
INDEX = re.compile("index", re.IGNORECASE)
CHAIN = re.compile(r"chain_?\d+", re.IGNORECASE)


def is_index(lines: list[str]) -> bool:
    """Whether every line is a name with its first row and its last, from 1 on."""
    found = [ENTRY.fullmatch(line.strip()) for line in lines]
    return bool(found) and all(found) and found[0] is not None and found[0][2] == "1" and not is_number(found[0][1])


def files_of(paths: list[Path]) -> list[Path]:
    """With an index its chains, with chains their index, where they lie beside and are named as CODA names them."""
    (path,) = paths if len(paths) == 1 else (None,)
    if path is not None and INDEX.search(path.name):
        pattern = re.compile(INDEX.sub("chain_?(\\\\d+)", re.escape(path.name), count=1), re.IGNORECASE)
        beside = [(int(m[1]), f) for f in path.parent.iterdir() if (m := pattern.fullmatch(f.name))]
        return [path, *(file for _, file in sorted(beside))]
    if paths and all(CHAIN.search(path.name) for path in paths):
        wanted = CHAIN.sub("index", paths[0].name, count=1).lower()
        beside = [file for file in paths[0].parent.iterdir() if file.name.lower() == wanted]
        return [*beside, *paths]
    return paths


def read(paths: list[Path], limits: Limits) -> xarray.DataTree:
    """Read the chains of an index, which is found among the files, or beside them."""
    paths = files_of(paths)
    indices = [path for path in paths if is_index([line for _, line in lines_of(path) if line.strip()])]
    chains = [path for path in paths if path not in indices]
    if len(indices) != 1 or not chains:
        found = f"{len(indices)} indices and {len(chains)} chains"
        raise fail(paths[0], found, "CODAindex.txt and CODAchain1.txt, ...", "Give the index and its chains together.")
    places, rows = _places(indices[0]), []
    check_table(chains[0], sum(map(count_lines, chains)), 2, limits)
    limits.check("variables", len(places), indices[0])
    for path in chains:
        rows.append(_chain(path, places, indices[0]))
    stacked = np.stack(rows)
    return tree_of(placed({name: stacked[:, first:end] for name, (first, end) in places.items()}), chains[0])


def _places(path: Path) -> dict[str, tuple[int, int]]:
    """The rows of each parameter; they must follow each other and be as many for each."""
    places: dict[str, tuple[int, int]] = {}
    end = 0
    for number, line in lines_of(path):
        if found := ENTRY.fullmatch(line.strip()):
            first, last = int(found[2]), int(found[3])
            size = next(iter(places.values()), (0, last))[1]
            if found[1] in places or first != end + 1 or last - first + 1 != size:
                expected = f"another name, rows from {end + 1}, {size} of them"
                raise fail(f"{path}, line {number}", line.strip()[:60], expected, "Give the index of these chains.")
            places[found[1]], end = (first - 1, last), last
    return places


def _chain(path: Path, places: dict[str, tuple[int, int]], index: Path) -> np.ndarray:
    """The second column of a chain's file; the first counts iterations, alike for every parameter."""
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    rows = parsed(path, ((n, line) for n, line in lines_of(path) if line.strip()), ["iteration", "value"], None)
    end = max(last for _, last in places.values())
    if len(rows) != end:
        raise fail(path, f"{len(rows)} rows", f"{end}, as {index} says", "Let the run end, or write the files again.")
    counts = rows[:, 0].reshape(len(places), -1)
    if (counts != counts[0]).any() or (np.diff(counts[0]) <= 0).any():
        raise fail(path, "iterations that differ between parameters", "the same for each, rising", "Write it again.")
    return rows[:, 1]
