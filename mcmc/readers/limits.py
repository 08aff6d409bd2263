"""Limits on what a file may hold, checked before anything large is allocated, and the errors of all readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mcmc.errors import WithPage, WrongValue, got


class ReadError(WithPage, ValueError):
    """A file can't be read as draws; the message names the file, the place, what was expected and what to do."""

    code = "read"


class LimitError(ReadError):
    """A file holds more than `Limits` allow; nothing of it was read.

    Attributes:
        what: the limit: `bytes`, `elements`, `variables` or `members`.
        most: how many there may be.
    """

    code = "read_limit"

    def __init__(self, message: str, *, what: str, most: int):
        super().__init__(message)
        self.what, self.most = what, most


class ReadWarning(UserWarning):
    """A file was read, but not all of it are draws that can be used."""


@dataclass(frozen=True)
class Limits:
    """The most that files may hold, all files of a call together; None: no limit (elements: what memory holds).

    Args:
        bytes: on disk.
        elements: numbers after decompression, over all variables.
        variables: named arrays, or columns of a table.
        members: files in a zip; groups and datasets in an HDF5 file or a zarr store.

    Raises:
        ValueError: a limit that is not a positive integer.

    Example:
        >>> Limits(bytes=1_000_000).elements is None
        True
    """

    bytes: int | None = None
    elements: int | None = None
    variables: int | None = None
    members: int | None = None

    def __post_init__(self):
        for name, value in vars(self).items():
            if value is not None and not (isinstance(value, int) and value > 0):
                raise WrongValue(name, value, "a positive integer or None", "Leave it out for no limit.")

    def check(self, what: str, found: int, file: object) -> None:
        """Raise a LimitError where `found` is more than `what` may be; elements are held against memory too."""
        most = getattr(self, what)
        if most is not None and found > most:
            remedy = f"Raise the limit with Limits({what}=...), or keep fewer draws or parameters."
            raise LimitError(got(str(file), f"{found:,} {what}", f"at most {most:,}", remedy), what=what, most=most)
        if what == "elements" and most is None and found > (most := memory_elements()):
            remedy = "Keep fewer draws or parameters, or use a larger machine."
            message = got(str(file), f"{found:,} numbers", f"at most {most:,}, which memory holds", remedy)
            raise LimitError(message, what=what, most=most)


def memory_elements() -> int:
    """How many float64 numbers fit in a third of the memory that is available."""
    import psutil

    return psutil.virtual_memory().available // 24


def fail(file: object, value: object, expected: str, remedy: str) -> ReadError:
    """The one form of a reader's error: file and place, got, expected, remedy."""
    return ReadError(got(str(file), value, expected, remedy))


@contextmanager
def only_read_errors(file: object, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a broken file into a ReadError that names the file."""
    try:
        yield
    except ReadError:
        raise
    except MemoryError as error:
        raise fail(file, "more numbers than memory holds", f"{kind} that fits", "Keep fewer draws.") from error
    except Exception as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise fail(file, found, f"a whole {kind}", "Check that it was written and copied to its end.") from error


def size_of(paths: list[Path]) -> int:
    """Bytes on disk, of folders with all that is in them."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())
