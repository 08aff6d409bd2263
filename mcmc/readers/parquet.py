"""Parquet files, in long form or as wide tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.errors import how_to_install
from mcmc.readers import long_form, wide
from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.text import BLOCK

if TYPE_CHECKING:
    import xarray


def read(paths: list[Path], limits: Limits, chains: int | None = None) -> xarray.DataTree:
    """Read one Parquet file, in long form or a wide table; needs pyarrow."""
    (path,) = paths
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        remedy = f"Install it: {how_to_install('parquet')}."
        raise fail(path, "no pyarrow", "pyarrow, which reads Parquet", remedy) from None
    with only_read_errors(path, "Parquet file"):
        schema = parquet.read_schema(path)
        long = {"chain", "draw"} <= set(long_form.renamed(list(schema.names)))
        names = (
            long_form.long_header(list(schema.names), path) if long else long_form.wide_header(list(schema.names), path)
        )
        texts = [field.name for field in schema if str(field.type) in ("string", "large_string")]
    # texts as codes, because a long one may stand for many cells
    with only_read_errors(path, "Parquet file"), parquet.ParquetFile(path, read_dictionary=texts) as file:
        limits.check("variables", len(names), path)
        limits.check("elements", file.metadata.num_rows * len(names), path)
        parts, rows = [], 0
        for batch in file.iter_batches(BLOCK // 16):
            rows += batch.num_rows
            limits.check("elements", rows * len(names), path)
            parts.append([_values(column, name, path) for column, name in zip(batch.columns, names, strict=True)])
    if not rows:
        raise fail(path, "no rows", "rows of draws", "Sample first.")
    columns = {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(names)}
    if long:
        return long_form.tree_from(columns, path, limits)
    return wide.tree_from(columns, path, limits, chains)


def _values(column: Any, name: str, path: Path) -> np.ndarray:
    """A Parquet column as NumPy; one that is not of numbers is a ReadError, save chain and parameter."""
    import pyarrow

    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        if max(map(len, map(str, column.dictionary.to_pylist())), default=0) > long_form.LONGEST:
            raise fail(f"{path}, {name}", "very long texts", f"at most {long_form.LONGEST} characters", "Shorten them.")
        column, kind = column.dictionary_decode(), kind.value_type
    number = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind) or pyarrow.types.is_boolean(kind)
    if not number and name not in ("chain", "parameter", ""):
        raise fail(f"{path}, {name}", f"type {kind}", "numbers", "Leave the column out, or encode it.")
    if column.null_count and name in ("chain", "draw", "parameter"):
        raise fail(f"{path}, {name}", f"{column.null_count} empty cells", "a value in each row", "Fill or drop them.")
    values = column.to_numpy(zero_copy_only=False)
    return values if number else values.astype(object)
