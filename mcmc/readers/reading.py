"""`read`: draws in any supported format as a tree; the format is found from the content."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcmc.errors import WrongType, WrongValue
from mcmc.readers import (
    bilby,
    cmdstan,
    coda,
    emcee_backend,
    getdist,
    hdf5,
    long_form,
    netcdf,
    npz,
    parquet,
    posteriordb,
    ptmcmc,
    tracer,
    wide,
    zarr_store,
)  # fmt: skip
from mcmc.readers.companions import expanded
from mcmc.readers.layout import cells_of, is_cell, layout_of
from mcmc.readers.limits import Limits, fail, only_read_errors, size_of
from mcmc.readers.selection import counted, selected, understood
from mcmc.readers.text import check_unpacked, first_lines, is_number

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
    "parquet": parquet.read,
    "wide": wide.read,
    "npy": npz.read_npy,
    "tracer": tracer.read,
    "coda": coda.read,
    "ptmcmc": ptmcmc.read,
    "bilby": bilby.read,
    "posteriordb": posteriordb.read,
}
FORMATS = tuple(READERS)
SEVERAL = ("cmdstan", "getdist", "wide", "tracer", "coda", "ptmcmc")
REFUSED = {
    b"CDF": ("netCDF 3, which has no groups", "Convert it: nccopy -4 old.nc new.nc."),
    b"\x80": ("a pickle, or no text", "Pickles are never opened: save netCDF, zarr or npz."),
}


def read(
    paths: str | Path | Sequence[str | Path],
    format: str | None = None,
    limits: Limits | None = None,
    *,
    names: Sequence[str] | None = None,
    burn: float = 0,
    thin: int = 1,
    vars: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    chains: int | None = None,
) -> xarray.DataTree:
    """Return the draws that a file holds, whoever wrote it, as a tree that `diagnose` and ArviZ take.

    Args:
        paths: a file or folder, or the files of several chains (CmdStan, GetDist; `root` stands for `root_1.txt`,
            `root_2.txt`, ...).
        format: one of `FORMATS`; None: found from the content.
        limits: the most that may be read, checked before anything large is allocated. None: netCDF and zarr are read
            lazily, the rest immediately, as far as memory holds them.
        names: the parameters' names, for emcee, GetDist, one NumPy array and tables without a header.
        burn: draws to leave out at the beginning of each chain; below 1, as a fraction of them.
        thin: keep every thin-th draw after that.
        vars: the parameters to keep; None: all.
        exclude: parameters to leave out.
        chains: how many chains there are, where a file doesn't say it: a wide table, an array.

    Returns:
        A DataTree with `posterior`, `(chain, draw, ...)`, and what else the format has of ArviZ's groups;
        `attrs["understood"]` says in one line what was taken.

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
    for file in files:
        check_unpacked(file, limits)
    if format is None:
        format = _found(files, names, chains)
    if format not in READERS:
        raise WrongValue("format", format, f"one of {', '.join(FORMATS)}", "Leave it out to have it found.")
    if len(files) > 1 and format not in SEVERAL:
        raise fail(
            files[1], f"{len(files)} files", f"one file of format {format}", "Join the chains, or give one file."
        )
    reader = READERS[format]
    options: dict[str, Any] = {}
    if chains is not None:
        if not isinstance(chains, int) or chains < 1:
            raise WrongValue("chains", chains, "a positive integer", "Leave it out where the file says it.")
        if "chains" in signature(reader).parameters:
            options["chains"] = chains
    if names is not None:
        if "names" not in signature(reader).parameters:
            raise WrongValue("names", list(names), f"none, for {format}", "Its variables have names already.")
        options["names"] = [str(name) for name in names]
    with only_read_errors(files[0], f"{format} file"):
        tree = reader(files, limits, **options)
    if chains not in (None, tree["posterior"].sizes["chain"]):
        found = counted(tree["posterior"].sizes["chain"], "chain")
        raise fail(files[0], found, f"{chains}", "Leave chains out, or correct it.")
    tree.attrs["understood"] = understood(tree, format, len(files))
    return selected(tree, burn=burn, thin=thin, vars=vars, exclude=exclude)


def _found(files: list[Path], names: Sequence[str] | None, chains: int | None) -> str:
    """The format of files by their content, and by what else was said of them."""
    if any(file.suffix == ".paramnames" for file in files):
        return "getdist"
    format = _format_of(files[0], names)
    if format == "cmdstan" and (chains is not None or len(files) == 1) and not _has_comments(files[0]):
        return "wide"  # a file a chain is what Stan writes; one without its comments may hold several
    return format


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
    return _format_of(Path(path), None)


def _format_of(path: Path, names: Sequence[str] | None) -> str:
    if path.is_dir():
        if any((path / name).exists() for name in (*zarr_store.ROOTS, "committed.npz")):
            return "zarr"
        raise fail(path, "a folder", "a zarr store or a file", "Give the files in it.")
    if not path.is_file():
        raise fail(path, "nothing there", "a file or a zarr store", "Check the path.")
    with only_read_errors(path, "file"), path.open("rb") as file:
        head = file.read(8)
    if head == hdf5.MAGIC:
        return hdf5.format_of(path)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "posteriordb" if posteriordb.member_of(path) else "npz"
    if head[:6] == b"\x93NUMPY":
        return "npy"
    if head[:4] == b"PAR1":
        return "parquet"
    for start, (what, remedy) in REFUSED.items():
        if head.startswith(start):
            raise fail(path, what, f"one of {', '.join(FORMATS)}", remedy)
    with only_read_errors(path, "file"):
        return _text_format(path, names)


def _text_format(path: Path, names: Sequence[str] | None) -> str:
    lines = [line for line in first_lines(path) if line.strip()]
    data = next((line for line in lines if not line.startswith("#")), "")
    if any(line.startswith("#") and "stan_version" in line for line in lines):
        return "cmdstan"
    if bilby.is_text(lines):
        return "bilby"
    if posteriordb.is_text(lines):
        return "posteriordb"
    if ptmcmc.is_chain(path):
        return "ptmcmc"
    if coda.is_index(lines) or coda.files_of([path])[0] != path:
        return "coda"
    if (layout := layout_of(lines)) is not None:
        cmdstan.refuse_other_methods({}, layout.names, path)
    if tracer.is_log(lines):
        return "tracer"
    if long_form.is_long(lines):
        return "csv"
    if "lp__" in data.split(","):
        return "cmdstan"
    cells = cells_of(data)
    if path.suffix == ".paramnames" or (len(cells) > 1 and all(map(is_number, cells))):
        if getdist.is_chain(path):
            return "getdist"
        if names is not None and layout_of(lines) is None:
            return _by_width(len(cells), len(names), path)
        if wide.is_wide(lines):
            return "wide"
        remedy = "Put root.paramnames beside GetDist's chains (weight, minus log posterior, parameters), or say "
        remedy += "format='getdist' (--format getdist); to other tables add a header with the columns' names, or give "
        remedy += "names, one a column."
        raise fail(path, f"numbers without names: {data[:60]!r}", "a table that says what its columns are", remedy)
    if wide.is_wide(lines):
        return "wide"
    _name_what_is_no_number(lines, path)
    remedy = "See docs/formats.md: CSV needs a header, and columns chain and draw or the number of chains."
    raise fail(path, data[:60] or "no data", f"one of {', '.join(FORMATS)}", remedy)


def _by_width(columns: int, names: int, path: Path) -> str:
    """Numbers that are named from outside: a name a column, or GetDist's, with two columns before the parameters."""
    if columns not in (names, names + 2):
        expected = f"{columns} of them, or {columns - 2} of GetDist's parameters"
        raise WrongValue("names", f"{names} names", expected, f"{path} has {columns} columns.")
    return "wide" if columns == names else "getdist"


def _has_comments(path: Path) -> bool:
    return any(line.startswith("#") for line in first_lines(path))


def _name_what_is_no_number(lines: list[str], path: Path) -> None:
    """Refuse a table that has a header and, below it, a cell that is no number."""
    layout = layout_of(lines)
    if layout is None or len(layout.names) < 2 or len(layout.names) != len(layout.row):
        return
    for name, cell in zip(layout.names, layout.row, strict=True):
        if name and not is_cell(cell):
            remedy = "Leave the column out, or encode it as numbers."
            if is_number(cell.replace(",", ".", 1)):
                remedy = "Write numbers with a decimal point."
            raise fail(f"{path}, {name}", cell[:40], "numbers below the header", remedy)


def _files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    given = [paths] if isinstance(paths, str | Path) else paths
    if not isinstance(given, Sequence) or not given or not all(isinstance(path, str | Path) for path in given):
        raise WrongType("paths", paths, "a path or several", 'Use read("draws.nc").')
    files = expanded([Path(path) for path in given])
    for file in files:
        if not file.exists():
            raise fail(file, "nothing there", "a file or a zarr store", "Check the path.")
    return files
