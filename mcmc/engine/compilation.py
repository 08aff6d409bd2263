"""Compiling our programs through JAX's persistent cache, leaving JAX's settings as they were."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import jax

SWITCH = "MCMC_COMPILATION_CACHE"


def cache_folder() -> str | None:
    """Where compiled programs are kept: the user's JAX folder, ours in the user's cache, or None if switched off.

    The environment variable MCMC_COMPILATION_CACHE names another folder, or is `off`.
    """
    chosen = os.environ.get(SWITCH, "")
    if chosen.lower() in ("off", "0", "false", "no"):
        return None
    if jax.config.jax_compilation_cache_dir:
        return jax.config.jax_compilation_cache_dir
    if chosen:
        return chosen
    from platformdirs import user_cache_path

    return str(user_cache_path("mcmc") / "programs")


@contextmanager
def persistent_cache() -> Iterator[None]:
    """Within, everything that compiles is kept in `cache_folder()`, however quick it was to compile."""
    folder = cache_folder()
    if folder is None or not _usable(folder):
        yield
        return
    own = folder != jax.config.jax_compilation_cache_dir
    wanted = {
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": 0,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    _set(wanted, own)
    try:
        yield
    finally:
        _set(before, own)


def _usable(folder: str) -> bool:
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _set(settings: dict[str, Any], reset: bool) -> None:
    from jax.experimental.compilation_cache import compilation_cache

    for name, value in settings.items():
        jax.config.update(name, value)
    if reset:
        compilation_cache.reset_cache()


class Place(Protocol):
    """Where an executable is kept that is found before its program is traced."""

    def load(self) -> Any:
        """The executable, or None."""

    def save(self, program: Any) -> None:
        """Keep one that was compiled in this process."""


def compile_programs(
    function: Any,
    arguments: list[tuple],
    donate: tuple[int, ...] = (),
    place: Place | None = None,
    options: dict[str, Any] | None = None,
) -> tuple[list, float]:
    """Compile for each of these arguments, some of them given away; the executables and the seconds it took.

    One that has a place is loaded from there, or compiled and kept there. `options` are XLA's; an XLA that does not
    know them goes without.
    """
    start = time.perf_counter()
    _import_ahead()
    with no_garbage_collection():
        if place:
            programs = _kept(function, arguments[0], donate, place)
        else:
            programs = _compiled(function, arguments, donate, options)
    return programs, time.perf_counter() - start


def _kept(function: Any, args: tuple, donate: tuple[int, ...], place: Place) -> list:
    found = place.load()
    if found is None:
        with _no_cache:
            found = jax.jit(function, donate_argnums=donate).lower(*args).compile()
        place.save(found)
    return [found]


def _compiled(
    function: Any, arguments: list[tuple], donate: tuple[int, ...], options: dict[str, Any] | None = None
) -> list:
    with persistent_cache():
        lowered = [jax.jit(function, donate_argnums=donate).lower(*args) for args in arguments]
        if len(lowered) == 1:
            return [_with_options(lowered[0], options)]
        with ThreadPoolExecutor(len(lowered)) as pool:
            return list(pool.map(lambda program: _with_options(program, options), lowered))


def _with_options(program: Any, options: dict[str, Any] | None) -> Any:
    try:
        return program.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if not options or "No such compile option" not in str(error):
            raise
        return program.compile()


class _Off:
    """Something that is off while anyone needs it so: counted, because threads hold it at overlapping times.

    `off()` switches it off and gives what switches it back.
    """

    def __init__(self, off: Callable[[], Callable[[], None]]):
        self.off, self.lock, self.holders, self.back = off, threading.Lock(), 0, off

    def __enter__(self) -> None:
        with self.lock:
            if not self.holders:
                self.back = self.off()
            self.holders += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.holders -= 1
            if not self.holders:
                self.back()


def _collection_off() -> Callable[[], None]:
    enabled = gc.isenabled()
    gc.disable()
    return gc.enable if enabled else gc.disable


def _cache_off() -> Callable[[], None]:
    """JAX's cache off: what is read from there can't be written again (it fails where it is used)."""
    before = jax.config.jax_enable_compilation_cache
    _set({"jax_enable_compilation_cache": False}, reset=True)
    return lambda: _set({"jax_enable_compilation_cache": before}, reset=True)


_no_collection, _no_cache = _Off(_collection_off), _Off(_cache_off)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Tracing and importing make very many objects that live on; walking through them again takes a third of it."""
    with _no_collection:
        yield


def compile_program(function: Any, *args: Any) -> tuple[Any, float]:
    """Compile for arguments like these; the executable and the seconds it took."""
    programs, seconds = compile_programs(function, [args])
    return programs[0], seconds


def _import_ahead() -> None:
    """Import xarray, which the result needs, in a thread while XLA compiles without the interpreter's lock."""
    if "xarray" not in sys.modules:
        threading.Thread(target=_import_xarray, name="mcmc-import", daemon=True).start()


@no_garbage_collection()
def _import_xarray() -> None:
    importlib.import_module("xarray")
