"""Draws on many data sets in a store: the same as in memory, kept when the process is killed, and completed later."""

import functools
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from runs import unconverged

import mcmc

MODEL = """
import numpy as np
import mcmc

def log_density(p, y):
    return -0.5 * (p["mu"] ** 2).sum() - 0.5 * ((y - p["mu"]) ** 2).sum()

target = mcmc.Target(log_density, {"mu": mcmc.real(2)}, data=np.zeros((3, 2)), dims={"mu": ["axis"]},
                     coords={"axis": ["a", "b"]})
y = np.random.default_rng(0).normal(size=(50, 3, 2))
"""
RUN = (
    MODEL
    + """
import sys
mcmc.sample_each(target, y, seed=1, store=sys.argv[1], progress=False)
"""
)
names = {}
exec(MODEL, names)
TARGET, DATA = names["target"], names["y"]
QUIET = {"seed": 1, "progress": False}


@functools.cache
def in_memory():
    return mcmc.sample_each(TARGET, DATA, **QUIET)


def same(stored):
    whole = in_memory()
    for group in ("posterior", "sample_stats"):
        assert list(stored[group].data_vars) == list(whole[group].data_vars)
        for name, values in whole[group].data_vars.items():
            np.testing.assert_array_equal(stored[group][name].values, values.values)
            assert stored[group][name].dims == values.dims
    for name in ("ok", "stage", "message", "nonfinite_proposals"):
        np.testing.assert_array_equal(stored.run_state[name].values, whole.run_state[name].values)
    np.testing.assert_array_equal(stored.posterior["axis"], ["a", "b"])


def test_a_killed_run_is_completed_to_the_same_bits(tmp_path):
    folder = tmp_path / "run.zarr"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)])
    log, waited = folder / "done.jsonl", time.monotonic()
    while not (log.exists() and log.stat().st_size) and process.poll() is None:
        time.sleep(0.005)
        assert time.monotonic() - waited < 200
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    opened = mcmc.open(folder)
    assert opened.posterior["mu"].shape == (50, 16, 300, 2)
    lines = len(log.read_text().splitlines())
    with log.open("a") as file:
        file.write('{"which": [40, 4')  # as the kill may leave it
    same(mcmc.sample_each(TARGET, DATA, store=folder, **QUIET))
    assert all(json.loads(line) for line in log.read_text().splitlines()[lines:])
    written = log.stat().st_mtime_ns
    same(mcmc.sample_each(TARGET, DATA, store=folder, **QUIET))  # nothing was missing
    assert log.stat().st_mtime_ns == written
    same(mcmc.open(folder))
    assert mcmc.diagnose(mcmc.open(folder)).ok


def test_a_store_of_another_run_is_refused(tmp_path):
    folder, some = tmp_path / "run.zarr", DATA[:3]
    mcmc.sample_each(TARGET, some, store=folder, **QUIET)
    with pytest.raises(mcmc.FingerprintError, match="data: got other values"):
        mcmc.sample_each(TARGET, some + 1, store=folder, **QUIET)
    with pytest.raises(mcmc.FingerprintError, match="draws: got 100; expected 300"):
        mcmc.sample_each(TARGET, some, store=folder, draws=100, **QUIET)
    with pytest.raises(ValueError, match="sample_each"):
        mcmc.resume(TARGET, folder)
    with pytest.raises(FileExistsError, match="overwrite"):
        mcmc.sample(TARGET, store=folder, progress=False)
    draws = mcmc.sample_each(TARGET, some + 1, store=folder, overwrite=True, **QUIET)
    assert abs(float(draws.posterior["mu"].mean() - in_memory().posterior["mu"][:3].mean()) - 0.75) < 0.1
    other = tmp_path / "notes"
    other.mkdir()
    (other / "a.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="notes"):
        mcmc.sample_each(TARGET, some, store=other, overwrite=True, **QUIET)


def test_unequal_shapes_and_a_nan_in_a_store(tmp_path):
    folder = tmp_path / "run.zarr"
    sets = [DATA[i][: 2 + i % 2] for i in range(9)]
    sets[4] = np.full((2, 2), np.nan)
    with unconverged():
        stored = mcmc.sample_each(TARGET, sets, store=folder, **QUIET)
        held = mcmc.sample_each(TARGET, sets, **QUIET)
    np.testing.assert_array_equal(stored.posterior["mu"].values, held.posterior["mu"].values)
    assert list(np.flatnonzero(~stored.run_state["ok"].values)) == [4]
