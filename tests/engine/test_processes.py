"""Runs of several processes: the draws of one process, in one store, and nobody waits for who is gone."""

import socket
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import mcmc
from mcmc.engine.processes import Processes

MODEL = """
import jax.numpy as jnp
import mcmc
target = mcmc.Target(
    lambda p: -0.5 * jnp.sum(p["x"] ** 2 / jnp.arange(1.0, 4.0)) - p["s"], {"x": mcmc.real(3), "s": mcmc.positive()}
)
"""
pytestmark = pytest.mark.slow


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    names = {}
    exec(MODEL, names)
    return names["target"]


def start(folder, count, *options):
    """`mcmc sample model.py`, so many times at once, as one run."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mcmc.cli.main", "sample", "model.py", "--out", "run.zarr", *options]
    command += ["--distributed", "--coordinator", f"localhost:{port}", "--processes", str(count)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "cwd": folder}
    return [subprocess.Popen([*command, "--process", str(i)], **pipes) for i in range(count)]


def alone(target, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return mcmc.sample(target, progress=False, **settings)


def test_two_processes_make_the_draws_of_one(tmp_path, model):
    processes = start(tmp_path, 2, "--chains", "40", "--draws", "60", "--seed", "5")
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "64 chains" not in said[0]
    assert "Good" in said[0]
    assert "mean" not in said[1]
    stored, whole = mcmc.open(tmp_path / "run.zarr"), alone(model, chains=40, draws=60, seed=5)
    for group in ("posterior", "sample_stats"):
        for name, values in whole[group].data_vars.items():
            assert np.array_equal(stored[group][name].values, values.values), name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        more = mcmc.resume(model, tmp_path / "run.zarr", 40, progress=False)
    assert np.array_equal(more.posterior["x"].values, alone(model, chains=40, draws=100, seed=5).posterior["x"].values)


def test_who_is_left_ends_with_a_message_and_the_store_resumes(tmp_path, model):
    left, killed = start(tmp_path, 2, "--draws", "1000000")
    deadline = time.monotonic() + 120
    while not (tmp_path / "run.zarr" / "committed.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    killed.kill()
    killed.communicate()
    said = left.communicate(timeout=60)[0]
    assert left.returncode == 2
    assert "another process" in said
    part = mcmc.open(tmp_path / "run.zarr")
    assert part.attrs["status"] == "running"


def test_one_process_is_alone():
    here = Processes.here()
    assert here == Processes(0, 1)
    assert here.first({"a": 1.5}) == {"a": 1.5}
    assert here.gather(np.arange(3)).shape == (1, 3)
    with pytest.raises(ZeroDivisionError):
        here.once(lambda: 1 / 0)
