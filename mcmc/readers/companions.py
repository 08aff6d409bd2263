"""Files that belong to others: the chains of a root, the names that lie beside a chain."""

from __future__ import annotations

from pathlib import Path

from mcmc.readers import coda, getdist, ptmcmc
from mcmc.readers.limits import ReadError, fail
from mcmc.readers.text import first_lines


def expanded(paths: list[Path]) -> list[Path]:
    """The files meant: the chains of a root, and no `pars.txt`, which is read with the chain that it lies beside."""
    files = [file for path in paths for file in getdist.files_of(path)]
    return [file for file in files if len(files) == 1 or file.name != ptmcmc.NAMES] or files


def with_companions(paths: list[Path]) -> list[Path]:
    """The files meant, and those beside them that name what is in them: to be sent together."""
    files = expanded(paths)
    if all(path.is_file() for path in files) and _is_index((chains := coda.files_of(files))[0]):
        files = chains
    for file in [*files]:
        beside = [getdist.beside(file)]
        beside += [file.with_name(ptmcmc.NAMES)] * bool(ptmcmc.NAMED.fullmatch(file.name))
        for path in (path for path in beside if path.is_file() and path not in files):
            same = next((other for other in files if other.name == path.name), None)
            if same is None:
                files.append(path)
            elif same.read_bytes() != path.read_bytes():
                raise fail(path, "other parameters", f"those of {same}", "Give one run's chains.")
    return files


def _is_index(path: Path) -> bool:
    try:
        return coda.is_index([line for line in first_lines(path) if line.strip()])
    except (ReadError, OSError, EOFError):  # no text, or packed and cut
        return False
