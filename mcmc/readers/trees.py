"""Named arrays as a DataTree: shapes and types checked, the file named in every error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers.column_names import COUNTS, FLAGS, LOG_LIKELIHOOD, STATISTICS
from mcmc.readers.limits import fail

if TYPE_CHECKING:
    import xarray

GROUPS = (
    "posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats", "log_likelihood", "posterior_predictive",
    "prior", "prior_predictive", "observed_data", "constant_data", "unconstrained_posterior",
)  # fmt: skip
WITHOUT_DRAWS = ("observed_data", "constant_data")


def tree_of(groups: Mapping[str, Mapping[str, np.ndarray]], file: object, **facts: Any) -> xarray.DataTree:
    """A DataTree of arrays `(chain, draw, ...)` by group and name; `facts` become its attributes."""
    import xarray

    if not groups.get("posterior"):
        raise fail(file, "no parameters", "at least one array of draws", "Write the parameters' draws to it.")
    parts = {"/": xarray.Dataset(attrs=facts)}
    for group, arrays in groups.items():
        if arrays:
            parts[group] = _dataset(group, arrays, file)
    return xarray.DataTree.from_dict(parts)


def _dataset(group: str, arrays: Mapping[str, np.ndarray], file: object) -> Any:
    import xarray

    lead = [] if group in WITHOUT_DRAWS else ["chain", "draw"]
    variables, sizes, first = {}, None, ""
    for name, values in arrays.items():
        place = f"{file}, {name}"
        if "/" in name or not name.strip():
            raise fail(place, name, "a name without '/'", f"Rename it, or begin with a group: {', '.join(GROUPS[:2])}.")
        if values.dtype.kind not in "biuf":
            raise fail(place, f"dtype {values.dtype}", "real numbers or booleans", "Leave it out, or encode it.")
        if values.ndim < len(lead):
            remedy = "For one chain add a leading axis of length 1: x[None]."
            raise fail(place, f"shape {values.shape}", "(chain, draw, ...)", remedy)
        if lead and sizes is None:
            sizes, first = values.shape[:2], name
        if lead and values.shape[:2] != sizes:
            assert sizes is not None
            expected = f"{sizes[0]} chains of {sizes[1]} draws, as {first} has"
            raise fail(place, f"shape {values.shape}", expected, "Write all arrays as (chain, draw, ...) of one run.")
        if lead and 0 in values.shape[:2]:
            raise fail(place, f"shape {values.shape}", "at least one chain of one draw", "Sample first.")
        dims = [f"{name}_dim_{i}" for i in range(values.ndim - len(lead))]
        variables[name] = ([*lead, *dims], values)
    coords = {} if sizes is None else {"chain": np.arange(sizes[0]), "draw": np.arange(sizes[1])}
    return xarray.Dataset(variables, coords=coords)


def group_and_name(key: str) -> tuple[str, str]:
    """Read `sample_stats/energy` as group and name; a name without a group is of the posterior."""
    group, _, name = key.partition("/")
    return (group, name) if name and group in GROUPS else ("posterior", key)


def placed(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Arrays by group: those named `sample_stats/energy` by their names, sampler statistics and `log_likelihood` too.

    `energy` may be a parameter: it is a statistic where others lie beside it. Names that end with `__` are Stan's and
    PyMC's own.
    """
    groups: dict[str, dict[str, np.ndarray]] = {"posterior": {}}
    with_statistics = any(key in STATISTICS for key in arrays)
    for key, values in arrays.items():
        group, name = group_and_name(key)
        if group == "posterior" and "/" not in key:
            if name in STATISTICS or name.endswith("__") or (name == "energy" and with_statistics):
                group, name = "sample_stats", STATISTICS.get(name, name)
                name, values = (key, values) if name in groups.get(group, ()) else (name, typed(name, values))
            elif LOG_LIKELIHOOD.fullmatch(name):
                group = "log_likelihood"
        groups.setdefault(group, {})[name] = values
    return groups


def typed(name: str, values: np.ndarray) -> np.ndarray:
    """A statistic with its type: flags boolean, counts whole, unless its values say otherwise."""
    kind = bool if name in FLAGS else int if name in COUNTS else None
    if kind is None or values.dtype.kind not in "biuf":
        return values
    whole = bool((values == np.floor(values)).all() and (np.abs(values) < 2**53).all())
    return values.astype(kind) if whole else values


def shortest(chains: list[np.ndarray], files: list[Any]) -> tuple[list[np.ndarray], str]:
    """Chains `(draw, ...)` cut to the length of the shortest, and what was left out, as text; "" for nothing.

    One shorter than half the longest is refused: cutting would lose most of the run.
    """
    lengths = [len(chain) for chain in chains]
    least, most = min(lengths), max(lengths)
    if least == most:
        return chains, ""
    if 2 * least < most:
        file = files[lengths.index(least)]
        remedy = "Leave this file out, or cut the longer chains yourself."
        raise fail(file, f"{least} draws", f"chains of like length (the longest has {most})", remedy)
    note = f"chains have {least} to {most} draws: the first {least} of each are kept"
    return [chain[:least] for chain in chains], note
