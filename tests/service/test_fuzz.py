"""A thousand broken files: each is answered, none with 5xx, none hangs, and the server's memory stays."""

import io
import random
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import psutil
import pytest
import xarray
from servers import asking, drawn, npz, post

X = drawn(2, 30, 2)
SENT = 1000


def netcdf(folder):
    stats = xarray.Dataset({"diverging": (("chain", "draw"), X[:, :, 0] > 1)})
    posterior = xarray.Dataset({"mu": (("chain", "draw", "k"), X)})
    tree = xarray.DataTree.from_dict({"posterior": posterior, "sample_stats": stats})
    tree.to_netcdf(folder / "a.nc", engine="h5netcdf")
    tree.to_zarr(folder / "a.zarr", consolidated=False)
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for file in (folder / "a.zarr").rglob("*"):
            archive.write(file, file.relative_to(folder))
    return [(folder / "a.nc").read_bytes(), (folder / "a.zip").read_bytes()]


def emcee(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        group = file.create_group("mcmc")
        group.attrs.update({"version": "3.1.6", "nwalkers": 2, "ndim": 2, "has_blobs": False, "iteration": 30})
        group["accepted"], group["chain"] = np.ones(2), X.swapaxes(0, 1)
        group["log_prob"] = np.zeros((30, 2))
    return (folder / "a.h5").read_bytes()


def tables(folder):
    import pandas

    columns = {"chain": np.repeat([0, 1], 30), "draw": np.tile(np.arange(30), 2), "mu": X[:, :, 0].ravel()}
    rows = pandas.DataFrame(columns)
    rows.to_parquet(folder / "a.parquet", index=False)
    lines = ["# stan_version_major = 2", "lp__,accept_stat__,mu"]
    lines += [f"-1.0,0.9,{x!r}" for x in X[0, :, 0].tolist()]
    opened = io.BytesIO()
    chain = np.column_stack([np.ones(30), np.zeros(30), X[0]])
    np.savetxt(opened, chain, header="weight minuslogpost a b")
    parquet = (folder / "a.parquet").read_bytes()
    return [parquet, rows.to_csv(index=False).encode(), "\n".join([*lines, ""]).encode(), opened.getvalue()]


def broken(good, rng):
    """A file cut off, with bytes changed, doubled, or swapped for another's."""
    data, how = bytearray(rng.choice(good)), rng.randrange(6)
    if how == 0:
        return bytes(data[: rng.randrange(len(data))])
    if how == 1:
        return rng.randbytes(rng.randrange(1, 400))
    if how == 2:
        return bytes(data[:8]) + rng.randbytes(rng.randrange(1, 2000))
    if how == 3:
        at = rng.randrange(len(data))
        return bytes(data[:at] + rng.choice(good)[at:])
    for _ in range(1 if how == 4 else rng.randrange(2, 40)):
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(data)


@pytest.mark.slow
def test_a_thousand_broken_files(tmp_path):
    good = [npz(mu=X), npz(packed=True, mu=X, s=X[..., 0]), *netcdf(tmp_path), emcee(tmp_path), *tables(tmp_path)]
    rng = random.Random(7)
    bodies = [broken(good, rng) or b"?" for _ in range(SENT)]
    with asking(seconds=20, memory=10**9, elements=10**6) as client, ThreadPoolExecutor(3) as threads:
        for body in good:
            assert post(client, body).status_code == 200
        before = psutil.Process().memory_info().rss
        answers = list(threads.map(lambda body: post(client, body), bodies))
        assert psutil.Process().memory_info().rss - before < 200e6
        assert post(client, good[0]).status_code == 200
    seen = Counter((answer.status_code, answer.json().get("code", "ok")) for answer in answers)
    assert {status for status, _ in seen} <= {200, 413, 422}, seen
    assert (422, "time_limit") not in seen
    assert sum(seen.values()) == SENT
    assert seen[422, "unreadable"] > 0.3 * SENT
