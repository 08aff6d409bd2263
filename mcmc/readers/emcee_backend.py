"""emcee's HDF5 backend, without emcee: chain (step, walker, dim), walkers as chains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers import hdf5
from mcmc.readers.limits import Limits, fail, only_read_errors
from mcmc.readers.trees import tree_of

if TYPE_CHECKING:
    import xarray


def read(paths: list[Path], limits: Limits, names: list[str] | None = None) -> xarray.DataTree:
    """Read the steps that were taken (a backend has room for more); parameters are `names`, or param_0, ..."""
    import h5py

    (path,) = paths
    hdf5.check(path, limits, eager=True)
    with only_read_errors(path, "HDF5 file of emcee's"), h5py.File(path, "r") as file:
        group = _group(file, path)
        chain, steps = _chain(group, path)
        dim = chain.shape[2]
        names = [f"param_{i}" for i in range(dim)] if names is None else names
        if len(names) != dim or len(set(names)) != dim:
            raise fail(path, f"names {names}", f"{dim} distinct names", f"Its chain has {dim} parameters.")
        values = np.moveaxis(chain[:steps], 0, 1)
        posterior = {name: values[:, :, i] for i, name in enumerate(names)}
        rate = np.asarray(group["accepted"][()]) / steps if "accepted" in group else None
        lp = _log_prob(group, steps, chain.shape[1], path)
        blobs = "blobs" in group
    facts: dict[str, Any] = {} if rate is None else {"acceptance_rate": rate.mean()}
    facts |= {"ignored": "blobs"} if blobs else {}
    statistics = {} if lp is None else {"lp": lp}
    return tree_of({"posterior": posterior, "sample_stats": statistics}, path, inference_library="emcee", **facts)


def _group(file: Any, path: Path) -> Any:
    found = hdf5.emcee_groups(file)
    if "mcmc" not in found and len(found) != 1:
        expected = "a group 'mcmc', or one run"
        raise fail(path, f"groups {found or 'without a chain of walkers'}", expected, "Copy one run to its own file.")
    return file["mcmc" if "mcmc" in found else found[0]]


def _chain(group: Any, path: Path) -> tuple[Any, int]:
    """The chain and how many steps of it count."""
    chain = group["chain"]
    expected = (int(group.attrs["nwalkers"]), int(group.attrs["ndim"]))
    if chain.ndim != 3 or chain.shape[1:] != expected or chain.dtype.kind not in "fiu":
        raise fail(path, f"a chain of shape {chain.shape}", f"(step, {expected[0]}, {expected[1]})", "Sample again.")
    steps = int(group.attrs.get("iteration", chain.shape[0]))
    if not 0 < steps <= chain.shape[0]:
        raise fail(
            path, f"{steps} steps of {chain.shape[0]}", "at least one, and no more than there are", "Sample first."
        )
    return chain, steps


def _log_prob(group: Any, steps: int, walkers: int, path: Path) -> np.ndarray | None:
    """The log density, under the name of this version or an old one."""
    found = next((group[name] for name in ("log_prob", "lnprob") if name in group), None)
    if found is None:
        return None
    if found.ndim != 2 or found.shape[0] < steps or found.shape[1] != walkers:
        raise fail(path, f"log_prob of shape {found.shape}", f"({steps}, {walkers})", "Sample again.")
    return np.asarray(found[:steps]).T
