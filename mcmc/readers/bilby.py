"""bilby's results, JSON or HDF5: a posterior by name, and the walkers of an ensemble where there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers import hdf5
from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.text import opened
from mcmc.readers.trees import placed, tree_of

if TYPE_CHECKING:
    import xarray

WITHOUT_CHAINS = {
    "cpnest", "d4nest", "dnest4", "dynamicdynesty", "dynesty", "nessai", "nestle", "pymultinest", "pypolychord",
    "ultranest",
}  # fmt: skip
"""bilby's samplers that are no Markov chains."""
DENSITIES = {"log_likelihood": "log_lik_total", "log_prior": "log_prior"}


def is_text(lines: list[str]) -> bool:
    """Whether a text begins as bilby's JSON: with what every result has."""
    start = "".join(lines)[:20_000].lstrip()
    return start.startswith("{") and '"posterior"' in start and ('"sampler"' in start or "__dataframe__" in start)


def read(paths: list[Path], limits: Limits, chains: int | None = None) -> xarray.DataTree:
    """Read one result: walkers as chains where it has them, else its posterior, which has no chain or asks for them."""
    (path,) = paths
    with only_read_errors(path, "result of bilby's"):
        columns, facts = _of_hdf5(path, limits) if _is_packed(path) else _of_json(path, limits)
    columns = {name: _numbers(values, f"{path}, posterior, {name}") for name, values in columns.items()}
    sizes = {len(values) for values in columns.values()}
    if len(sizes) != 1 or sizes == {0}:
        raise fail(path, f"columns of {sorted(sizes)} draws", "as many of each, at least one", "Save the result again.")
    limits.check("variables", len(columns), path)
    limits.check("elements", sizes.pop() * len(columns), path)
    sampler, keys = str(facts.get("sampler", "?")), facts.get("search_parameter_keys") or []
    fixed = [name for name in facts.get("fixed_parameter_keys") or [] if name in columns]
    shaped, note = _chains(columns, facts, sampler, list(keys), chains, path)
    groups = placed({name: values for name, values in shaped.items() if name not in (*DENSITIES, *fixed)})
    beside = {DENSITIES[name]: values for name, values in shaped.items() if name in DENSITIES}
    groups["sample_stats"] = groups.get("sample_stats", {}) | beside
    return tree_of(groups, path, inference_library="bilby", sampler=sampler, note=note, ignored=", ".join(fixed))


def _chains(
    columns: dict[str, np.ndarray],
    facts: Mapping[str, Any],
    sampler: str,
    keys: list[str],
    chains: int | None,
    path: Path,
) -> tuple[dict[str, np.ndarray], str]:  # fmt: skip
    """Columns as `(chain, draw)`, and how they came to be so."""
    count = len(next(iter(columns.values())))
    walkers = facts.get("walkers")
    if walkers is not None and set(keys) <= set(columns) and np.ndim(walkers) == 3:
        walkers = _numbers(walkers, f"{path}, walkers")
        flat = np.stack([columns[name] for name in keys], axis=1)
        burnt = int(facts.get("nburn") or 0)
        note = f"walkers of {sampler} as chains" + f", {burnt} steps of each dropped by bilby" * bool(burnt)
        if np.array_equal(walkers[:, burnt:].reshape(-1, walkers.shape[2]), flat):  # a walker after another
            return {name: values.reshape(len(walkers), -1) for name, values in columns.items()}, note
        if np.array_equal(walkers[burnt:].reshape(-1, walkers.shape[2]), flat):  # a step after another
            return {name: values.reshape(-1, walkers.shape[1]).T for name, values in columns.items()}, note
    if sampler.lower().replace("_", "") in WITHOUT_CHAINS and chains is None:
        note = f"draws of {sampler}, which have no chain, shuffled: R-hat and ESS don't say what it missed"
        order = np.random.default_rng(0).permutation(count)  # they lie in the order of their likelihood
        return {name: values[None, order] for name, values in columns.items()}, note
    if chains is None or count % chains:
        found = f"{count} draws of {sampler}, and not of how many chains"
        remedy = "Say how many chains lie one after another (chains= in Python, --chains in the shell; 1 for one)."
        raise fail(path, found, "walkers, or a number of chains that divides the draws", remedy)
    return {name: values.reshape(chains, -1) for name, values in columns.items()}, f"draws of {sampler}"


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8) == hdf5.MAGIC


def _of_json(path: Path, limits: Limits) -> tuple[dict[str, Any], dict[str, Any]]:
    with opened(path) as file:
        found = json.load(file)
    posterior = found.get("posterior") if isinstance(found, dict) else None
    columns = posterior.get("content") if isinstance(posterior, dict) else None
    if not isinstance(columns, dict) or not columns:
        raise fail(path, "no posterior", "a result of bilby's with its posterior", "Save the result, not its parts.")
    walkers = found.get("walkers")
    facts = {name: found.get(name) for name in ("sampler", "search_parameter_keys", "fixed_parameter_keys", "nburn")}
    return columns, facts | {"walkers": walkers.get("content") if isinstance(walkers, dict) else None}


def _of_hdf5(path: Path, limits: Limits) -> tuple[dict[str, Any], dict[str, Any]]:
    import h5py

    hdf5.check(path, limits, eager=True)
    with h5py.File(path, "r") as file:
        group = file.get("posterior")
        if not isinstance(group, h5py.Group) or not len(group):
            raise fail(path, "no posterior", "a result of bilby's with its posterior", "Save the result again.")
        columns = {str(name): np.asarray(item[()]) for name, item in group.items() if isinstance(item, h5py.Dataset)}
        facts: dict[str, Any] = {name: _texts(file, name) for name in ("search_parameter_keys", "fixed_parameter_keys")}
        facts["sampler"] = "".join(_texts(file, "sampler")[:1]) or "?"
        for name in ("walkers", "nburn"):
            item = file.get(name)
            facts[name] = item[()] if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf" else None
    return columns, facts


def _texts(file: Any, name: str) -> list[str]:
    values = np.ravel(file[name][()]) if name in file else []
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values if not isinstance(v, float)]


def _numbers(values: Any, place: str) -> np.ndarray:
    """Numbers as an array; null is NaN, and what bilby marks as complex or as text is refused."""
    if isinstance(values, dict):
        values = values.get("content")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise fail(place, "something else than numbers", "real numbers", "Leave the column out.") from error
