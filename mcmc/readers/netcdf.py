"""netCDF 4: an ArviZ tree in one file, read lazily or, under limits, immediately."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from mcmc.readers import hdf5
from mcmc.readers.column_names import LOG_LIKELIHOOD, STATISTICS
from mcmc.readers.limits import Limits, fail, only_read_errors

OTHERS = {
    "logp": "lp", "depth": "tree_depth", "maxdepth_reached": "reached_max_treedepth",
    "mean_tree_accept": "acceptance_rate",
}  # fmt: skip
"""nutpie's names of statistics, and ArviZ's."""


def read(paths: list[Path], limits: Limits) -> Any:
    """Read one file; its values stay on disk until they are used, unless `limits` bound elements or bytes."""
    import xarray

    (path,) = paths
    eager = limits != Limits()
    hdf5.check(path, limits, eager)
    with only_read_errors(path, "netCDF file"):
        tree = xarray.open_datatree(path, engine="h5netcdf")
        if eager:
            with tree:
                tree = tree.load()
    return with_posterior(tree, path)


def with_posterior(tree: Any, path: Path) -> Any:
    """The tree, or an error that says why it holds no draws; a flat file is a posterior."""
    import xarray

    if not tree.children and {"chain", "draw"} <= set(tree.dims):
        flat = tree.to_dataset()
        statistics = {name: STATISTICS[str(name)] for name in flat.data_vars if name in STATISTICS}
        likely = [name for name in flat.data_vars if LOG_LIKELIHOOD.fullmatch(str(name))]
        groups = {"/": xarray.Dataset(attrs=tree.attrs), "posterior": flat.drop_vars([*statistics, *likely])}
        groups |= {"sample_stats": flat[list(statistics)].rename(statistics)} if statistics else {}
        groups |= {"log_likelihood": flat[likely]} if likely else {}
        tree = xarray.DataTree.from_dict(groups)
    if "posterior" not in tree.children:
        groups = ", ".join(tree.children) or "none"
        remedy = "Save what mcmc.sample or arviz.from_dict returned."
        raise fail(path, f"groups {groups}", "a group 'posterior'", remedy)
    tree = with_our_names(tree)
    missing = [dim for dim in ("chain", "draw") if dim not in tree["posterior"].dims]
    if missing:
        found = f"a posterior with no dimension {' and no '.join(missing)}"
        raise fail(path, found, "dimensions chain and draw", "Rename its dimensions.")
    return tree


def with_our_names(tree: Any) -> Any:
    """The tree with ArviZ's names of the statistics that nutpie and others name otherwise."""
    for group in ("sample_stats", "warmup_sample_stats"):
        if group in tree.children:
            stats = tree[group].to_dataset()
            renamed = {old: new for old, new in OTHERS.items() if old in stats.data_vars and new not in stats}
            if renamed:
                tree[group] = stats.rename(renamed)
    return tree


def quiet_open(path: Path, **options: Any) -> Any:
    """`xarray.open_datatree` without its warning on metadata that are not consolidated."""
    import xarray

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*consolidated metadata", RuntimeWarning)
        return xarray.open_datatree(path, **options)
