"""`read`: draws in any supported format as a tree; the format is found from the content."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING

from mcmc.errors import got
from mcmc.readers import cmdstan, emcee_backend, getdist, hdf5, long_form, netcdf, npz, zarr_store
from mcmc.readers.limits import Limits, fail, only_read_errors, size_of
from mcmc.readers.text import first_lines

if TYPE_CHECKING:
    import xarray

READERS = {
    "netcdf": netcdf.read,
    "zarr": zarr_store.read,
    "cmdstan": cmdstan.read,
    "npz": npz.read,
    "emcee": emcee_backend.read,
    "getdist": getdist.read,
    "csv": long_form.read_csv,
    "parquet": long_form.read_parquet,
}
FORMATS = tuple(READERS)
SEVERAL = ("cmdstan", "getdist")
REFUSED = {
    b"CDF": ("netCDF 3, which has no groups", "Convert it: nccopy -4 old.nc new.nc."),
    b"\x1f\x8b": ("gzip", "Decompress it first: gunzip FILE."),
    b"\x93NUMPY": ("one bare NumPy array", "Save arrays by name: np.savez(file, mu=array)."),
    b"\x80": ("a pickle, or no text", "Pickles are never opened: save netCDF, zarr or npz."),
}


def read(
    paths: str | Path | Sequence[str | Path],
    format: str | None = None,
    limits: Limits | None = None,
    *,
    names: Sequence[str] | None = None,
) -> xarray.DataTree:
    """Return the draws that a file holds, whoever wrote it, as a tree that `diagnose` and ArviZ take.

    Args:
        paths: a file or folder, or the files of several chains (CmdStan, GetDist; `root` stands for `root_1.txt`,
            `root_2.txt`, ...).
        format: one of `FORMATS`; None: found from the content.
        limits: the most that may be read, checked before anything large is allocated. None: netCDF and zarr are read
            lazily, the rest immediately, as far as memory holds them.
        names: the parameters' names, for emcee and GetDist.

    Returns:
        A DataTree with `posterior`, `(chain, draw, ...)`, and what else the format has of ArviZ's groups.

    Raises:
        ReadError: a file that is missing, of no known format or broken; it is a ValueError.
        LimitError: more than `limits` allow; a ReadError.
        TypeError: `paths` that are none.

    Example:
        >>> import numpy as np, tempfile
        >>> file = tempfile.mkdtemp() + "/draws.npz"
        >>> np.savez(file, mu=np.random.default_rng(0).normal(size=(4, 100)))
        >>> read(file).posterior["mu"].shape
        (4, 100)
    """
    files, limits = _files(paths), limits or Limits()
    limits.check("bytes", size_of(files), files[0])
    if format is None:
        format = format_of(files[0])
    if format not in READERS:
        raise ValueError(got("format", format, f"one of {', '.join(FORMATS)}", "Leave it out to have it found."))
    if len(files) > 1 and format not in SEVERAL:
        raise fail(
            files[1], f"{len(files)} files", f"one file of format {format}", "Join the chains, or give one file."
        )
    reader = READERS[format]
    options = {}
    if names is not None:
        if "names" not in signature(reader).parameters:
            raise ValueError(got("names", list(names), f"none, for {format}", "Its variables have names already."))
        options["names"] = [str(name) for name in names]
    with only_read_errors(files[0], f"{format} file"):
        return reader(files, limits, **options)


def format_of(path: str | Path) -> str:
    """Return the format of a file, by what is in it; one that is none of `FORMATS` is a ReadError.

    Example:
        >>> import numpy as np, tempfile
        >>> file = tempfile.mkdtemp() + "/whatever"
        >>> with open(file, "wb") as opened:
        ...     np.savez(opened, mu=np.zeros((4, 100)))
        >>> format_of(file)
        'npz'
    """
    path = Path(path)
    if path.is_dir():
        if any((path / name).exists() for name in (*zarr_store.ROOTS, "committed.npz")):
            return "zarr"
        raise fail(path, "a folder", "a zarr store or a file", "Give the files in it.")
    if not path.is_file():
        raise fail(path, "nothing there", "a file or a zarr store", "Check the path.")
    with only_read_errors(path, "file"), path.open("rb") as file:
        head = file.read(8)
    if head == hdf5.MAGIC:
        return "emcee" if hdf5.is_emcee(path) else "netcdf"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "npz"
    if head[:4] == b"PAR1":
        return "parquet"
    for start, (what, remedy) in REFUSED.items():
        if head.startswith(start):
            raise fail(path, what, f"one of {', '.join(FORMATS)}", remedy)
    return _text_format(path)


def _text_format(path: Path) -> str:
    lines = [line for line in first_lines(path) if line.strip()]
    data = next((line for line in lines if not line.startswith("#")), "")
    if "lp__" in data.split(",") or (lines and lines[0].startswith("#") and "stan_version" in lines[0]):
        return "cmdstan"
    if long_form.is_header(data):
        return "csv"
    if path.suffix == ".paramnames" or _all_numbers(data.split()):
        return "getdist"
    remedy = "See docs/formats.md: CSV needs columns chain and draw."
    raise fail(path, data[:60] or "no data", f"one of {', '.join(FORMATS)}", remedy)


def _all_numbers(cells: list[str]) -> bool:
    try:
        return len([float(cell) for cell in cells]) > 2
    except ValueError:
        return False


def _files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    given = [paths] if isinstance(paths, str | Path) else paths
    if not isinstance(given, Sequence) or not given or not all(isinstance(path, str | Path) for path in given):
        raise TypeError(got("paths", paths, "a path or several", 'Use read("draws.nc").'))
    files = [file for path in given for file in getdist.files_of(Path(path))]
    for file in files:
        if not file.exists():
            raise fail(file, "nothing there", "a file or a zarr store", "Check the path.")
    return files
