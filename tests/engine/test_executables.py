"""Executables on disk: found by another process before anything is traced, and never one of another program."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations, draw, same

import mcmc
from mcmc.engine import build, executables
from mcmc.engine.compilation import SWITCH
from mcmc.engine.program_cache import PROGRAMS

pytestmark = pytest.mark.usefixtures("no_kept_programs")
FEW = {"chains": 8, "draws": 10, "warmup": 10, "geometry": "affine"}
SCRIPT = """
import hashlib, json, sys
import jax, jax.numpy as jnp, numpy as np
import mcmc
jax.config.update("jax_num_cpu_devices", 4)
events = []
jax.monitoring.register_event_duration_secs_listener(lambda event, _, **facts: events.append(facts.get("fun_name")))
lapack = lambda y: jnp.linalg.cholesky(2 * jnp.eye(2) + y[0])  # a process that traces nothing must load it too
log_density = lambda p, y: -{scale} * jnp.sum((lapack(y) @ (p["x"] - y)) ** 2)
target = mcmc.Target(log_density, {{"x": mcmc.real(2)}}, data=np.zeros({size}))
mcmc.summary, mcmc.ess  # what else was used does not count
import warnings
warnings.simplefilter("ignore")
draws = mcmc.sample(target, {kernel}, chains=8, draws=10, warmup=10, geometry="affine", progress=False)
print(json.dumps([events.count("jit(advance)"), hashlib.sha256(draws.posterior["x"].values.tobytes()).hexdigest()]))
"""


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv(SWITCH, str(tmp_path))
    monkeypatch.setattr(executables, "FOLDER", "executables")
    PROGRAMS.clear()
    return tmp_path / executables.FOLDER


def target(scale=0.31, size=2):
    return mcmc.Target(
        lambda p, y: -scale * jnp.sum((p["x"] - y) ** 2), {"x": mcmc.real(2)}, data=np.zeros(size, np.float32)
    )


def anew(*args, **settings):
    """Draws as a new process would make them, and whether the program was compiled."""
    PROGRAMS.clear()
    with compilations() as names:
        draws = draw(*args, **{**FEW, "dtype": "float32", **settings})
    return draws, "jit(advance)" in names


def test_another_process_compiles_nothing_and_draws_the_same(folder):
    def run(**more):
        script = SCRIPT.format(**{"scale": 0.31, "size": 2, "kernel": "mcmc.RandomWalk()", **more})
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    compiled, bits = run()
    assert compiled > 0
    assert [stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()] == [0o600]
    assert run() == [0, bits]


def test_what_was_changed_is_compiled(folder, monkeypatch):
    first, compiled = anew(target(), mcmc.RandomWalk())
    assert compiled
    again, compiled = anew(target(), mcmc.RandomWalk())
    assert not compiled
    same(first, again)
    assert anew(target(0.32), mcmc.RandomWalk())[1]
    assert anew(target(size=1), mcmc.RandomWalk())[1]
    assert anew(target(), mcmc.MALA())[1]
    with jax.default_matmul_precision("highest"):
        assert anew(target(), mcmc.RandomWalk())[1]
    monkeypatch.setattr(build, "_files", lambda: "an edited checkout")
    assert anew(target(), mcmc.RandomWalk())[1]


def test_a_damaged_file_is_written_over(folder):
    first, _ = anew(target(), mcmc.RandomWalk())
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for damage in (whole[:-100], b"", whole[:50] + b"?" + whole[51:]):
        file.write_bytes(damage)
        again, compiled = anew(target(), mcmc.RandomWalk())
        assert compiled
        same(first, again)
    assert not anew(target(), mcmc.RandomWalk())[1]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no owners here")
def test_a_file_that_others_may_write_is_not_read(tmp_path):
    path = tmp_path / "folder" / "one.bin"
    executables.write(path, b"key", b"program")
    assert executables.read(path, b"key") == b"program"
    assert executables.read(path, b"other") is None
    path.chmod(0o666)
    assert executables.read(path, b"key") is None
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    assert executables.read(path, b"key") is None


def test_the_folder_is_bounded(tmp_path):
    for i in range(5):
        path = tmp_path / f"{i}.bin"
        path.write_bytes(bytes(10))
        os.utime(path, (i, i))
    executables.forget(tmp_path, most_files=4)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["1.bin", "2.bin", "3.bin", "4.bin"]
    executables.forget(tmp_path, most_bytes=25)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["3.bin", "4.bin"]


def test_code_that_was_replaced_keeps_nothing(monkeypatch):
    device = jax.devices()[0]
    modules = ("mcmc.kernels.metropolis",)
    before = build.build(device, modules)
    assert before is not None
    from mcmc.kernels import metropolis

    name = next(k for k, v in vars(metropolis).items() if hasattr(v, "__code__") and v.__module__ == modules[0])
    monkeypatch.setattr(metropolis, name, lambda *_: None)
    assert build.build(device, modules) is None
    monkeypatch.undo()
    monkeypatch.setattr(metropolis, "NEW_CONSTANT", 3, raising=False)
    assert build.build(device, modules) not in (None, before)
    monkeypatch.undo()
    assert build.build(device, modules) == before
    edited = metropolis.__dict__[name].__code__.replace(co_names=("edited",))
    monkeypatch.setattr(metropolis.__dict__[name], "__code__", edited)
    assert build.build(device, modules) not in (None, before)  # the code in memory counts, whatever the files say


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    executables.write(tmp_path / "file" / "folder" / "one.bin", b"key", b"program")
    assert Path(tmp_path / "file").read_text() == ""
