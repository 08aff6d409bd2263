"""The command line through its real entry point; its errors through typer's runner."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray
from typer.testing import CliRunner

import mcmc
from mcmc.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "eight_schools.py"
NORMAL = """
import jax.numpy as jnp
import mcmc

target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(2)})
"""
TWO = NORMAL + 'wide = mcmc.Target(lambda p: -0.005 * p["x"] ** 2, {"x": mcmc.real()})\n'
APART = """
import jax.numpy as jnp
import mcmc

def log_density(p):
    return jnp.logaddexp(-0.5 * (p["x"] - 30.0) ** 2, -0.5 * (p["x"] + 30.0) ** 2)

target = mcmc.Target(log_density, {"x": mcmc.interval(-60.0, 60.0)})
"""
ENDLESS = NORMAL.replace("real(2)", "real(200)")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Run where nothing is; put back what reading a script changes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A folder for compiled programs, shared by the processes that these tests start."""
    return str(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def mcmc_process(programs):
    """Run `mcmc` in a process of its own, warnings being errors."""

    def run(*arguments, launch=subprocess.run, **settings):
        environment = {
            **os.environ,
            "MCMC_COMPILATION_CACHE": programs,
            "PYTHONWARNINGS": "error",
            "COLUMNS": "200",
        }
        command = [sys.executable, "-m", "mcmc.cli.main", *map(str, arguments)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        return launch(command, **streams, **settings)

    return run


def call(*arguments):
    """Run `mcmc` in this process; the result has exit_code, stdout and stderr."""
    result = CliRunner().invoke(main.app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write(text, name="model.py"):
    Path(name).write_text(text)
    return name


def tree(**groups):
    return xarray.DataTree.from_dict({name: xarray.Dataset(group) for name, group in groups.items()})


def normal_draws(chains=4, draws=1000, shift=0.0):
    x = np.random.default_rng(1).normal(size=(chains, draws)) + shift * np.arange(chains)[:, None]
    return {"x": (("chain", "draw"), x)}


# --- the real entry point -------------------------------------------------------------------------------


def test_version_and_help(mcmc_process):
    done = mcmc_process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"mcmc {mcmc.__version__}\n"
    done = call("--help")
    assert done.exit_code == 0
    assert all(command in done.stdout for command in ("demo", "sample", "diagnose"))


def test_the_installed_command_is_this_one():
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="console_scripts", name="mcmc")
    assert entry.load() is main.main


@pytest.mark.slow
def test_demo(mcmc_process, tmp_path):
    done = mcmc_process("demo", "--out", "made/here")
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("R-hat", "bulk ESS", "tail ESS", "MCSE", "4.4 ± 3.3", "3.6 ± 3.2", "theta[Choate]"):
        assert part in done.stdout
    picture, data = tmp_path / "made/here/eight_schools.png", tmp_path / "made/here/eight_schools.nc"
    assert f"Picture: {picture}" in done.stdout
    assert f"Data:    {data}" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    for part in ("import", "compile", "warmup", "sampling", "diagnosis", "picture"):
        assert re.search(rf"\b{part} \d+\.\d\d", done.stdout.splitlines()[-1])
    assert "mcmc: sampling" in done.stderr
    assert "draws/s" not in done.stdout
    with xarray.open_datatree(data, engine="h5netcdf") as draws:
        mean, sd = (float(getattr(draws["posterior"]["mu"], f)()) for f in ("mean", "std"))
        assert draws["posterior"].sizes["chain"] > 16
    assert mean == pytest.approx(4.4, abs=0.3)
    assert sd == pytest.approx(3.3, abs=0.3)
    assert call("diagnose", data).exit_code == 0


@pytest.mark.slow
def test_sample_runs_the_example(tmp_path):
    done = call("sample", EXAMPLE, "--quiet", "--seed", 3)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    assert "theta[Mt. Hermon]" in done.stdout
    assert done.stdout.rstrip().endswith(f"Data: {tmp_path / 'posterior.nc'}")


@pytest.mark.slow
def test_ctrl_c_keeps_the_draws_and_says_so(mcmc_process):
    write(ENDLESS)
    kernel = ("--kernel", "random-walk", "--chains", 4, "--warmup", 10)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child inherits that it is ignored
    try:
        child = mcmc_process("sample", "model.py", *kernel, "--draws", 200_000, launch=subprocess.Popen)
    finally:
        signal.signal(signal.SIGINT, before)
    for line in child.stderr:
        if "mcmc: sampling" in line:
            break
    time.sleep(0.2)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    with xarray.open_datatree("posterior.nc", engine="h5netcdf") as draws:
        assert draws.attrs["status"] == "interrupted"
        assert 0 < draws["posterior"].sizes["draw"] < 200_000


# --- sample ---------------------------------------------------------------------------------------------


def test_sample_writes_zarr_that_diagnose_reads():
    write(TWO)
    result = call("sample", "model.py", "--target", "wide", "--kernel", "hmc", "--out", "wide.zarr", "--seed", 5)
    assert result.exit_code == 0, result.output
    draws = mcmc.open("wide.zarr")
    assert float(draws["posterior"]["x"].std()) == pytest.approx(10.0, rel=0.1)
    assert call("sample", "model.py", "--target", "wide", "--out", "wide.zarr").exit_code == 2
    more = call("sample", "model.py", "--target", "wide", "--out", "wide.zarr", "--resume", "--draws", 10)
    assert more.exit_code == 0, more.output
    assert mcmc.open("wide.zarr")["posterior"].sizes["draw"] == draws["posterior"].sizes["draw"] + 10
    assert call("diagnose", "wide.zarr").exit_code == 0


def test_sample_says_when_the_draws_are_no_good():
    write(APART)
    arguments = [
        "--kernel",
        "RandomWalk",
        "--chains",
        4,
        "--draws",
        200,
        "--warmup",
        200,
        "--out",
        "apart.nc",
    ]
    result = call("sample", "model.py", *arguments)
    assert result.exit_code == 1, result.output
    assert "R-hat" in result.stdout
    assert Path("apart.nc").exists()
    assert call("diagnose", "apart.nc").exit_code == 1


def test_sample_takes_a_kernel_and_a_direct_sampler_of_the_script():
    write(
        NORMAL
        + "import jax\nkernel = mcmc.HMC(step_size=0.5, metric=1.0, num_steps=3)\n"
        + "class Uniform:\n"
        + "    def sample(self, key, shape=()):\n        return jax.random.uniform(key, shape)\n"
        + "direct = Uniform()\n"
    )
    short = ["--chains", 8, "--draws", 500, "--warmup", 50]
    result = call("sample", "model.py", "--kernel", "kernel", "--out", "a.nc", *short)
    assert result.exit_code in (0, 1), result.output
    with xarray.open_datatree("a.nc", engine="h5netcdf") as draws:
        assert set(np.unique(draws["sample_stats"]["n_steps"])) == {3}
    result = call("sample", "model.py", "--target", "direct", "--out", "b.nc", *short[:4])
    assert result.exit_code == 0, result.output


def test_sample_seeds_and_counts_reach_the_run():
    write(NORMAL)
    for seed, name in ((1, "a.nc"), (1, "b.nc"), (2, "c.nc")):
        counts = ["--chains", 6, "--draws", 20, "--warmup", 10, "--kernel", "random-walk"]
        call("sample", "model.py", *counts, "--seed", seed, "--out", name, "-q")
    a, b, c = (xarray.load_datatree(f"{n}.nc", engine="h5netcdf")["posterior"]["x"].values for n in "abc")
    assert a.shape == (6, 20, 2)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_no_file_is_lost():
    write(NORMAL)
    counts = ["--chains", 4, "--draws", 10, "--warmup", 0, "--kernel", "RandomWalk", "-q"]
    for name in ("posterior.nc", "posterior-2.nc"):
        assert call("sample", "model.py", *counts).stdout.rstrip().endswith(f"Data: {Path(name).resolve()}")
    result = call("sample", "model.py", *counts, "--out", "posterior.nc")
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert call("sample", "model.py", *counts, "--out", "posterior.nc", "--overwrite").exit_code in (0, 1)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, [], "model.py is not a file"),
        ("x = 1\n", [], "defines no mcmc.Target"),
        (TWO, [], "several targets: target, wide. Choose one with --target NAME"),
        (TWO, ["--target", "narrow"], "no target named 'narrow'; its targets: target, wide"),
        ("import os\n1 / 0\n", [], "model.py could not be read: ZeroDivisionError: division by zero"),
        ("def f(:\n", [], "model.py could not be read: SyntaxError"),
        ("import not_installed_anywhere\n", [], "No module named 'not_installed_anywhere'"),
        ("raise SystemExit(0)\n", [], "model.py ended itself"),
        ("import mcmc\nmcmc.Target(3, {})\n", [], "could not be read: TypeError: log_density"),
        (NORMAL, ["--kernel", "gradient-free"], "no kernel is named 'gradient-free'. There are"),
        (NORMAL, ["--kernel", "metropolis_hastings"], "MetropolisHastings needs proposal"),
        (NORMAL, ["--chains", "0"], "chains"),
        (NORMAL, ["--draws", "-1"], "draws"),
        (NORMAL, ["--draws", "2.5"], "--draws"),
        (NORMAL, ["--warmup", "-3"], "warmup"),
        (NORMAL, ["--out", "draws.csv"], "must end in .nc (netCDF) or .zarr"),
        (NORMAL, ["--out", "nowhere/draws.nc"], "there is no folder"),
        (NORMAL.replace("** 2)", '** 2) + p["tau"]'), [], "tau"),
        (NORMAL.replace("** 2)", "** 2) * jnp.nan"), [], "finite"),
    ],
)
def test_sample_refuses_bad_input(text, arguments, message):
    if text is not None:
        write(text)
    result = call("sample", "model.py", *arguments)
    assert result.exit_code == 2, result.output
    assert message in re.sub(r"\s+│?\s*", " ", result.stderr)
    assert result.stdout == ""
    assert not Path("posterior.nc").exists()


def test_an_error_of_the_script_shows_its_line():
    write("def helper():\n    return {}['key']\n\nhelper()\n")
    result = call("sample", "model.py")
    assert result.exit_code == 2
    assert "line 2, in helper" in result.stderr
    assert "importlib" not in result.stderr


@pytest.mark.parametrize("error", ["KeyError('lost')", "AttributeError('lost')", "TypeError('lost')"])
def test_an_error_of_the_log_density_shows_its_line(error):
    write(f"import mcmc\ndef f(p):\n    raise {error}\n\ntarget = mcmc.Target(f, {{'x': mcmc.real()}})\n")
    result = call("sample", "model.py")
    assert result.exit_code == 2
    assert "lost" in result.stderr
    assert "model.py, line 3, in f: raise" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_script_finds_what_lies_beside_it_and_skips_its_main(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    write(NORMAL, folder / "beside_me.py")
    write(
        "from beside_me import target\nif __name__ == '__main__':\n    raise RuntimeError\n",
        folder / "model.py",
    )
    names = vars(main._load(folder / "model.py"))
    assert isinstance(main._target(names, None, folder / "model.py"), mcmc.Target)


def test_one_target_under_two_names_is_one():
    write(NORMAL + "model = target\n")
    names = vars(main._load(Path("model.py")))
    assert main._target(names, None, Path("model.py")) is names["target"]


@pytest.mark.parametrize("name", ["HMC", "hmc", "RandomWalk", "random-walk", "random_walk", "differentialevolution"])
def test_kernels_are_found_by_name(name):
    assert type(main._kernel(name, {})).__name__.lower() == re.sub("[-_]", "", name.lower())


# --- diagnose -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shift", "status"), [(0.0, 0), (3.0, 1)])
def test_diagnose_says_by_its_exit_status(shift, status):
    tree(posterior=normal_draws(shift=shift)).to_netcdf("draws.nc", engine="h5netcdf")
    result = call("diagnose", "draws.nc")
    assert result.exit_code == status
    assert "R-hat" in result.stdout
    assert result.stderr == ""


def test_diagnose_reads_a_zarr_store_as_others_write_it():
    tree(posterior=normal_draws()).to_zarr("draws.zarr", consolidated=False)
    assert call("diagnose", "draws.zarr").exit_code == 0


def test_diagnose_as_json():
    tree(posterior=normal_draws(shift=3.0)).to_netcdf("draws.nc", engine="h5netcdf")
    result = call("diagnose", "draws.nc", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False


def test_diagnose_shows_no_more_rows_than_fit():
    x = np.random.default_rng(2).normal(size=(4, 500, 80))
    tree(posterior={"x": (("chain", "draw", "i"), x)}).to_netcdf("draws.nc", engine="h5netcdf")
    assert "and 30 parameters more" in call("diagnose", "draws.nc").stdout


def make_missing():
    return "nothing.nc"


def make_text():
    return write("chain,draw,x\n", "draws.nc")


def make_empty():
    return write("", "draws.nc")


def make_folder():
    Path("draws.zarr").mkdir()
    return "draws.zarr"


def make_torn():
    tree(posterior=normal_draws()).to_netcdf("whole.nc", engine="h5netcdf")
    Path("draws.nc").write_bytes(Path("whole.nc").read_bytes()[:2000])
    return "draws.nc"


def make_other_groups():
    tree(prior=normal_draws()).to_netcdf("draws.nc", engine="h5netcdf")
    return "draws.nc"


def make_flat():
    tree(posterior={"x": (("sample",), np.zeros(9))}).to_netcdf("draws.nc", engine="h5netcdf")
    return "draws.nc"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (make_missing, "nothing.nc: got nothing there"),
        (make_text, "draws.nc: got a header alone"),
        (make_empty, "draws.nc: got no data; expected one of netcdf"),
        (make_folder, "draws.zarr: got a folder; expected a zarr store"),
        (make_torn, "expected a whole HDF5 file"),
        (make_other_groups, "draws.nc: got groups prior; expected a group 'posterior'"),
        (make_flat, "no dimension chain and no draw"),
    ],
)
def test_diagnose_refuses_what_holds_no_draws(make, message):
    result = call("diagnose", make())
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""


# --- demo and faults ------------------------------------------------------------------------------------


def test_demo_refuses_a_file_for_a_folder():
    Path("taken").write_text("")
    result = call("demo", "--out", "taken")
    assert result.exit_code == 2
    assert "taken is a file" in result.stderr


def test_demo_refuses_bad_counts():
    result = call("demo", "--chains", "0")
    assert result.exit_code == 2
    assert "chains" in result.stderr


def test_a_fault_of_ours_is_neither_a_verdict_nor_bad_input(monkeypatch, capsys):
    def fail(draws, **_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(mcmc, "diagnose", fail)
    tree(posterior=normal_draws()).to_netcdf("draws.nc", engine="h5netcdf")
    monkeypatch.setattr(sys, "argv", ["mcmc", "diagnose", "draws.nc"])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 3
    assert "ZeroDivisionError: ours" in capsys.readouterr().err
