"""The benchmarks of size and devices run and write what they promise, in their smallest form."""

import subprocess
import sys

import numpy as np
import pytest
from test_benchmarks import BENCHMARKS, run

pytestmark = pytest.mark.slow


def imported(name):
    """A benchmark as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return __import__(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_scaling(tmp_path):
    result, printed = run(tmp_path, "scaling", "--tools", "mcmc", "--sweeps", "draws", "stages")
    assert [row["size"] for row in result["rows"]] == [100, 1000, 200, 400]
    for row in result["rows"]:
        assert "note" not in row, row["note"]
        assert row["seconds"] > 0
        assert row["compiling"] > 0
        assert row["cpu"] > 0
        assert row["peak MB"] >= row["MB before"] > 0
        assert row["parts"]["sampling"] > 0
    assert {(s["sweep"], s["of"]) for s in result["slopes"]} >= {("draws", "seconds"), ("stages", "plot")}
    assert "slope of seconds" in printed
    assert "resume, 10 draws" in printed


def test_scaling_without_the_peers(tmp_path):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    arguments = ["--tools", "numpyro", "blackjax", "--sweeps", "draws", "--peers-python", str(bare / "bin/python")]
    result, _ = run(tmp_path, "scaling", *arguments)
    assert {row["note"] for row in result["rows"]} == {"not installed"}
    assert result["slopes"] == []


def test_a_slope_is_that_of_the_last_two_decades():
    slope = imported("scaling").slope
    sizes = [1, 10, 100, 1000, 10_000]
    assert slope(sizes, [5.0, 5.0, 1.0, 10.0, 100.0]) == pytest.approx(1.0)
    assert slope(sizes, [1.0, 1.0, 1.0, 100.0, 1e4]) == pytest.approx(2.0)
    assert slope([10], [1.0]) is None


def test_what_would_take_too_long_is_foreseen():
    forecast = imported("scaling").forecast
    assert forecast([], 100) == 0.0
    assert forecast([{"size": 10, "seconds": 3.0}, {"size": 100, "note": "left out"}], 1000) == pytest.approx(300.0)
    assert forecast([{"size": 10, "note": "took longer than 80 s", "least": 80.0}], 100) == pytest.approx(800.0)


def test_devices(tmp_path):
    result, printed = run(tmp_path, "devices")
    assert [row["case"] for row in result["rows"]] == ["one core", "two host devices", "default"]
    assert result["rows"][1]["devices"].startswith("2 x")
    assert result["equal bit for bit"]
    for row in result["rows"]:
        assert row["seconds"] == pytest.approx(row["warmup"] + row["sampling"])
        assert row["ratio"] > 0
        assert len(row["draws"]) == 1
    assert "times as fast" in printed


def test_resume(tmp_path):
    result, printed = run(tmp_path, "devices", "--resume")
    whole, broken, resumed = result["rows"]
    assert (whole["done"], resumed["done"]) == (40, 40)
    assert 0 < broken["done"] < 40
    assert result["equal bit for bit"]
    assert all(row["call"] > 0 and row["process"] > row["call"] for row in result["rows"])
    assert np.isfinite(result["added, call"])
    assert "stopped halfway" in printed


def test_a_walk_in_registers_ends_where_the_scan_does(tmp_path):
    result, printed = run(tmp_path, "pallas_walk")
    assert {row["law"] for row in result["rows"]} == {"normal", "funnel"}
    for row in result["rows"]:
        assert row["equal"] == 1.0
        assert row["moved"] > 0.5
    assert "no GPU" in printed
    assert "no GPU" in result["note"]


def test_stopping(tmp_path):
    result, printed = run(tmp_path, "stopping")
    assert len(result["rows"]) == 5
    for row in result["rows"]:
        assert row["wrong"] <= row["stopped"] <= row["runs"] == 4
        assert row["seconds"] > 0
        assert row["draws"] > 0
    assert "stopped" in printed
