"""The benchmarks run and write what they promise; how fast anything is, is not tested here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

pytestmark = pytest.mark.slow


def run(tmp_path, name, *arguments):
    """Run a benchmark in its quick form; what it wrote and what it printed."""
    out = tmp_path / f"{name}.json"
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--out", str(out), *arguments]
    environment = {**os.environ, "MCMC_COMPILATION_CACHE": str(tmp_path / "cache"), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert {"about", "machine", "rows"} <= set(result)
    assert {"cpu", "cores", "platform", "python", "versions"} <= set(result["machine"])
    return result, done.stdout


def test_random_walk(tmp_path):
    result, printed = run(tmp_path, "random_walk", "--chains", "1", "20")
    assert {row["chains"] for row in result["rows"]} == {1, 20}
    own = [row for row in result["rows"] if row["what"].startswith(("mcmc", "numpy", "floor"))]
    assert len({row["what"] for row in own}) == 7
    assert len(own) == 14
    assert all(row["ns"] > 0 for row in own)
    assert all("ns" in row or row["note"] for row in result["rows"])
    assert [row["chains"] for row in result["ratios"]] == [1, 20]
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
    command = [sys.executable, str(BENCHMARKS / "report.py"), "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "HMC, eight schools" in done.stdout


def test_categorical(tmp_path):
    result, printed = run(tmp_path, "categorical")
    assert {row["rows"] for row in result["ratios"]} == {1, 4}
    assert "top-p: sort" in printed
