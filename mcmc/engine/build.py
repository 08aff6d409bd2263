"""What machine code depends on besides the program itself: versions, the machine, settings, this package's code."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.backend import get_backend
from jaxlib.version import __version__ as jaxlib_version

from mcmc.engine.program_cache import options
from mcmc.version import __version__

PACKAGE = Path(__file__).parents[1]
FLAGS = ("XLA_", "TF_", "LIBTPU", "NVIDIA_")
OTHERS = frozenset(("jax", "jaxlib", "numpy", *sys.stdlib_module_names)) - {"__main__"}
SIMPLE = (bool, int, float, complex, str, bytes, type(None))


class Patched(TypeError):
    """Code of this package that is not as its files say."""


def build(device: Any, modules: tuple[str, ...]) -> tuple | None:
    """All of it for a device and for what these modules trace, or None where that can't be known.

    JAX's and XLA's settings are those of now.
    """
    flags = tuple(sorted(x for x in os.environ.items() if x[0].startswith(FLAGS)))
    try:
        return _machine(device), _files(), _code(modules), flags, options(), _compile_options()
    except (Patched, AttributeError, ImportError, KeyError, OSError, RuntimeError):
        return None


@functools.cache
def _machine(device: Any) -> tuple:
    """Versions, the device with all its features (of a CPU its instructions), and how many there are."""
    from jaxlib.xla_client import get_topology_for_devices

    topology = hashlib.sha256(get_topology_for_devices([device]).serialize()).hexdigest()
    versions = __version__, jax.__version__, jaxlib_version, np.__version__, sys.version
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    kind = device.platform, device.device_kind, device.id, get_backend(device.platform).platform_version
    return versions, topology, kind, os.cpu_count(), cores, len(jax.local_devices(backend=device.platform))


def _compile_options() -> str:
    """XLA's settings as it has them: the environment may have changed since it read its own."""
    from jaxlib.xla_client import CompileOptions

    return hashlib.sha256(CompileOptions().SerializeAsString()).hexdigest()


@functools.cache
def _files() -> str:
    """The files of this package, by size and time: another edit, another program."""
    return hashlib.sha256(repr(sorted(_sources(str(PACKAGE)))).encode()).hexdigest()


def _sources(folder: str) -> Iterator[tuple]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sources(entry.path)
            elif entry.name.endswith(".py"):
                found = entry.stat()
                yield os.path.relpath(entry.path, PACKAGE), found.st_size, found.st_mtime_ns


def _code(modules: tuple[str, ...]) -> str:
    """Functions, classes and constants of these modules and of those they use, as they are in memory now.

    Raises Patched where one was replaced by another's.
    """
    seen, todo, found = set(), list(modules), []
    while todo:
        name = todo.pop()
        if name in seen or not name.startswith("mcmc."):
            continue
        seen.add(name)
        package = hasattr(sys.modules[name], "__path__")  # has, besides its own, what was imported of it
        for key, value in sorted(vars(sys.modules[name]).items()):
            if key.startswith("__") or (package and isinstance(value, types.ModuleType)):
                continue
            for part in _described(value):
                found.append((name, key, *part))
                todo.append(part[0])
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def _described(value: Any) -> Iterator[tuple]:
    """Where something comes from, and which it is; of functions their code, of a class what it has."""
    value = value.fget if isinstance(value, property) else value
    kind = type(value)
    if _simple(value):
        yield "", _constant(value)
    elif isinstance(value, types.ModuleType):
        yield value.__name__, ""
    elif isinstance(value, types.FunctionType | type) or hasattr(value, "__wrapped__"):
        module = getattr(value, "__module__", None) or "builtins"
        root = module.partition(".")[0]
        if root not in ("mcmc", *OTHERS):
            raise Patched(f"{module}.{value}")
        yield module, getattr(value, "__qualname__", kind.__name__)
        if root == "mcmc":
            yield from _inside(value, module)


def _inside(value: Any, module: str) -> Iterator[tuple]:
    """The code of a function, and of one inside another; what a class has."""
    if isinstance(value, type):
        for name, inner in sorted(vars(value).items()):
            if not (name.startswith("__") and _simple(inner)):
                yield from ((where, f"{name} {what}") for where, what in _described(inner))
    elif isinstance(value, types.FunctionType):
        yield module, f"{_bytecode(value.__code__)} {[_constant(x) for x in value.__defaults__ or () if _simple(x)]}"
    if hasattr(value, "__wrapped__"):
        yield from _described(value.__wrapped__)


def _bytecode(code: types.CodeType) -> tuple:
    """As it is in memory: the files may have changed since."""
    consts = [_bytecode(x) if isinstance(x, types.CodeType) else _constant(x) for x in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, consts


def _simple(x: Any) -> bool:
    return type(x) in SIMPLE or (type(x) in (tuple, frozenset) and all(map(_simple, x)))


def _constant(x: Any) -> str:
    return repr(sorted(map(repr, x)) if type(x) is frozenset else x)
