"""The benchmarks run and write what they promise; how fast anything is, is not tested here."""

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HASTE = "--xla_backend_optimization_level=0"  # no speed is tested here: programs that compile sooner do

pytestmark = pytest.mark.slow


def script(name, *arguments):
    """Run a benchmark as the script that it is, in this process; what it printed."""
    command = [str(BENCHMARKS / f"{name}.py"), *map(str, arguments)]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), io.StringIO() as printed:
        warnings.simplefilter("ignore")
        patch.setattr(sys, "argv", command)
        patch.syspath_prepend(BENCHMARKS)
        patch.setenv("JAX_PLATFORMS", "cpu")
        patch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} {HASTE}")  # of its children
        with contextlib.redirect_stdout(printed):
            runpy.run_path(command[0], run_name="__main__")
        return printed.getvalue()


def run(tmp_path, name, *arguments):
    """Run a benchmark in its quick form; what it wrote and what it printed."""
    out = tmp_path / f"{name}.json"
    printed = script(name, "--quick", "--out", out, *arguments)
    result = json.loads(out.read_text())
    assert {"about", "machine", "rows"} <= set(result)
    assert {"cpu", "cores", "platform", "python", "versions"} <= set(result["machine"])
    return result, printed


def test_random_walk(tmp_path):
    result, printed = run(tmp_path, "random_walk", "--chains", 20)
    assert {row["chains"] for row in result["rows"]} == {20}
    own = [row for row in result["rows"] if row["what"].startswith(("mcmc", "numpy", "floor"))]
    assert len({row["what"] for row in own}) == 7
    assert len(own) == 7
    assert all(row["ns"] > 0 for row in own)
    assert all("ns" in row or row["note"] for row in result["rows"])
    assert [row["chains"] for row in result["ratios"]] == [20]
    assert "ns per chain-step" in printed


def test_cold_start(tmp_path):
    result, printed = run(tmp_path, "cold_start", "--only", "mcmc")
    assert [row["cache"] for row in result["rows"]] == ["none", "empty", "warm"]
    for row in result["rows"]:
        assert "note" not in row, row["note"]
        assert row["right"]
        assert row["seconds"] > 0
        assert {"import", "compile", "warmup", "sampling", "diagnosis", "start and exit"} <= set(row["parts"])
        assert {"bulk_ess", "square_ess", "own_ess", "mean", "sd", "enough"} <= set(row)
    assert "warm" in printed


def test_cold_start_without_the_peers(tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    python = str(bare / "bin/python")
    result, _ = run(tmp_path, "cold_start", "--only", "emcee", "nutpie", "--peers-python", python)
    assert len(result["rows"]) == 3
    assert {row["note"] for row in result["rows"]} == {"not installed"}


def test_overhead_and_report(tmp_path):
    result, printed = run(tmp_path, "overhead", "--chains", "4", "--draws", "100")
    assert len(result["rows"]) == 3
    for row in result["rows"]:
        assert row["draws"] == 100
        assert all(row[name] > 0 for name in ("whole", "sampling", "touched", "program", "fixed", "tree", "diagnosis"))
        assert {"copies", "checks", "progress", "tracing", "starts", "overhead", "overhead_touched"} <= set(row)
        assert row["whole"] == pytest.approx(row["sampling"] + row["fixed"])
        assert 0 < row["fixed_share"] < 1
    assert "Overhead of sampling" in printed
    assert "HMC, eight schools" in script("report", "--results", tmp_path)


def test_discrete(tmp_path):
    result, printed = run(tmp_path, "discrete", "--values", 100)
    assert [row["what"].split()[0] for row in result["rows"]] == [
        "floor:",
        "mcmc.Discrete,",
        "mcmc.Discrete,",
        "numpy",
        "scipy",
        "jax.random.choice",
        "jax.random.categorical",
    ]
    assert all(row["rate"] > 0 for row in result["rows"])
    assert "M draws/s" in printed


def test_categorical(tmp_path):
    result, printed = run(tmp_path, "categorical", "--rows", 4)
    assert {(row["rows"], row["tokens"]) for row in result["ratios"]} == {(4, 5000)}
    assert all("ms" in row or row["note"] for row in result["rows"])
    assert "top-p: sort" in printed


def test_geometry(tmp_path):
    result, printed = run(tmp_path, "geometry", "--only", "funnel", "--tools", "mcmc", "walnutpie")
    assert [row["tool"] for row in result["rows"]] == ["mcmc, auto", "mcmc, affine", "walnutpie: WALNUTS"]
    auto, affine, walnutpie = result["rows"]
    assert auto["per_effective"] < affine["per_effective"] / 10
    assert auto["geometry"] == "x[0] scales x[1..9]"
    assert affine["geometry"] == "affine"
    for row in (auto, affine):
        assert row["gradients"] > 0
        assert row["runs"] == 1
    assert walnutpie.get("note") == "not installed" or walnutpie["gradients"] > 0
    assert "gradients per effective draw" in printed
    assert "| funnel |" in script("report", "--results", tmp_path)


def test_large(tmp_path):
    result, printed = run(tmp_path, "large", "--only", "many_rows", "--tools", "mcmc")
    (row,) = result["rows"]
    assert row["ess"] > 300
    assert row["gradients"] > row["draws"] * row["chains"]
    assert row["plain_gradient"] > 0
    assert "s to ESS 400" in printed
