"""A zarr store sent as a zip: unpacked within limits, and nowhere but in its own folder."""

import stat
import zipfile
from pathlib import Path, PurePosixPath

from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.zarr_store import ROOTS

PIECE = 1 << 20


def is_store(path: Path) -> bool:
    """Whether this is a zip with a zarr store in it (an npz is a zip too)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name in ROOTS for name in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError):
        return False


def unpack(path: Path, into: Path, limits: Limits) -> Path:
    """Unpack a zip and return the folder of the store in it.

    Raises:
        ReadError: names that lead elsewhere, links, another compression, or a damaged zip.
        LimitError: more files, or more bytes, than `limits` allow (8 bytes an element, and 1 MB).
    """
    left = None if limits.elements is None else 8 * limits.elements + PIECE
    into.mkdir()
    with only_read_errors(path, "zip of a zarr store"), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        limits.check("members", len(members), path)
        for member in members:
            _check(member, path)
            place = into / member.filename
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as packed, place.open("xb") as file:
                while piece := packed.read(PIECE):
                    if left is not None:
                        left -= len(piece)
                        if left < 0:
                            limits.check("elements", (limits.elements or 0) + 1, path)
                    file.write(piece)
    roots = [file.parent for file in into.rglob("*") if file.name in ROOTS]
    return min(roots, key=lambda folder: len(folder.parts))


def _check(member: zipfile.ZipInfo, path: Path) -> None:
    parts = PurePosixPath(member.filename).parts
    if ".." in parts or member.filename.startswith("/") or "\\" in member.filename or "\0" in member.filename:
        raise fail(f"{path}, {member.filename}", "a name outside the store", "files within it", "Zip the store again.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise fail(f"{path}, {member.filename}", "a link", "files", "Zip the store again.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise fail(f"{path}, {member.filename}", "another compression", "stored or deflated", "Zip the store again.")
