"""Runs on disk: the draws of a run in memory, whatever ends the process, and nothing overwritten by accident."""

import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import arviz
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.storage import zarr_store
from mcmc.storage.recorder import Recorder

SCALES = jnp.arange(1.0, 4.0)
TARGET = mcmc.Target(
    lambda p: -0.5 * jnp.sum((p["x"] / SCALES) ** 2) - p["s"],
    {"x": mcmc.real(3), "s": mcmc.positive()},
    dims={"x": ["place"]},
    coords={"place": ["here", "there", "away"]},
)
SETTINGS = {"chains": 8, "warmup": 60, "draws": 150, "seed": 4, "progress": False}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(zarr_store, "BLOCK_BYTES", 1)  # 16 draws a block


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run.zarr"


def quiet(function, *args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return function(*args, **options)


def same(a, b, draws=None):
    for group in ("posterior", "sample_stats"):
        assert set(a[group].data_vars) == set(b[group].data_vars)
        for name in a[group].data_vars:
            left, right = a[group][name].values, b[group][name].values
            assert left.dtype == right.dtype
            assert np.array_equal(left, right[:, : left.shape[1]] if draws is None else right[:, :draws])


@pytest.mark.parametrize("kernel", [mcmc.HMC(), mcmc.NUTS(), mcmc.Stretch(), mcmc.RandomWalk()])
def test_a_stored_run_is_the_run_in_memory(kernel, folder):
    memory = quiet(mcmc.sample, TARGET, kernel, **SETTINGS)
    stored = quiet(mcmc.sample, TARGET, kernel, store=folder, **SETTINGS)
    same(stored, memory)
    assert stored.attrs["status"] == "complete"
    assert stored["posterior"]["place"].values.tolist() == ["here", "there", "away"]
    opened = mcmc.open(folder)
    same(opened, memory)
    assert mcmc.diagnose(opened).table.equals(mcmc.diagnose(memory).table)
    assert arviz.rhat(opened["posterior"]["x"]).sizes == {"place": 3}


def test_thinned_draws_in_single_precision_and_a_direct_sampler(folder, tmp_path):
    options = SETTINGS | {"thin": 3, "dtype": "float32"}
    same(
        quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **options),
        quiet(mcmc.sample, TARGET, mcmc.HMC(), **options),
    )

    class Normal:
        def sample(self, key, shape=()):
            import jax

            return jax.random.normal(key, shape)

    options = {"chains": 8, "draws": 100, "progress": False}
    other = tmp_path / "direct.zarr"
    same(quiet(mcmc.sample, Normal(), store=other, **options), quiet(mcmc.sample, Normal(), **options))


def test_resume_goes_on_in_the_store(folder):
    whole = quiet(mcmc.sample, TARGET, mcmc.HMC(), **SETTINGS | {"draws": 230})
    quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    more = quiet(mcmc.resume, TARGET, folder, 80, progress=False)
    same(more, whole)
    same(mcmc.open(folder), whole)
    in_memory = quiet(mcmc.resume, TARGET, mcmc.open(folder), 10, progress=False)
    assert in_memory.posterior.sizes["draw"] == 240
    assert mcmc.open(folder).posterior.sizes["draw"] == 230


def test_until_runs_in_a_store_too(folder):
    until = mcmc.Converged(ess=700)
    memory = quiet(mcmc.sample, TARGET, mcmc.HMC(), chains=8, until=until, progress=False)
    stored = quiet(mcmc.sample, TARGET, mcmc.HMC(), chains=8, until=until, store=folder, progress=False)
    assert stored.attrs["stopped"] == "converged"
    same(stored, memory)


@pytest.mark.parametrize("phase", ["warmup", "sampling"])
@pytest.mark.parametrize("kernel", [None, mcmc.HMC(), mcmc.Gibbs({"x": mcmc.HMC(), "s": mcmc.RandomWalk()})])
def test_ctrl_c_at_any_time_leaves_a_run_that_resumes_to_its_end(kernel, phase, folder):
    def interrupt(update):
        if update.phase == phase and update.done >= 0.4 * update.total:
            raise KeyboardInterrupt

    options = SETTINGS | {"progress": interrupt, "chunk": 20}
    part = quiet(mcmc.sample, TARGET, kernel, store=folder, **options)
    assert part.attrs["status"] == "interrupted"
    assert (part.posterior.sizes["draw"] == 0) == (phase == "warmup")
    whole = quiet(mcmc.sample, TARGET, kernel, **SETTINGS)
    same(part, whole)
    same(quiet(mcmc.resume, TARGET, folder, progress=False), whole)


CHILD = """
import sys, warnings
sys.path.insert(0, sys.argv[2])
import mcmc
from mcmc.storage import zarr_store
from test_zarr_store import TARGET, SETTINGS
warnings.simplefilter("ignore")
zarr_store.BLOCK_BYTES, zarr_store.COMMIT_SECONDS = 1, 0.0
publish = zarr_store.publish
def slowly(*args):
    import time
    publish(*args)
    time.sleep(0.002)
zarr_store.publish = slowly
print("ready", flush=True)
mcmc.sample(TARGET, mcmc.HMC(), store=sys.argv[1], **SETTINGS | {"draws": 400, "chunk": 5})
"""


def killed(folder, commits):
    """A run in another process, killed once it has committed so many times."""
    here = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", CHILD, str(folder), here], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        seen, before = 0, 0
        while seen < commits and child.poll() is None:
            time.sleep(5e-4)  # a quarter of what the child waits after each
            try:
                now = (folder / zarr_store.COMMITTED).stat().st_ino
            except FileNotFoundError:
                continue
            seen, before = seen + (now != before), now
        child.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_kills_lose_nothing_that_was_committed(folder):
    whole = quiet(mcmc.sample, TARGET, mcmc.HMC(), **SETTINGS | {"draws": 400})
    reached = set()
    for commits in (1, 3, 8, 30):
        shutil.rmtree(folder, ignore_errors=True)
        killed(folder, commits)
        part = mcmc.open(folder)
        reached.add(part["run_state"].attrs["iteration"])
        same(part, whole)
        same(quiet(mcmc.resume, TARGET, folder, progress=False), whole)
    assert len(reached) > 2


def test_a_reader_sees_committed_draws_only(folder, monkeypatch):
    seen = []
    publish = zarr_store.publish

    def look(folder, *rest):
        publish(folder, *rest)
        opened = mcmc.open(folder)
        seen.append(opened.posterior.sizes["draw"])
        assert np.isfinite(opened["posterior"]["x"].values).all()

    monkeypatch.setattr(zarr_store, "publish", look)
    stored = quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert seen[-1] == stored.posterior.sizes["draw"] == 150


def test_memory_holds_blocks_only(folder, monkeypatch):
    asked = []

    class Watched(Recorder):
        def __init__(self, *args):
            super().__init__(*args)
            asked.append(self.stats["lp"].shape[1])

    monkeypatch.setattr("mcmc.engine.run.Recorder", Watched)
    quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    assert max(asked) == zarr_store.LEAST_BLOCK


def test_the_diagnosis_of_a_large_store_reads_every_few_draws(folder, monkeypatch, capfd):
    monkeypatch.setattr("mcmc.storage.runs.JUDGED_BYTES", 10_000)
    monkeypatch.setattr("mcmc.storage.runs.JUDGED_DRAWS", 30)
    stored = quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS | {"progress": True})
    assert "reads every 4th draw" in capfd.readouterr().err
    assert stored.posterior.sizes["draw"] == 150


def test_a_store_that_exists_is_refused_and_replaced_when_told(folder):
    first = quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    before = first["posterior"]["x"].values
    with pytest.raises(FileExistsError, match="overwrite=True"):
        mcmc.sample(TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    assert np.array_equal(mcmc.open(folder)["posterior"]["x"].values, before)
    other = quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, overwrite=True, **SETTINGS | {"draws": 50})
    assert other.posterior.sizes["draw"] == 50


def test_a_folder_that_is_no_store_is_never_removed(folder):
    folder.mkdir()
    (folder / "thesis.tex").write_text("years")
    with pytest.raises(FileExistsError, match="remove it yourself"):
        mcmc.sample(TARGET, mcmc.HMC(), store=folder, overwrite=True, **SETTINGS)
    assert (folder / "thesis.tex").read_text() == "years"


def test_a_store_of_another_target_is_refused(folder):
    quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    other = mcmc.Target(lambda p: -jnp.sum(p["x"] ** 2) - p["s"], {"x": mcmc.real(3), "s": mcmc.positive()})
    with pytest.raises(mcmc.SamplingError, match="target"):
        mcmc.resume(other, folder, 10, progress=False)


def test_a_full_disk_is_an_error_that_says_so_and_keeps_what_was_committed(folder, monkeypatch):
    write, calls = zarr_store._write, []

    def full(*args):
        calls.append(1)
        if len(calls) > 4:
            raise OSError(28, "No space left on device")
        write(*args)

    monkeypatch.setattr(zarr_store, "_write", full)
    with pytest.raises(mcmc.StoreError, match="room on the disk"):
        mcmc.sample(TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    monkeypatch.setattr(zarr_store, "_write", write)
    whole = quiet(mcmc.sample, TARGET, mcmc.HMC(), **SETTINGS)
    assert mcmc.open(folder).posterior.sizes["draw"] > 0
    same(quiet(mcmc.resume, TARGET, folder, progress=False), whole)


def test_draws_whose_files_are_gone_are_no_zeros(folder):
    drawn = quiet(mcmc.sample, TARGET, mcmc.HMC(), store=folder, **SETTINGS)
    shutil.rmtree(folder)
    assert np.isnan(drawn["posterior"]["x"].values).all()


def test_a_disk_that_is_too_small_is_said_before_anything_is_made(folder):
    with pytest.raises(mcmc.StoreError, match="free"):
        mcmc.sample(TARGET, mcmc.HMC(), store=folder, **SETTINGS | {"draws": 10**12})
    assert not folder.exists()


def test_a_run_that_ended_before_its_first_iteration(folder, monkeypatch):
    monkeypatch.setattr("mcmc.sampling.run.find_chains", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
    for init in (None, {"x": np.zeros(3), "s": 1.0}):
        with pytest.raises(RuntimeError, match="killed"):
            mcmc.sample(TARGET, mcmc.HMC(), store=folder, init=init, overwrite=True, **SETTINGS)
        assert mcmc.open(folder).posterior.sizes["draw"] == 0
    monkeypatch.undo()
    with pytest.raises(mcmc.StoreError, match="overwrite=True"):
        mcmc.resume(TARGET, folder, progress=False)


@pytest.mark.parametrize(("options", "error"), [({"store": 5}, TypeError), ({"save_warmup": True}, ValueError)])
def test_bad_arguments(options, error, folder):
    with pytest.raises(error, match="store"):
        mcmc.sample(TARGET, mcmc.HMC(), **SETTINGS | {"store": folder} | options)


def test_nothing_there(tmp_path):
    with pytest.raises(mcmc.StoreError, match="committed"):
        mcmc.open(tmp_path)
