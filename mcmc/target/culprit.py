"""Which part of a log density, or of its gradient, is not finite at a position: the operation, and the user's line."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from mcmc.user_code import LIBRARIES, OWN

INSIDE = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}
MOST_SHOWN = 3


def culprit(function: Callable, *args: Any) -> str:
    """The first operation that makes what is not finite in a function's result, in words; nothing where none is found.

    The function is evaluated one operation at a time. From the result the search goes back through operands that are
    not finite themselves, of `where` only through what was chosen.
    """
    closed = jax.make_jaxpr(function)(*args)
    walk = Walk()
    try:
        outs = walk.run(closed.jaxpr, closed.consts, jax.tree.leaves(args))
    except Exception:  # it only explains another error
        return ""
    bad = next((key for key in outs if walk.bad(key)), None)
    return "" if bad is None else walk.blame(bad)


class Walk:
    """Every value of a program, numbered, and the operation that made it."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.made: dict[int, tuple[Any, list[int], Any]] = {}
        self.varying: set[int] = set()

    def run(self, jaxpr: Any, consts: Any, args: Any, keys: list[int] | None = None, site: Any = None) -> list[int]:
        """Evaluate; the numbers of its results. `keys` are those of the arguments, where they have some;
        `site` is the call that this is inside.
        """
        env = {v: self._new(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
        if keys is None:
            keys = [self._new(a) for a in args]
            self.varying.update(keys[:1])
        env |= dict(zip(jaxpr.invars, keys, strict=True))

        def key_of(atom: Any) -> int:
            return self._new(atom.val) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            inputs = [key_of(v) for v in eqn.invars]
            inner = eqn.params.get(INSIDE.get(eqn.primitive.name, ""))
            if inner is not None:
                outs = self.run(inner.jaxpr, inner.consts, (), inputs, site or eqn)
            else:
                outs = self._operation(eqn, inputs, site or eqn)
            env |= dict(zip(eqn.outvars, outs, strict=True))
        return [key_of(v) for v in jaxpr.outvars]

    def _operation(self, eqn: Any, inputs: list[int], site: Any) -> list[int]:
        found = eqn.primitive.bind(*(self.values[k] for k in inputs), **eqn.primitive.get_bind_params(eqn.params))
        outs = [self._new(x) for x in (found if eqn.primitive.multiple_results else [found])]
        for key in outs:
            self.made[key] = eqn, inputs, site
        if self.varying & set(inputs):
            self.varying.update(outs)
        return outs

    def _new(self, value: Any) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def bad(self, key: int) -> bool:
        """Whether a value that depends on the position is not finite."""
        x = self.values[key]
        floating = jax.numpy.issubdtype(getattr(x, "dtype", type(x)), np.floating)
        return key in self.varying and floating and not np.isfinite(np.asarray(x)).all()

    def blame(self, key: int) -> str:
        """Go back from a value that is not finite to the operation that made it so of finite ones."""
        while key in self.made:
            eqn, inputs, site = self.made[key]
            operands = self._chosen(inputs) if eqn.primitive.name == "select_n" else inputs
            worse = [k for k in operands if self.bad(k)]
            if not worse:
                return self._told(eqn, site, key)
            key = worse[0]
        return ""

    def _chosen(self, inputs: list[int]) -> list[int]:
        which, *cases = inputs
        chosen = np.asarray(self.values[which]).astype(int)
        bad = [~np.isfinite(np.asarray(self.values[k])) & (chosen == n) for n, k in enumerate(cases)]
        return [k for k, at in zip(cases, bad, strict=True) if at.any()]

    def _told(self, eqn: Any, site: Any, key: int) -> str:
        value = np.asarray(self.values[key])
        bad = ~np.isfinite(value)
        kind, at = value[bad][0], np.argwhere(bad)
        name = {"select_n": "where", "integer_pow": "power"}.get(eqn.primitive.name, eqn.primitive.name)
        places = ", ".join(str(list(map(int, p))) for p in at[:MOST_SHOWN]) if value.ndim else ""
        more = f" and {len(at) - MOST_SHOWN} more" if len(at) > MOST_SHOWN and value.ndim else ""
        where = _line(site)
        return f"{name}{f' in {where}' if where else ''} gives {kind}" + (f" at {places}{more}" if places else "")


def _line(eqn: Any) -> str:
    """The user's line that an operation comes from."""
    traceback = eqn.source_info.traceback
    for frame in traceback.frames if traceback else ():
        if not frame.file_name.startswith((OWN, *LIBRARIES, "<frozen")):
            text = linecache.getline(frame.file_name, frame.line_num).strip()
            return f"{Path(frame.file_name).name}, line {frame.line_num}" + (f" ({text})" if text else "")
    return ""
