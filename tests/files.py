"""Files in every format, as other programs write them, of draws that a test knows."""

from __future__ import annotations

import h5py
import numpy as np
import xarray

SETTINGS = """# stan_version_major = 2
# stan_version_minor = 36
# stan_version_patch = 0
# model = a_model
# method = sample (Default)
#   sample
#     num_samples = {samples}
#     num_warmup = {warmup}
#     save_warmup = {saved} (Default)
#     thin = {thin}
#     algorithm = hmc (Default)
#       hmc
#         nuts
#             max_depth = 3
# id = 1 (Default)
"""
STATISTICS = "lp__,accept_stat__,stepsize__,treedepth__,n_leapfrog__,divergent__,energy__"


def drawn(chains=2, draws=20, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(chains, draws, dim))


def cmdstan(path, names, rows, warmup=None, thin=1, settings=True, adapted=True):
    """One chain of parameters `(draw, column)`, warmup rows first; statistics count up with the row."""
    warmup = np.empty((0, rows.shape[1])) if warmup is None else warmup
    filled = {"samples": len(rows) * thin, "warmup": len(warmup) * thin, "saved": int(len(warmup) > 0), "thin": thin}
    lines = [SETTINGS.format(**filled).rstrip()] if settings else []
    lines.append(",".join([STATISTICS, *names]))

    def row(i, values):
        return ",".join(
            map(repr, [-1.0 - i, 0.9, 0.5, i % 4, 2 ** (i % 4) - 1, int(i == 1), 2.0 + i, *values.tolist()])
        )

    lines += [row(i, values) for i, values in enumerate(warmup)]
    if adapted:
        lines += [
            "# Adaptation terminated",
            "# Step size = 0.5",
            "# Diagonal elements of inverse mass matrix:",
            "# 1, 1",
        ]
    lines += [row(i, values) for i, values in enumerate(rows)]
    lines += ["# ", "#  Elapsed Time: 0.1 seconds (Warm-up)", "# "]
    path.write_text("\n".join(lines) + "\n")
    return path


def emcee(path, x, room=5, name="mcmc"):
    """A backend with the steps of `(walker, step, dim)` and room for more, as emcee 3 lays it out."""
    walkers, steps, dim = x.shape
    with h5py.File(path, "w") as file:
        group = file.create_group(name)
        facts = {"version": "3.1.6", "nwalkers": walkers, "ndim": dim, "has_blobs": False, "iteration": steps}
        group.attrs.update(facts)
        group.create_dataset("accepted", data=np.full(walkers, steps / 2))
        chain = np.zeros((steps + room, walkers, dim))
        chain[:steps] = x.swapaxes(0, 1)
        group.create_dataset("chain", data=chain, maxshape=(None, walkers, dim))
        group.create_dataset("log_prob", data=-(chain**2).sum(-1) / 2, maxshape=(None, walkers))
    return path


def getdist(root, chains, weights, names=("mu", "sigma*")):
    """Chains `(draw, dim)` with their weights, and the names beside them."""
    for i, (x, weight) in enumerate(zip(chains, weights, strict=True), start=1):
        np.savetxt(f"{root}_{i}.txt", np.column_stack([weight, (x**2).sum(1) / 2, x]))
    if names:
        root.with_name(root.name + ".paramnames").write_text("".join(f"{name}\t\\{name}\n" for name in names))
    return root


def tree(x):
    return xarray.DataTree.from_dict(
        {
            "posterior": xarray.Dataset({"theta": (("chain", "draw", "k"), x)}),
            "sample_stats": xarray.Dataset({"diverging": (("chain", "draw"), x[:, :, 0] > 9)}),
        }
    )


def table(x):
    """A pandas table in long form: one row a draw."""
    import pandas

    chains, draws, dim = x.shape
    columns = {"chain": np.repeat(np.arange(chains), draws), "draw": np.tile(np.arange(draws), chains)}
    return pandas.DataFrame(columns | {f"theta[{k}]": x[:, :, k].ravel() for k in range(dim)})


def one_of_each(folder, x):
    """A file in every format: `{name: (path, format, number of scalar parameters)}`."""
    tree(x).to_netcdf(folder / "a.nc", engine="h5netcdf")
    tree(x).to_zarr(folder / "a.zarr", consolidated=False)
    np.savez(folder / "a.npz", theta=x)
    np.savez_compressed(folder / "packed.npz", theta=x)
    emcee(folder / "a.h5", x)
    cmdstan(folder / "a.csv", ["theta.1", "theta.2", "theta.3"], x[0])
    getdist(folder / "root", x[:, :, :2], np.full(x.shape[:2], 2))
    rows = table(x)
    rows.to_csv(folder / "long.csv", index=False)
    rows.to_parquet(folder / "long.parquet", index=False)
    rows.drop(columns="chain").rename(columns={"draw": "iteration"}).to_csv(folder / "wide.csv", index=False)
    found = {
        "netcdf": "a.nc", "zarr": "a.zarr", "npz": "a.npz", "packed npz": "packed.npz", "emcee": "a.h5",
        "cmdstan": "a.csv", "getdist": "root_1.txt", "csv": "long.csv", "parquet": "long.parquet", "wide": "wide.csv",
    }  # fmt: skip
    return {name: folder / file for name, file in found.items()}
