"""Executables on disk, found before a program is traced: by what it is and by what its machine code depends on.

JAX's persistent cache needs the traced and lowered program to find the compiled one; for a short run that takes longer
than all its draws. Here the key is made of fingerprints that hold in every process. A program without one (host
callbacks, objects of unknown meaning), one for accelerators, several devices or processes is left to JAX's cache.

Files are read by their owner alone: what is in one is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from mcmc.engine.build import build
from mcmc.engine.compilation import cache_folder
from mcmc.target.fingerprint import Fingerprint, Same, of_static
from mcmc.target.portable import portable

MAGIC = b"mcmc executable 1\n"
LAPACK = b"lapack_"
FOLDER, SUFFIX = "executables", ".bin"
MOST_FILES, MOST_BYTES = 1000, 500_000_000


@dataclass(frozen=True)
class Entry:
    """Where a program is kept, and what it takes and gives."""

    path: Path
    key: bytes
    device: Any
    takes: Any
    gives: Any

    def load(self) -> Any:
        """The program, or None where there is none that can be read."""
        payload = read(self.path, self.key)
        if payload is None:
            return None
        from jax.experimental.serialize_executable import deserialize_and_load
        from jaxlib import lapack

        client = self.device.client
        try:
            if LAPACK in payload:  # tracing linear algebra would have loaded it; without it the program crashes
                lapack.prepare_lapack_call("potrf_ffi", "float64")
            return deserialize_and_load(payload, self.takes, self.gives, client, execution_devices=[self.device])
        except Exception:  # of another XLA, or damaged: compiled anew, and written over
            return None

    def save(self, program: Any) -> None:
        """Keep a program that was compiled here; one that XLA can't write, or of another form, is not kept."""
        from jax.experimental.serialize_executable import serialize

        try:
            payload, takes, gives = serialize(program)
        except Exception:  # XLA says so in many ways
            return
        if (takes, gives) == (self.takes, self.gives):
            write(self.path, self.key, payload)


def entry_of(
    parts: tuple[Fingerprint, ...], static: Any, arguments: tuple, gives: Any, modules: tuple[str, ...]
) -> Entry | None:
    """Where the program of these parts and arguments is kept, or None: it can't be known in another process.

    `static` is what else it was built with, `gives` the structure of its results, `modules` those that it is traced by.
    """
    folder = cache_folder()
    leaves, takes = jax.tree.flatten((arguments, {}))
    devices = {device for leaf in leaves if isinstance(leaf, jax.Array) for device in leaf.devices()}
    if folder is None or "://" in folder or len(devices) != 1 or jax.process_count() > 1:
        return None
    device = devices.pop()
    if device.platform != "cpu":
        return None
    shapes = [(str(jax.typeof(leaf)), isinstance(leaf, jax.Array) and leaf.committed) for leaf in leaves]
    known = portable(*parts, of_static((static, shapes, takes, gives)))
    on = known and build(device, (*modules, *modules_of(parts)))
    if not on:
        return None
    key = hashlib.sha256(repr((known, on)).encode())
    return Entry(Path(folder) / FOLDER / (key.hexdigest() + SUFFIX), key.digest(), device, takes, gives)


def modules_of(parts: tuple[Fingerprint, ...]) -> tuple[str, ...]:
    """The modules of the classes in these, which say what is traced."""

    def each(x: Any) -> set[str]:
        if isinstance(x, tuple):
            return set().union(*map(each, x))
        of = x.of if isinstance(x, Same) else x
        return {of.__module__} if isinstance(of, type) else set()

    return tuple(sorted(each(tuple(part.objects for part in parts))))


# --- files ------------------------------------------------------------------------------------------------------


def read(path: Path, key: bytes) -> bytes | None:
    """What was written under a key, if it is whole and nobody else could have written it."""
    try:
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            if not _own(os.fstat(file.fileno())):
                return None
            whole = file.read()
        head = len(MAGIC) + 32
        if whole[:head] != MAGIC + hashlib.sha256(key + whole[head:]).digest():
            return None
        with contextlib.suppress(OSError):  # the latest used are kept longest
            os.utime(path)
        return zlib.decompress(whole[head:])
    except (OSError, zlib.error):
        return None


def write(path: Path, key: bytes, payload: bytes) -> None:
    """Write it whole or not at all, readable by its owner alone; a folder that can't be written to is no error."""
    packed = zlib.compress(payload, 1)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(MAGIC + hashlib.sha256(key + packed).digest() + packed)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        forget(path.parent)
    except OSError:
        return


def forget(folder: Path, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> None:
    """Remove what was used longest ago, above these many files or bytes."""
    with os.scandir(folder) as entries:
        found = sorted(((s.st_mtime, s.st_size, e.path) for e in entries for s in [e.stat()]), reverse=True)
    total = 0
    for n, (_, size, path) in enumerate(found, 1):
        total += size
        if n > most_files or total > most_bytes:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _own(found: os.stat_result) -> bool:
    """Whether a file is this user's, and no other's to write."""
    if not hasattr(os, "geteuid"):  # Windows: the folder is the user's own
        return True
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
