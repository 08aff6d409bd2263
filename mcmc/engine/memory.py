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


def check_memory(chains: int, draws: int, width: int, itemsize: int, dtype: str, thin: int = 1) -> int:
    """The bytes that the draws take; MemoryLimitError where that is more than four fifths of what is free."""
    import psutil

    size = chains * draws * width * itemsize
    free = psutil.virtual_memory().available
    if size > SHARE * free:
        fit = int(SHARE * free / (chains * width * itemsize))
        smaller = ' dtype="float32" halves it;' if itemsize == 8 else ""
        kept = f"draws= counts what thin={thin} keeps" if thin > 1 else "thin=10 makes ten iterations for each"
        fewer = f"draws={fit} fit, and {kept}: see the ESS of a short run"
        if not fit:  # not one draw
            fewer = f"chains={int(SHARE * free / (draws * width * itemsize))} fit"
        raise MemoryLimitError(
            f"draws: {chains} chains x {draws:,} draws x {width} numbers of {dtype} take {human(size)}; expected at "
            f"most {human(SHARE * free)}, four fifths of the memory that is free.{smaller} {fewer}; "
            'store="run.zarr" keeps draws on disk, reduce=1000 so many and the moments of all.'
        )
    return size
