"""Fingerprints that mean the same in every process: each object in one is named by what it is, or none is given.

In a process objects are compared; between processes there are only names. A name is given to what can be read to the
bottom: numbers, strings, enumerations, primitives that JAX lists, classes that are found under their own name, and
JAX's small records of these. Anything else has no name, and a program that depends on it stays in its process.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import struct
import sys
import types
from typing import Any

import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.sharding import AbstractMesh, Mesh, NamedSharding

from mcmc.target.fingerprint import SIMPLE, Fingerprint, Same

NUMBERS = (int, float, complex)
BUILT_IN = (types.NoneType, types.EllipsisType)


class Unnamed(TypeError):
    """An object that has no name outside its process."""


def portable(*fingerprints: Fingerprint) -> str | None:
    """A digest of these that holds in every process, or None where there is none."""
    if any(each.private for each in fingerprints):
        return None
    names = _Names()
    try:
        for each in fingerprints:
            names.put("fingerprint", each.digest.encode())
            names.name(each.objects)
    except Unnamed:
        return None
    return names.hash.hexdigest()


class _Names:
    """Feeds names to a digest, each part with its type and length, so that no two read alike."""

    def __init__(self) -> None:
        self.hash, self.open = hashlib.sha256(), []

    def put(self, tag: str, raw: bytes = b"") -> None:
        self.hash.update(f"{tag}:{len(raw)};".encode())
        self.hash.update(raw)

    def name(self, x: Any) -> None:
        kind = type(x)
        if kind in SIMPLE:
            self.put(kind.__name__, repr(x).encode())
        elif kind in NUMBERS:
            self.put(kind.__name__, struct.pack("<2d", complex(x).real, complex(x).imag))
        elif kind in (tuple, list):
            self.put(kind.__name__, str(len(x)).encode())
            for each in x:
                self.name(each)
        elif kind is dict:
            self.name(list(x.items()))
        elif kind in (frozenset, set):
            self.put(kind.__name__, repr(sorted(_digest(each) for each in x)).encode())
        elif kind is Same:
            self.name(x.of)
        elif isinstance(x, np.dtype):
            self.put("dtype", f"{x} {x.descr!r}".encode())
        elif kind is np.ndarray or isinstance(x, np.generic):
            self.array(x)
        elif isinstance(x, Primitive):
            self.put("primitive", _primitive(x).encode())
        elif isinstance(x, type):
            self.put("class", qualified(x).encode())
        elif isinstance(x, enum.Enum):
            self.put("member", f"{qualified(kind)}.{x.name}".encode())
        else:
            self.record(x)

    def array(self, x: Any) -> None:
        if x.dtype == object:
            self.put("objects", str(x.shape).encode())
            self.name(x.ravel().tolist())
        else:
            self.put(f"array {x.dtype} {x.shape}", x.tobytes())

    def record(self, x: Any) -> None:
        """An object of a class of JAX's own, by all that it holds."""
        kind = type(x)
        if kind is NamedSharding:
            self.put("sharding", _unsharded(x).encode())
            return
        if kind in (Mesh, AbstractMesh) and x.empty:
            self.put("mesh", kind.__name__.encode())
            return
        if not qualified(kind).startswith("jax.") or any(id(x) == each for each in self.open):
            raise Unnamed(kind)
        number: Any = next((base for base in NUMBERS if isinstance(x, base)), None)
        state = _state(x)
        self.put("record", qualified(kind).encode())
        if number:
            self.put("number", number.__repr__(x).encode())
        if not state and not number:
            self.put("constant", _constant(x).encode())
        self.open.append(id(x))
        for part in sorted(state):
            self.put("part", part.encode())
            self.name(state[part])
        self.open.pop()


def _digest(x: Any) -> str:
    names = _Names()
    names.name(x)
    return names.hash.hexdigest()


def qualified(kind: type) -> str:
    """A class by the name under which it is found in its module, one of this package, JAX, NumPy or Python."""
    if kind in BUILT_IN:
        return kind.__name__
    found: Any = sys.modules.get(kind.__module__)
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not kind or kind.__module__.partition(".")[0] not in ("mcmc", "jax", "jaxlib", "numpy", "builtins"):
        raise Unnamed(kind)
    return f"{kind.__module__}.{kind.__qualname__}"


@functools.cache
def _primitives() -> dict[int, str]:
    """Those of JAX itself, by the names under which its modules have them."""
    found: dict[int, str] = {}
    for module, loaded in sorted(sys.modules.items()):
        if module.startswith("jax._src."):
            for name, x in list(vars(loaded).items()):
                if isinstance(x, Primitive):
                    found.setdefault(id(x), f"{module}.{name}")
    return found


def _primitive(x: Primitive) -> str:
    name = _primitives().get(id(x))
    if name is None:
        raise Unnamed(x.name)
    return f"{name} {x.name}"


def _unsharded(x: NamedSharding) -> str:
    """What the type of an array says that is on no mesh."""
    if not isinstance(x.mesh, AbstractMesh) or not x.mesh.empty or any(part is not None for part in x.spec):
        raise Unnamed(x)
    return f"{x!r} {x.memory_kind}"


def _state(x: Any) -> dict[str, Any]:
    """All that an object holds; raises where a base class may hold what can't be read."""
    state = dict(vars(x)) if hasattr(x, "__dict__") else {}
    for base in type(x).__mro__[:-1]:
        if base in NUMBERS:
            continue
        if not base.__module__.startswith("jax.") or base.__flags__ & (1 << 8):  # of C++, or a built-in container
            raise Unnamed(type(x))
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in ("__weakref__", "__dict__") and hasattr(x, slot):
                state[slot] = getattr(x, slot)
    if isinstance(x, ShapedArray):
        state.pop("_stripped_weak_type", None)
    derived = [name for name in state if isinstance(getattr(type(x), name, None), functools.cached_property)]
    return {name: value for name, value in state.items() if name not in derived}


def _constant(x: Any) -> str:
    """An object that holds nothing, by the name of the module's constant that it is."""
    names = [name for name, value in vars(sys.modules[type(x).__module__]).items() if value is x]
    if not names:
        raise Unnamed(x)
    return min(names)
