"""Named arrays as a DataTree: shapes and types checked, the file named in every error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers.limits import fail

if TYPE_CHECKING:
    import xarray

GROUPS = (
    "posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats", "log_likelihood", "posterior_predictive",
    "prior", "prior_predictive", "observed_data", "constant_data", "unconstrained_posterior",
)  # fmt: skip
WITHOUT_DRAWS = ("observed_data", "constant_data")
STATISTICS = {
    "lp": "lp", "lp__": "lp", "accept_stat__": "acceptance_rate", "stepsize__": "step_size",
    "treedepth__": "tree_depth",
    "n_leapfrog__": "n_steps", "divergent__": "diverging", "energy__": "energy", "diverging": "diverging",
    "divergent": "diverging", "acceptance_rate": "acceptance_rate", "tree_depth": "tree_depth",
    "reached_max_treedepth": "reached_max_treedepth", "n_steps": "n_steps", "step_size": "step_size",
    "is_accept": "is_accept", "log_density": "log_density", "hamiltonian_energy": "energy",
    "hamiltonian_energy_error": "energy_error", "max_hamiltonian_energy_error": "max_energy_error",
    "numerical_error": "diverging", "nom_step_size": "step_size_nom", "step_size_bar": "step_size_bar",
}  # fmt: skip
"""What samplers call the statistics that they write beside parameters, and ArviZ's names of them."""
FLAGS = ("diverging", "reached_max_treedepth")
COUNTS = ("tree_depth", "n_steps")
LOG_LIKELIHOOD = re.compile(r"(log_likelihood|log_lik)(\[.*\]|\.[\d.]+)?")


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

    `energy` may be a parameter: it is a statistic where others lie beside it.
    """
    groups: dict[str, dict[str, np.ndarray]] = {"posterior": {}}
    with_statistics = any(key in STATISTICS for key in arrays)
    for key, values in arrays.items():
        group, name = group_and_name(key)
        if group == "posterior" and "/" not in key:
            if name in STATISTICS or (name == "energy" and with_statistics):
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


def chains_first(name: str, values: np.ndarray, chains: int | None, file: object) -> np.ndarray:
    """An array `(chain, draw, ...)`; what may be `(draw, chain, ...)` is refused, or turned as `chains` says."""
    if values.ndim < 2:
        return values
    place, shape = f"{file}, {name}", values.shape
    if chains is not None:
        if shape[0] == chains:
            return values
        if shape[1] == chains:
            return values.swapaxes(0, 1)
        raise fail(place, f"shape {shape}", f"{chains} chains as its first axis, or its second", "Correct chains.")
    if shape[0] > shape[1]:
        remedy = f"Say how many chains there are: {shape[0]} or {shape[1]} (chains= in Python, --chains in the shell)."
        found = f"shape {shape}, which is {shape[0]} chains of {shape[1]} draws, or (draw, chain)"
        raise fail(place, found, "fewer chains than draws, or their number", remedy)
    return values


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
