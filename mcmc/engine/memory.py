"""The size of a run, said before anything is compiled."""

from __future__ import annotations

from mcmc.errors import MemoryLimitError

SHARE = 0.8


def human(size: float) -> str:
    """Bytes in the unit that reads best.

    >>> human(20480 * 12 * 8)
    '2.0 MB'
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def check_memory(chains: int, draws: int, width: int, itemsize: int, dtype: str) -> int:
    """The bytes that the draws take; MemoryLimitError where that is more than four fifths of what is free."""
    import psutil

    size = chains * draws * width * itemsize
    free = psutil.virtual_memory().available
    if size > SHARE * free:
        smaller = ' dtype="float32" halves it;' if itemsize == 8 else ""
        raise MemoryLimitError(
            f"draws: {chains} chains x {draws:,} draws x {width} numbers of {dtype} take {human(size)}; expected at "
            f"most {human(SHARE * free)}, four fifths of the memory that is free.{smaller} thin=10 keeps every tenth "
            "draw; fewer draws or chains are often enough: see the ESS of a short run."
        )
    return size
