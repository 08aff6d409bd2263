"""Long tables with columns of indices, as tidybayes writes them: `i`, `theta` become `theta[1]`, `theta[2]`, ..."""

from __future__ import annotations

import numpy as np

from mcmc.readers.limits import Limits, fail
from mcmc.readers.text import is_number

FEWEST = 10
"""Draws from which a column that repeats itself in each of them is one of indices."""
AXES = ("chain", "draw")


def gathered(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same with the index columns of `gather_draws` as part of each parameter's name; NA is no index."""
    others = [name for name in columns if name not in (*AXES, "parameter", "value", "")]
    if not others:
        return columns
    labels = [[_label(value) for value in columns[name]] for name in others]
    names = []
    for parameter, *index in zip(columns["parameter"].astype(str), *labels, strict=True):
        told = ",".join(part for part in index if part)
        names.append(f"{parameter}[{told}]" if told else parameter)
    kept = {name: values for name, values in columns.items() if name not in others}
    return kept | {"parameter": np.array(names, dtype=object)}


def spread(columns: dict[str, np.ndarray], path: object, limits: Limits) -> dict[str, np.ndarray]:
    """A row a draw, where there were several, one for each index, as `spread_draws` has them; others as they are."""
    (_, chain), (steps, draw) = (np.unique(_codes(columns[name]), return_inverse=True) for name in AXES)
    _, which = np.unique(chain * len(steps) + draw, return_inverse=True)
    count = np.bincount(which)
    if len(count) < FEWEST or count[0] < 2 or (count != count[0]).any():
        return columns
    rows = np.argsort(which, kind="stable").reshape(len(count), -1)  # (draw of a chain, row)
    values = {name: _codes(values)[rows] for name, values in columns.items() if name and name not in AXES}
    indices = [name for name, code in values.items() if _repeats(code)]
    if not indices:
        return columns
    keys = np.stack([values[name] for name in indices], axis=-1)
    order = np.lexsort(np.moveaxis(keys, -1, 0)[::-1], axis=-1)
    keys = np.take_along_axis(keys, order[..., None], axis=1)
    if (keys != keys[0]).any() or len(np.unique(keys[0], axis=0)) < keys.shape[1]:
        return columns
    rows = np.take_along_axis(rows, order, axis=1)
    labels = [",".join(_label(columns[name][row]) for name in indices) for row in rows[0]]
    found = {name: columns[name][rows[:, 0]] for name in AXES}
    for name, code in values.items():
        if name in indices:
            continue
        if (code == code[:, :1]).all():
            found[name] = columns[name][rows[:, 0]]
        else:
            found |= {f"{name}[{label}]": columns[name][rows[:, i]] for i, label in enumerate(labels)}
    limits.check("variables", len(found), path)
    return found


def check_numbers(columns: dict[str, np.ndarray], path: object) -> None:
    """Refuse text in a column that is to be a parameter."""
    for name, values in columns.items():
        if name and name not in (*AXES, "parameter") and values.dtype == object:
            first = next((str(value) for value in values if not is_number(str(value))), "text")
            remedy = "Leave the column out, or encode it as numbers."
            raise fail(f"{path}, {name}", first[:40], "numbers below the header", remedy)


def _repeats(code: np.ndarray) -> bool:
    """Whether a column has the same values in every draw, more than one of them."""
    ordered = np.sort(code, axis=1)
    return bool((ordered == ordered[0]).all() and ordered[0, 0] != ordered[0, -1])


def _codes(values: np.ndarray) -> np.ndarray:
    if values.dtype != object:
        return np.nan_to_num(values.astype(np.float64), nan=np.inf, posinf=np.inf)
    return np.unique(values.astype(str), return_inverse=True)[1].astype(np.float64)


def _label(value: object) -> str:
    """An index as text: `1` for 1.0, nothing for what is missing."""
    text = str(value).strip()
    if text.lower() in ("", "na", "nan", "none"):
        return ""
    return f"{float(text):g}" if is_number(text) else text
