"""The data of many data sets: a tree of arrays with a leading axis, or one after the other in any shapes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.tree_util import keystr

from mcmc.each.together import Together, by_shape
from mcmc.errors import WrongValue
from mcmc.target.data import as_arrays, as_data
from mcmc.target.target import Target

DATASET = "dataset"
ROW = "Give each array a first axis of data sets, or a list with the data of each."


@dataclass(frozen=True)
class ManyData:
    """The data sets: their leaves (set, ...), or, where they came one by one, a list of leaves for each."""

    structure: Any
    leaves: list
    stacked: bool
    count: int

    def tree(self, i: int) -> Any:
        """The data of one of them."""
        leaves = [x[i] for x in self.leaves] if self.stacked else self.leaves[i]
        return jax.tree.unflatten(self.structure, leaves)

    def groups(self, dtype: Any) -> list[np.ndarray]:
        """Which data sets have equal shapes and types."""
        if self.stacked:
            return [np.arange(self.count)]
        return [np.array(members) for members in by_shape(list(map(self.tree, range(self.count))), dtype).values()]

    def arrays(self, shared: Together, members: np.ndarray) -> list[np.ndarray]:
        """The leaves of these, which have equal shapes, as arrays (set, ...) in the types of the program."""
        kinds = [np.asarray(x).dtype for x in shared.traced.arrays[: shared.leaves]]
        if self.stacked:
            return [np.asarray(x[members]).astype(kind) for x, kind in zip(self.leaves, kinds, strict=True)]
        each = [jax.tree.leaves(as_arrays(self.tree(int(i)), shared.dtype)) for i in members]
        return shared.stacked(each)

    @property
    def fingerprint(self) -> str:
        """A hash of all values."""
        found = hashlib.sha256(str(self.structure).encode())
        for x in self.leaves if self.stacked else [x for each in self.leaves for x in each]:
            x = np.ascontiguousarray(x)
            found.update(f"{x.shape}{x.dtype}".encode())
            found.update(x.data)
        return found.hexdigest()


def many_data(target: Any, data: Any) -> ManyData:
    """The data sets, checked; TypeError or ValueError for what is not in the form of the target's data."""
    if not isinstance(target, Target) or target.data is None:
        remedy = "Write log_density(p, data) and pass the data of one as data=."
        raise WrongValue("target", target, "a Target with data=", remedy)
    _check_names(target)
    structure, like = jax.tree.structure(target.data), [np.ndim(x) for x in jax.tree.leaves(target.data)]
    if isinstance(data, Iterable) and not _tree_like(data):
        listed = list(data)
        tree = _as_tree(listed, structure) if isinstance(data, list | tuple) else None
        if isinstance(data, tuple) and tree is None:
            tree = _as_tree(data, structure)
        return _one_by_one(listed, structure, like) if tree is None else _stacked(tree, structure, like)
    return _stacked(as_data(data), structure, like)


def _check_names(target: Target) -> None:
    """Raise ValueError where something has the name of the axis of data sets."""
    data = target.data if isinstance(target.data, Mapping) else {}
    dims = {dim for labels in target.dims.values() for dim in labels}
    for argument, names in (("parameters", target.names), ("dims", dims), ("data", data)):
        check_free(argument, names)


def check_free(argument: str, names: Iterable[Any]) -> None:
    """Raise ValueError where one of these names is that of the axis of data sets."""
    if DATASET in names:
        raise WrongValue(argument, DATASET, "another name", "Rename it: it is the dimension of data sets.")


def _tree_like(data: Any) -> bool:
    """What has no reading as a sequence of data sets: dictionaries, arrays, tables."""
    return isinstance(data, Mapping) or hasattr(data, "shape") or hasattr(data, "columns") or hasattr(data, "_fields")


def _as_tree(data: Any, structure: Any) -> Any:
    """A list or tuple as one tree of the target's form, or None."""
    try:
        tree = as_data(data)
    except (TypeError, ValueError):  # rows of unequal lengths
        return None
    return tree if jax.tree.structure(tree) == structure else None


def _stacked(tree: Any, structure: Any, like: list[int]) -> ManyData:
    _check_form("data", tree, structure, ROW)
    named = [("data" + keystr(path), np.asarray(x)) for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]]
    for (name, x), axes in zip(named, like, strict=True):
        if x.ndim == 0:
            remedy = "Repeat what all data sets share, as np.broadcast_to does, or let the log density capture it."
            raise WrongValue(name, "a number", "an array whose first axis is that of the data sets", remedy)
        if x.ndim != axes + 1:
            expected = f"{axes + 1} axes: that of the data sets, and {axes} as in the target's data"
            raise WrongValue(name, f"shape {x.shape}", expected, ROW)
    sizes = {name: len(x) for name, x in named}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{name} with {n}" for name, n in sizes.items())
        raise WrongValue("data", shown, "first axes of one length, the number of data sets", ROW)
    count = next(iter(sizes.values()), 0)
    _check_any(count)
    return ManyData(structure, [x for _, x in named], True, count)


def _one_by_one(listed: list, structure: Any, like: list[int]) -> ManyData:
    _check_any(len(listed))
    leaves = []
    for i, one in enumerate(listed):
        tree = as_data(one)
        _check_form(f"data[{i}]", tree, structure, "Give each data set the same names.")
        leaves.append([np.asarray(x) for x in jax.tree.leaves(tree)])
        for x, axes in zip(leaves[-1], like, strict=True):
            if x.ndim != axes:
                remedy = "Give each data set in the form of the target's data."
                raise WrongValue(f"data[{i}]", f"an array of shape {x.shape}", f"{axes} axes", remedy)
    if len({tuple((x.shape, x.dtype) for x in each) for each in leaves}) == 1:
        return ManyData(structure, [np.stack(x) for x in zip(*leaves, strict=True)], True, len(leaves))
    return ManyData(structure, leaves, False, len(leaves))


def _check_form(argument: str, tree: Any, structure: Any, remedy: str) -> None:
    """Raise ValueError where data have other names or another nesting than the target's."""
    if (found := jax.tree.structure(tree)) != structure:
        got, wanted = (str(x).removeprefix("PyTreeDef(").removesuffix(")") for x in (found, structure))
        raise WrongValue(argument, got, f"arrays in the form of the target's data, {wanted}", remedy)


def _check_any(count: int) -> None:
    if not count:
        raise WrongValue("data", "no data sets", "one at least", ROW)
