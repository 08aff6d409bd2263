"""A target's data: any pytree of arrays; lists, data frames and labelled arrays become arrays and dicts of columns."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from io import IOBase
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.tree_util import keystr, tree_map_with_path

from mcmc.errors import WithPage, got

MOST_NAMED = 3  # places of a value that a message names
NUMBERS = "biufc"
ITERABLES = (Iterator, Set, KeysView, ValuesView, ItemsView, range)
"""What JAX takes for a leaf of a pytree with a warning, and will refuse."""


class DataTypeError(WithPage, TypeError):
    """A value in `data=` of a type that is no array of numbers, with what to pass."""

    code = "data"


class DataValueError(WithPage, ValueError):
    """An array in `data=` that a run would misread: masked, ragged, or too large for its precision."""

    code = "data"


def as_data(data: Any) -> Any:
    """A pytree of arrays. TypeError or ValueError for what has no plain meaning as one, with what to pass."""
    return None if data is None else _converted("data", data)


def _converted(name: str, data: Any) -> Any:
    taken = tree_map_with_path(lambda path, x: _leaf(name + keystr(path), x), data, is_leaf=_is_leaf)
    return {key: taken[key] for key in data} if type(data) is dict else taken  # a tree map sorts the names


def _is_leaf(x: Any) -> bool:
    known = x is None or _library(x) in ("pandas", "polars", "xarray") or isinstance(x, ITERABLES)
    return known or (isinstance(x, list) and _plain(x))


def _library(x: Any) -> str:
    return type(x).__module__.partition(".")[0]


def _plain(x: Any) -> bool:
    """Whether a list holds, at any depth, no arrays: numbers, and what is an error."""
    if isinstance(x, list):
        return all(map(_plain, x))
    return x is None or isinstance(x, str | bool | int | float | complex | np.generic)


def _leaf(name: str, x: Any) -> Any:
    if isinstance(x, int) and not np.iinfo(np.int64).min <= x <= np.iinfo(np.uint64).max:
        raise DataValueError(got(name, x, "an integer of 64 bits", "Give a float, or count from another origin."))
    if isinstance(x, jax.Array | Tracer | bool | int | float | complex):
        return x
    if x is None:
        raise DataTypeError(got(name, None, "an array of numbers", "Leave it out where there is none."))
    if isinstance(x, np.ma.MaskedArray):
        return _unmasked(name, x)
    if isinstance(x, list):
        return _of_list(name, x)
    if _library(x) in ("pandas", "polars", "xarray"):
        return _of_frame(name, x)
    array = x if isinstance(x, np.ndarray) else np.asarray(x)
    if array.dtype.kind not in NUMBERS:
        raise DataTypeError(got(name, x, "an array of numbers, or dicts and lists of them", _what_to_pass(name, x)))
    return array if isinstance(x, range) else x


def _what_to_pass(name: str, x: Any) -> str:
    """What to do with a value that is no array."""
    if isinstance(x, Iterator) and not isinstance(x, IOBase):
        return f"It gives its values once: keep them in an array, {name.partition('[')[0]}=np.array(list(values))."
    if isinstance(x, Set | KeysView | ValuesView | ItemsView):
        return "Make it an array whose order you know: np.array(sorted(values)), or np.array(list(values))."
    if callable(x):
        return "Pass what it returns, or call it in the function itself."
    if hasattr(x, "toarray"):
        return "Pass x.toarray(), or the rows, columns and values of a sparse matrix as arrays of their own."
    fields = getattr(getattr(x, "dtype", None), "names", None)
    if fields:
        return f"Pass its fields as a dict: {{name: x[name] for name in {fields}}}."
    if isinstance(x, str | Path | IOBase):
        return "Read the file first, as with np.loadtxt or pandas.read_csv, or encode labels as integers."
    return "Encode labels as integers; keep names and settings outside data, in the function."


def _unmasked(name: str, x: np.ma.MaskedArray) -> np.ndarray:
    mask = np.ma.getmaskarray(x)
    if mask.any():
        shown = f"an array in which {int(mask.sum())} of {mask.size} values are masked"
        remedy = (
            "Pass y.compressed(), or y.filled(0.0) and the mask beside it, and write jnp.where(data['seen'], term, 0.0)"
        )
        raise DataValueError(
            got(name, shown, "an array without a mask: JAX has none, and would count them", f"{remedy}.")
        )
    return x.data


def _of_list(name: str, x: list) -> np.ndarray:
    try:
        array = np.asarray(x)
    except ValueError:  # ragged
        remedy = "Pad the rows and pass a mask beside them, or pass all values in one array with a group number each."
        raise DataValueError(got(name, x, "a list of rows of one length", remedy)) from None
    if array.dtype.kind not in NUMBERS:
        what = "None" if array.dtype == object else "text"
        remedy = "Leave missing values out." if what == "None" else "Encode labels as integers."
        raise DataTypeError(got(name, x, f"a list of numbers, without {what}", remedy))
    return array


def _of_frame(name: str, x: Any) -> Any:
    """The values of a data frame or dataset, by column; of a series or labelled array."""
    kind = type(x).__name__
    if kind == "DataTree":
        remedy = "Pass the arrays: data={name: tree[group][name].values}."
        raise DataTypeError(got(name, "an xarray.DataTree", "an array, or a dict of arrays", remedy))
    if kind == "Dataset":
        return {str(key): _column(f"{name}[{key!r}]", x[key]) for key in x.data_vars}
    if kind == "DataFrame":
        return {str(key): _column(f"{name}[{key!r}]", x[key]) for key in x.columns}
    if kind in ("Series", "Index", "DataArray"):
        return _column(name, x)
    remedy = "Pass its values as a NumPy array, or a dict of them."
    raise DataTypeError(got(name, f"a {_library(x)} {kind}", "an array, or a dict of arrays", remedy))


def _column(name: str, x: Any) -> np.ndarray:
    array = np.asarray(x.values if _library(x) == "xarray" else x.to_numpy())
    if array.dtype.kind not in NUMBERS:
        remedy = "Leave the column out, or encode it as integers (in pandas: .astype('category').cat.codes)."
        raise DataTypeError(got(name, f"values of type {array.dtype}", "numbers", remedy))
    return array


# --- in a run -----------------------------------------------------------------------------------------------


def as_arrays(data: Any, dtype: Any) -> Any:
    """The data on the device, floats of 64 bits as `dtype`; ValueError for integers that its mode can't hold."""
    arrays = tree_map_with_path(lambda path, x: _as_array("data" + keystr(path), x, dtype), data)
    return {name: arrays[name] for name in data} if type(data) is dict else arrays  # a tree map sorts the names


def _as_array(name: str, x: Any, dtype: Any) -> jax.Array:
    if isinstance(x, Tracer) or (isinstance(x, jax.Array) and x.dtype not in (np.float64, np.int64, np.uint64)):
        return x
    x = np.asarray(x)
    if dtype == np.float32 and x.dtype in (np.int64, np.uint64) and x.size:
        low, high = int(x.min()), int(x.max())
        most = np.iinfo(np.int32 if x.dtype == np.int64 else np.uint32)
        if low < most.min or high > most.max:
            worst = low if low < most.min else high
            remedy = 'Pass dtype="float64" to mcmc.sample, or give floats, or count from another origin.'
            expected = f"integers from {most.min} to {most.max} in a float32 run"
            raise DataValueError(got(name, worst, expected, remedy))
    return jax.device_put(x.astype(dtype) if x.dtype == np.float64 else x)


def not_finite(data: Any, captured: Sequence = ()) -> str:
    """Which arrays of the data, or of those that a function uses from outside, have NaN, or else ±inf, and where, in
    words; nothing where none has.
    """
    arrays = [*_floats(data), *(("an array of shape " + str(np.shape(x)), x) for _, x in _floats(list(captured)))]
    for kind, bad in (("NaN", np.isnan), ("inf", np.isinf)):
        found = [f"{name} is {kind} at {_places(bad(x))}" for name, x in arrays if bad(x).any()]
        if found:
            return "; ".join(found[:MOST_NAMED])
    return ""


def _floats(data: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, x in jax.tree_util.tree_flatten_with_path(data)[0]:
        if not isinstance(x, Tracer) and jax.numpy.issubdtype(getattr(x, "dtype", type(x)), np.floating):
            yield "data" + keystr(path), np.asarray(x)


def _places(bad: np.ndarray) -> str:
    if not bad.ndim:
        return "its one value"
    where = [str(list(map(int, at))) for at in np.argwhere(bad)]
    return ", ".join(where[:MOST_NAMED]) + (f" and {len(where) - MOST_NAMED} more" if len(where) > MOST_NAMED else "")


def names_in(data: Any) -> tuple[str, ...]:
    """The names of a dict of data."""
    return tuple(map(str, data)) if isinstance(data, Mapping) else ()
