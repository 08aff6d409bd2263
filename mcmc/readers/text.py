"""Tables of numbers in text: read in bounded memory, every fault with its file and line."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from mcmc.readers.limits import Limits, fail, only_read_errors

BLOCK = 1 << 20
GZIP = b"\x1f\x8b"


def is_packed(path: Path) -> bool:
    """Whether this is a gzip file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == GZIP


def opened(path: Path) -> BinaryIO:
    """A file, unpacked as it is read where it is gzip's."""
    return cast("BinaryIO", gzip.open(path)) if is_packed(path) else path.open("rb")


def check_unpacked(path: Path, limits: Limits) -> None:
    """Hold what a gzip file unpacks to against the limits, at 32 characters a number."""
    total = 0
    if not is_packed(path):
        return
    with only_read_errors(path, "gzip file"), opened(path) as file:
        while block := file.read(BLOCK):
            total += len(block)
            limits.check("elements", total // 32, path)


def first_lines(path: Path, most: int = 200) -> list[str]:
    """The first lines, as far as they are text; an undecodable file is a ReadError."""
    with opened(path) as file:
        head = file.read(BLOCK)
    lines = head.split(b"\n")
    if len(head) == BLOCK:
        lines = lines[:-1]
    try:
        return [line.decode("utf-8-sig").rstrip("\r") for line in lines[:most]]
    except UnicodeDecodeError as error:
        raise fail(path, "bytes that are not UTF-8", "text", "See docs/formats.md for what can be read.") from error


def count_lines(path: Path) -> int:
    """Lines in a file, the last one with or without its end."""
    count, last = 0, b"\n"
    with opened(path) as file:
        while block := file.read(BLOCK):
            count, last = count + block.count(b"\n"), block[-1:]
    return count + (last != b"\n")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line."""
    try:
        with io.TextIOWrapper(opened(path), encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise fail(path, "bytes that are not UTF-8", "text", "Check that it was copied as it is.") from error


def numbers(path: Path, rows: Sequence[tuple[int, str]], columns: Sequence[str], separator: str | None) -> np.ndarray:
    """`(row, column)` float64 of numbered lines that all have these columns; `separator=None`: blanks."""
    if not rows:
        return np.empty((0, len(columns)))
    try:
        found = np.loadtxt([line for _, line in rows], delimiter=separator, ndmin=2, comments=None)
        if found.shape == (len(rows), len(columns)):
            return found
    except ValueError:
        pass
    for number, line in rows:  # what is wrong, and where
        cells = line.split(separator)
        if len(cells) != len(columns):
            remedy = "The line is cut short or torn: write the file again, or end it before this line."
            raise fail(f"{path}, line {number}", f"{len(cells)} values", f"{len(columns)}, as in its header", remedy)
        for name, cell in zip(columns, cells, strict=True):
            if not is_number(cell):
                raise fail(f"{path}, line {number}, {name}", cell[:40], "a number", "Correct or leave out the line.")
    raise fail(path, f"lines that are not {len(columns)} numbers each", "a table of numbers", "Write the file again.")


def whole_last_line(path: Path) -> bool:
    """Whether the file ends with the end of a line: otherwise its last number may be cut."""
    last = b"\n"
    with opened(path) as file:
        if isinstance(file, gzip.GzipFile):  # can't be read from its end
            while block := file.read(BLOCK):
                last = block[-1:]
            return last == b"\n"
        file.seek(max(0, path.stat().st_size - 1))
        return file.read(1) in (b"\n", b"")


def check_table(path: Path, lines: int, columns: int, limits: Limits) -> None:
    """Hold the size of a table against the limits, before it is read."""
    limits.check("variables", columns, path)
    limits.check("elements", lines * columns, path)


def parsed(path: Path, lines: Iterator[tuple[int, str]], columns: Sequence[str], separator: str | None) -> np.ndarray:
    """The same as `numbers` for any number of lines, in batches."""
    parts, batch = [np.empty((0, len(columns)))], []
    size = max(1, BLOCK // (16 * len(columns)))
    for row in lines:
        batch.append(row)
        if len(batch) == size:
            parts.append(numbers(path, batch, columns, separator))
            batch = []
    parts.append(numbers(path, batch, columns, separator))
    return np.concatenate(parts)


def is_number(cell: str) -> bool:
    """Whether a cell is a number, by more than Python's rules: 1_000 and digits of other scripts are none."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.isascii()
