"""Fingerprints of traced functions: equal only where the same program would be compiled.

A fingerprint is a digest of every equation of a jaxpr (primitives, parameters, literals, types, nested jaxprs; names of
variables and functions do not enter) and the objects in it that compare by equality or identity. What an object of an
unknown kind means is not guessed: it counts as itself, and the fingerprint is `private` to the target it was made for.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import struct
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, Literal, Primitive
from jax.sharding import Mesh

RULES = {"custom_jvp_call": {"jvp_jaxpr_fun"}, "custom_vjp_call": {"fwd_jaxpr_thunk", "bwd", "out_trees"}}
SIMPLE = (type(None), bool, int, str, bytes, type(...))


@dataclass(frozen=True)
class Fingerprint:
    """What a traced function or a static structure is: equal fingerprints, equal programs.

    Of a `private` one equality says so only among traces of one target: it has callbacks, or objects whose meaning is
    unknown. `rules` says that there are custom derivative rules, of which the function itself shows nothing.
    """

    digest: str
    objects: tuple = ()
    private: bool = False
    rules: bool = False

    def joined(self, *others: Fingerprint) -> Fingerprint:
        """One fingerprint of several."""
        all_of = (self, *others)
        digest = hashlib.sha256(" ".join(f.digest for f in all_of).encode()).hexdigest()
        objects = tuple(f.objects for f in all_of)
        return Fingerprint(digest, objects, any(f.private for f in all_of), any(f.rules for f in all_of))


class Same:
    """An object that equals itself alone, whatever its `__eq__` says."""

    def __init__(self, of: Any):
        self.of = of

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.of is self.of

    def __hash__(self) -> int:
        return id(self.of)


def of_jaxpr(closed: Any) -> Fingerprint:
    """Of a traced function; arrays that it captured are arguments, so that their types count and not their values."""
    reader = Reader()
    reader.jaxpr(closed.jaxpr)
    return reader.fingerprint()


def of_density(call: Callable, closed: Any, arguments: tuple) -> Fingerprint:
    """Of a traced log density `call(arrays, position, data)`, and of its gradient where custom rules say what that is.

    Arrays that a rule captured are constants of the program, so that there the values count.
    """
    own = of_jaxpr(closed)
    if not own.rules or own.private:
        return own
    reader = Reader()
    try:
        reader.closed(jax.make_jaxpr(jax.grad(call, 1))(*arguments))
    except Exception:  # the rules can't be seen, and are trusted within one target alone
        return dataclasses.replace(own, private=True)
    return own.joined(reader.fingerprint())


def of_static(value: Any) -> Fingerprint:
    """Of what is static in a program: the structure of a kernel, names, options.

    Private where it holds a class or a function from outside this package, which may do what the next trace can't see.
    """
    reader = Reader()
    reader.value(value)
    return reader.fingerprint()


@dataclass
class Reader:
    """Feeds what it reads to a digest, each part with its type and length, so that no two read alike."""

    hash: Any = field(default_factory=hashlib.sha256)
    seen: dict = field(default_factory=dict)
    objects: list = field(default_factory=list)
    private: bool = False
    rules: bool = False
    ignored: tuple[str, ...] = ("name",)  # parameters: that of a jitted function

    def fingerprint(self) -> Fingerprint:
        """What was read."""
        return Fingerprint(self.hash.hexdigest(), tuple(self.objects), self.private, self.rules)

    def put(self, tag: str, raw: bytes = b"") -> None:
        """A part, with its kind."""
        self.hash.update(f"{tag}:{len(raw)};".encode())
        self.hash.update(raw)

    def intern(self, key: Any, held: Any) -> None:
        """An object by its place among those seen, which are compared one by one."""
        if key not in self.seen:
            self.seen[key] = len(self.objects)
            self.objects.append(held)
        self.put("object", str(self.seen[key]).encode())

    def identity(self, x: Any, private: bool = True) -> None:
        """An object that is like no other."""
        self.private |= private
        same = Same(x)
        self.intern(same, same)

    # --- traced functions ----------------------------------------------------------------------------------

    def jaxpr(self, jaxpr: Any) -> None:
        """Its equations, variables by the order in which they appear."""
        numbers: dict = {}
        renamed: dict = {}

        def variable(v: Any) -> None:
            v = v if isinstance(v, Literal) else renamed.get(v, v)
            if isinstance(v, Literal):
                self.put("literal")
                self.value(v.val)
            else:
                self.put("variable", str(numbers.setdefault(v, len(numbers))).encode())
            self.value(v.aval)

        def variables(tag: str, these: Any) -> None:
            self.put(tag, str(len(these)).encode())
            for v in these:
                variable(v)

        variables("constants", jaxpr.constvars)
        variables("arguments", jaxpr.invars)
        for equation in jaxpr.eqns:
            if self.only_renames(equation):
                (v,), (made,) = equation.invars, equation.outvars
                renamed[made] = v if isinstance(v, Literal) else renamed.get(v, v)
                continue
            self.identity(equation.primitive, private=False)
            variables("in", equation.invars)
            variables("out", equation.outvars)
            self.parameters(equation.primitive.name, equation.params)
            self.value(equation.ctx)
        variables("results", jaxpr.outvars)

    def only_renames(self, equation: Any) -> bool:
        """Whether an equation counts for nothing."""
        return False

    def parameters(self, primitive: str, parameters: Mapping) -> None:
        """What an equation says beside its variables."""
        unseen = RULES.get(primitive, set())
        if unseen:
            self.rules = True
            self.private |= bool(parameters.get("symbolic_zeros"))
        for name in sorted(set(parameters) - unseen):
            self.put("parameter", name.encode())
            if name not in self.ignored:
                self.value(parameters[name])

    # --- values --------------------------------------------------------------------------------------------

    def value(self, x: Any) -> None:
        """Anything that a parameter may be."""
        kind = type(x)
        if kind in SIMPLE:
            self.put(kind.__name__, repr(x).encode())
        elif kind in (float, complex):
            self.put(kind.__name__, struct.pack("<2d", complex(x).real, complex(x).imag))
        elif isinstance(x, int | float | complex) and kind.__module__ == "jax._src.literals":
            self.literal(x)
        elif isinstance(x, Jaxpr):
            self.closed(x)
        elif isinstance(x, np.ndarray | np.generic | jax.Array):
            self.array(x)
        elif isinstance(x, tuple | list | frozenset | set):
            self.collection(x)
        elif isinstance(x, Mapping) and kind.__module__.partition(".")[0] in ("builtins", "types", "jax"):
            self.put("mapping", str(len(x)).encode())
            for pair in x.items():
                self.collection(pair)
        elif isinstance(x, enum.Enum):
            self.identity(x, private=False)
        elif isinstance(x, jax.tree_util.PyTreeDef):
            self.structure(x)
        elif isinstance(x, type):
            self.identity(x, private=not _ours(x.__module__))
        elif isinstance(x, Mesh) and x.empty:  # callable, and in every function that is compiled by itself
            self.put("no mesh")
        elif isinstance(x, np.dtype):
            self.put("dtype", str(x).encode() + repr(x.descr).encode())
        else:
            self.other(x)

    def literal(self, x: Any) -> None:
        """A number with a type; by itself it would equal others: 0.0 and -0.0, 1 of any type."""
        self.put(type(x).__name__, str(x.dtype).encode())
        base: Any = next(kind for kind in (int, float, complex) if isinstance(x, kind))
        self.value(base(x))

    def other(self, x: Any) -> None:
        """An object: of ours by its parts, one of JAX's by its own equality, any other by what it is."""
        kind = type(x)
        if isinstance(x, functools.partial):
            self.put("partial")
            self.value((x.func, x.args, x.keywords))
        elif isinstance(x, types.MethodType):
            self.put("method")
            self.identity(x.__func__)
            self.identity(x.__self__)
        elif hasattr(x, "callback_func"):  # what JAX keeps of a host callback
            self.put("callback")
            self.value((x.callback_func, getattr(x, "in_tree", None)))
            self.private = True
        elif _ours(kind.__module__, jax_too=False) and not callable(x) and hasattr(x, "__dict__"):
            self.value(kind)
            self.value(dict(sorted(vars(x).items())))
        elif _ours(kind.__module__) and not callable(x) and kind.__hash__ is not None and not isinstance(x, Primitive):
            self.value(kind)
            self.intern((kind, x), x)
        else:
            self.identity(x)

    def closed(self, x: Any) -> None:
        """A nested function, with the values of what it captured."""
        self.put("jaxpr")
        self.value(list(getattr(x, "consts", ())))
        self.jaxpr(getattr(x, "jaxpr", x))

    def array(self, x: Any) -> None:
        """Values, with their type."""
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):  # random keys
            self.value(str(x.dtype))
            x = jax.random.key_data(x)
        self.put(f"array {x.dtype} {x.shape} {getattr(x, 'weak_type', False)}", np.asarray(x).tobytes())

    def collection(self, x: Any) -> None:
        """A tuple, a list or a set, with its kind."""
        self.value(type(x)) if type(x).__module__ != "builtins" else self.put(type(x).__name__)
        self.put("items", str(len(x)).encode())
        for each in sorted(x, key=repr) if isinstance(x, frozenset | set) else x:
            self.value(each)

    def structure(self, x: Any) -> None:
        """A pytree's structure, its static parts by their own values."""
        node = x.node_data()
        self.put("leaf" if node is None and x.num_nodes == 1 and x.num_leaves == 1 else "node")
        if node is not None:
            kind, static = node
            self.value(kind)
            self.value(static)
        children = x.children()
        self.put("children", str(len(children)).encode())
        for child in children:
            self.structure(child)


def _ours(module: str, jax_too: bool = True) -> bool:
    """Whether a module is of this package, of Python or NumPy, or of JAX."""
    return module.partition(".")[0] in (("mcmc", "jax", "jaxlib", "builtins", "numpy") if jax_too else ("mcmc",))
