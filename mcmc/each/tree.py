"""Draws on many data sets as one `xarray.DataTree`."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mcmc.diagnostics.diagnoses import MISSING
from mcmc.each.records import Part, Record
from mcmc.each.together import Together
from mcmc.each.verdict import LEADING
from mcmc.storage.datatree import dataset
from mcmc.storage.saved_kernel import describe_kernel
from mcmc.version import __version__

if TYPE_CHECKING:
    import xarray

    from mcmc.each.data import ManyData


def facts_of(shared: Together, key: np.ndarray, began: float) -> dict[str, Any]:
    """The attributes of a run on many data sets."""
    settings = shared.settings
    versions = {"mcmc": __version__, "python": platform.python_version()}
    versions |= {"jax": jax.__version__, "numpy": np.__version__}
    return {
        "seed": " ".join(map(str, key)),
        "kernel": describe_kernel(shared.kernel),
        "chains": settings.chains,
        "warmup": settings.warmup,
        "thin": settings.thin,
        "lanes": shared.layout.lanes,
        "dtype": str(shared.dtype),
        "device": shared.layout.devices[0].device_kind,
        "versions": json.dumps(versions),
        "inference_library": "mcmc",
        "created_at": datetime.fromtimestamp(began, UTC).isoformat(),
    }


def groups_in_memory(shared: Together, held: Part, data: ManyData) -> dict[str, xarray.Dataset]:
    """The draws, and the data where they are arrays of equal shapes."""
    groups = {
        "posterior": dataset(held.parameters, shared.target, LEADING),
        "sample_stats": dataset(held.statistics, None, LEADING),
    }
    tree = jax.tree.unflatten(data.structure, data.leaves) if data.stacked else None
    observed = tree if isinstance(tree, dict) else {"data": tree} if hasattr(tree, "shape") else {}
    if observed and all(hasattr(x, "shape") for x in observed.values()):
        arrays = {str(name): np.asarray(x) for name, x in observed.items()}
        groups["observed_data"] = dataset(arrays, shared.target, ("dataset",))
    return groups


def state_of(records: list[Record | None], nonfinite: np.ndarray, superchains: Any, derived: list) -> xarray.Dataset:
    """The verdicts that were found while drawing, and what a diagnosis needs besides the draws."""
    import xarray

    found = [record or Record(False, "batch", MISSING) for record in records]
    state = xarray.Dataset(
        {
            "ok": ("dataset", np.array([r.ok for r in found])),
            "stage": ("dataset", np.array([r.stage for r in found])),
            "message": ("dataset", np.array([r.message for r in found], object)),
            "nonfinite_proposals": (("dataset", "chain"), nonfinite),
        },
        attrs={"derived": json.dumps(derived)},
    )
    return state if superchains is None else state.assign(superchain=("chain", np.asarray(superchains)))


def assembled(
    groups: dict[str, xarray.Dataset], state: xarray.Dataset, index: np.ndarray, facts: dict[str, Any]
) -> xarray.DataTree:
    """All of it, data sets labelled by their numbers."""
    import xarray

    complete = MISSING not in state["message"].values
    root = xarray.Dataset(attrs={"status": "complete" if complete else "interrupted", **facts})
    parts = {name: group.assign_coords(dataset=index) for name, group in {**groups, "run_state": state}.items()}
    return xarray.DataTree.from_dict({"/": root, **parts})
