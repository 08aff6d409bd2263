"""The arguments of a NumPyro model: arrays by name, which can be exchanged, and the rest, which stays."""

# pyright: reportMissingImports=false
from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.primitives import Messenger

from mcmc.errors import WrongType
from mcmc.models.numpyro_types import NEEDS_NUMBERS, default_number, traced


class Arguments:
    """A model's arguments; while it is read, its arrays go by their places among the leaves.

    `fixed` are the places of arrays that keep the values they had: the model needs them as plain numbers, or a bound
    comes from them. `names` are those of the others' data, `outcomes` the places of what is observed. `narrow` says
    that the model runs in 32 bits only.
    """

    def __init__(self, model: Callable, args: tuple, kwargs: Mapping):
        self.signature = _signature(model)
        try:
            bound = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            remedy = "Pass them as from_numpyro(model, *args, **kwargs)."
            raise WrongType("args", str(error), f"the model's arguments {self.signature}", remedy) from error
        flat, self.structure = jax.tree.flatten_with_path(bound)
        self.leaves = [_copy(leaf) for _, leaf in flat]  # every leaf an object of its own, known by its identity
        self.paths = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in flat]
        self.names = {i: path for i, path in enumerate(self.paths) if _is_array(self.leaves[i])}
        self.fixed: set[int] = set()
        self.outcomes: set[int] = set()
        self.narrow = False

    @property
    def arrays(self) -> dict[str, Any]:
        """All arrays by name."""
        return {n: self.leaves[i] for i, n in self.names.items()}

    @property
    def free(self) -> dict[int, Any]:
        """The arrays that a traced model takes as inputs, by place."""
        return {i: self.leaves[i] for i in self.names if i not in self.fixed}

    def traced(self, function: Callable, *first: Any) -> tuple[Any, dict[int, Any]]:
        """The jaxpr of `function(*first, free arrays)`, and these arrays; those that it needs as numbers get fixed."""
        while True:
            data = self.free
            try:
                made = traced(function, *first, data)
                self.narrow = made.narrow
                return made.closed, data
            except NEEDS_NUMBERS as error:  # JAX says which arguments the missing number depends on
                asked = {int(i) for i in re.findall(r"data\[(\d+)\]", str(error))} & set(data)
                if not (asked or data):
                    raise
                self.fixed |= asked or set(data)

    def at(self, values: Mapping[int, Any]) -> tuple[tuple, dict]:
        """The model's (args, kwargs) with these arrays at their places; the others as they are."""
        leaves = [self._typed(i, values[i]) if i in values else leaf for i, leaf in enumerate(self.leaves)]
        bound = inspect.BoundArguments(self.signature, jax.tree.unflatten(self.structure, leaves))
        return bound.args, bound.kwargs

    def _typed(self, i: int, x: Any) -> Any:
        """An array in the type in which the model was read: integers as they were, numbers in the types of the day."""
        own = self.leaves[i].dtype
        whole = x is not None and jnp.issubdtype(jnp.result_type(x), jnp.integer)
        return default_number(jnp.asarray(x).astype(own) if whole and own.kind in "iu" and own.itemsize < 4 else x)

    def given(self, data: Mapping[str, Any]) -> tuple[tuple, dict]:
        """The model's (args, kwargs) with the data's arrays; None in place of an outcome that is left out."""
        return self.at({i: data.get(self.names[i]) if i in self.outcomes else data[self.names[i]] for i in self.free})


def _signature(model: Callable) -> inspect.Signature:
    """The signature of the function inside a handler, which need not show it."""
    while isinstance(model, Messenger) and callable(model.fn):
        model = model.fn
    return inspect.signature(model)


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray | jax.Array) and getattr(x.dtype, "kind", "") in ("b", "i", "u", "f")


def _copy(x: Any) -> Any:
    """An array as a new object, floats and signed integers of 64 bits; anything else as it is."""
    if not _is_array(x):
        return x
    dtype = (
        np.float64 if x.dtype.kind == "f" else np.int64 if x.dtype.kind == "i" and x.dtype.itemsize == 4 else x.dtype
    )
    return x.astype(dtype, copy=False).view() if isinstance(x, np.ndarray) else jnp.array(x, dtype)
