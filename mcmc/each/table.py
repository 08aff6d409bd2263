"""The data of many data sets from one table: rows that share a label, or a row a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.errors import WrongValue, how_to_install
from mcmc.target.target import Target

if TYPE_CHECKING:
    import pandas

LABEL = "dataset"


def read_table(path: Path) -> pandas.DataFrame:
    """A Parquet or CSV file with a header."""
    import pandas

    if path.suffix == ".csv":
        return pandas.read_csv(path)
    if path.suffix not in (".parquet", ".pq"):
        raise WrongValue("each", str(path), "a .parquet or .csv file", "Write the data as a table of one of these.")
    try:
        return pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(f"Parquet files need pyarrow. Install it: {how_to_install('parquet')}.") from error


def data_of(frame: pandas.DataFrame, target: Target, by: str | None = None) -> tuple[list[Any], np.ndarray]:
    """The data of each data set in the form of the target's, and their labels.

    Columns are named as the target's data. Rows that have the same value in the column `by` (None: `dataset`, if there
    is one) are the rows of one data set's arrays, in the order of the table. Without such a column each row is a data
    set, whose cells are numbers or lists of numbers.
    """
    like = target.data if isinstance(target.data, Mapping) else {_only(frame, by): target.data}
    by = LABEL if by is None and LABEL in frame.columns and LABEL not in like else by
    missing = [name for name in [*like, *([by] if by else [])] if name not in frame.columns]
    if missing:
        expected = f"columns {', '.join(map(str, like))}, named as the target's data"
        raise WrongValue("each", f"no column {', '.join(map(str, missing))}", expected, "Rename the columns.")
    if by is None:
        rows = [{name: _cell(frame[name].iloc[i]) for name in like} for i in range(len(frame))]
        flat = [name for name in like if rows and np.ndim(like[name]) > rows[0][name].ndim]
        if flat:
            shown = f"a number in each row of {flat[0]}, an array in the target's data"
            raise WrongValue("each", shown, "a column that names the data set of each row", "Name it: --by COLUMN.")
        labels = np.arange(len(frame))
    else:
        parts = frame.groupby(by, sort=False)
        labels = np.array([label for label, _ in parts])
        rows = [{name: _column(part[name], like[name], label, name) for name in like} for label, part in parts]
    return (rows if isinstance(target.data, Mapping) else [next(iter(row.values())) for row in rows]), labels


def _only(frame: pandas.DataFrame, by: str | None) -> str:
    """The one column of data of a target whose data are one array."""
    names = [str(name) for name in frame.columns if name not in (by, LABEL)]
    if len(names) != 1:
        raise WrongValue("each", f"columns {names}", "one column of data, as the target has", "Leave out the rest.")
    return names[0]


def _cell(value: Any) -> np.ndarray:
    return np.stack(list(value)) if isinstance(value, list | np.ndarray) and len(value) else np.asarray(value)


def _column(values: Any, like: Any, label: Any, name: str) -> np.ndarray:
    """The rows of one data set; where the target has a number, the one value that they share."""
    array = np.stack([_cell(x) for x in values])
    if np.ndim(like) > 0:
        return array
    if len(np.unique(array)) > 1:
        expected = f"one value of {name}, a number in the target's data"
        raise WrongValue("each", f"{len(np.unique(array))} for data set {label}", expected, "Correct the table.")
    return array[0]


def index_of(labels: np.ndarray) -> np.ndarray:
    """The numbers of data sets with these labels: the labels, where they are numbers, else their order."""
    whole = labels.dtype.kind in "iu" and labels.size and labels.min() >= 0
    return labels.astype(np.int64) if whole else np.arange(len(labels))
