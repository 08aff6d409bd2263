"""How a table of text is laid out: where its header is, also in a comment, and what parts its cells."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from mcmc.readers.text import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class Layout:
    """Names of the columns ("" for row names without one), the line of the header from 0, and the first row."""

    names: tuple[str, ...]
    header: int
    separator: str
    row: tuple[str, ...]

    def body(self, file: Iterable[str]) -> Iterator[str]:
        """The lines of a file with header and comments left empty, so that their numbers stay."""
        lines = iter(file)
        yield from ("" for _ in islice(lines, self.header + 1))
        for line in lines:
            text = line.strip() if self.separator == " " else line
            yield "" if line.startswith("#") or not text.strip() else text


def layout_of(lines: list[str]) -> Layout | None:
    """The layout of a table that begins with these lines: None for numbers without names.

    Example:
        >>> layout_of(["# mu sigma", "0.1  2.0"])
        Layout(names=('mu', 'sigma'), header=0, separator=' ', row=('0.1', '2.0'))
    """
    body = [i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")]
    if not body:
        return None
    first = cells_of(lines[body[0]])
    if (labelled := _anesthetic(lines, body)) is not None:
        return labelled
    if not all(map(is_cell, first)) or _counts_columns(first):
        header, row = body[0], lines[body[1]] if len(body) > 1 else ""
    elif (above := [i for i in range(body[0]) if lines[i].strip()]) and lines[above[-1]].startswith("#"):
        header, row = above[-1], lines[body[0]]
    else:
        return None
    names, cells = cells_of(lines[header].lstrip("#").strip("\r\n ")), cells_of(row)
    separator = separator_of(row or lines[header])
    if separator == " " and len(cells) == len(names) + 1:  # R's row names have no column name
        names = ["", *names]
    return Layout(tuple(names), header, separator, tuple(cells))


def unnamed(lines: list[str], names: list[str]) -> Layout | None:
    """The layout of numbers without a header whose columns are named from outside."""
    row = next((line for line in lines if line.strip() and not line.startswith("#")), None)
    return None if row is None else Layout(tuple(names), -1, separator_of(row), tuple(cells_of(row)))


def _counts_columns(cells: list[str]) -> bool:
    """Whether this is pandas' header of columns that have no names: an empty cell, then 0, 1, 2, ..."""
    return len(cells) > 1 and cells == ["", *(str(i) for i in range(len(cells) - 1))]


def _anesthetic(lines: list[str], body: list[int]) -> Layout | None:
    """anesthetic's header of three lines: names, their labels, and that the second column has the weights."""
    if len(body) < 4:
        return None
    names, labels, weights, row = (cells_of(lines[i]) for i in body[:4])
    if labels[:1] != ["labels"] or weights[:2] != ["", "weights"] or any(weights[2:]) or names[:2] != ["", ""]:
        return None
    return Layout(("", "weights", *names[2:]), body[2], ",", tuple(row))


def separator_of(line: str) -> str:
    """What parts the cells of a line."""
    return next((mark for mark in ("\t", ";", ",", " ") if mark in line.strip()), ",")


def cells_of(line: str) -> list[str]:
    """The cells of a line, without quotes; several blanks part two cells as one does."""
    separator = separator_of(line)
    try:
        line = line.strip() if separator == " " else line
        return next(csv.reader([line], delimiter=separator, skipinitialspace=separator == " "), [])
    except csv.Error:
        return [line]


def is_cell(cell: str) -> bool:
    """Whether a cell holds a number, a flag or nothing that was observed."""
    return is_number(cell) or cell.strip().lower() in ("true", "false", "na", "")
