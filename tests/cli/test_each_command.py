"""`mcmc sample model.py --each table`: the draws of Python, one table of summaries, a verdict as exit status."""

import sys

import numpy as np
import pandas
import pytest
from typer.testing import CliRunner

import mcmc
from mcmc.cli.main import app
from mcmc.each.table import data_of

MODEL = """
import numpy as np
import mcmc

def log_density(p, data):
    mean = p["a"] + p["b"] * data["x"]
    return -0.5 * (p["a"] ** 2 + p["b"] ** 2) - 0.5 * (((data["y"] - mean) / data["sd"]) ** 2).sum()

target = mcmc.Target(log_density, {"a": mcmc.real(), "b": mcmc.real()},
                     data={"x": np.zeros(3), "y": np.zeros(3), "sd": 1.0})
"""
names = {}
exec(MODEL, names)
TARGET = names["target"]


def table():
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"star": np.repeat([11, 4, 7], 3), "x": rng.normal(size=9), "y": rng.normal(size=9)})
    return frame.assign(sd=np.repeat([1.0, 2.0, 0.5], 3))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mcmc"])
    (tmp_path / "model.py").write_text(MODEL)
    table().to_csv(tmp_path / "data.csv", index=False)
    return tmp_path


def test_a_table_of_data_sets_gives_a_table_of_summaries(files):
    pytest.importorskip("pyarrow")
    table().to_parquet(files / "data.parquet")
    arguments = ["sample", "model.py", "--each", "data.parquet", "--by", "star", "--draws", "100", "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--seed", "5", "--out", "all.parquet"])
    assert done.exit_code == 0, done.output
    assert "all 3 data sets" in done.output
    found = pandas.read_parquet(files / "all.parquet")
    assert list(found["dataset"]) == [11, 11, 4, 4, 7, 7]
    assert list(found["parameter"]) == ["a", "b"] * 3
    assert found["ok"].all()
    data, labels = data_of(table(), TARGET, "star")
    draws = mcmc.sample_each(TARGET, data, index=labels, draws=100, seed=5, progress=False)
    means = draws.posterior.mean(("chain", "draw"))
    np.testing.assert_allclose(found["mean"], np.stack([means["a"], means["b"]], 1).reshape(-1))
    one, label = data_of(table()[table()["star"] == 4], TARGET, "star")
    alone = mcmc.sample_each(TARGET, one, index=label, draws=100, seed=5, progress=False)
    np.testing.assert_array_equal(alone.posterior["a"].values[0], draws.posterior["a"].values[1])


def test_a_data_set_that_fails_is_status_1_and_draws_can_be_kept(files):
    frame = table()
    frame.loc[4, "y"] = np.nan
    frame.to_csv(files / "data.csv", index=False)
    arguments = ["sample", "model.py", "--each", "data.csv", "--by", "star", "--draws", "100", "--quiet"]
    done = CliRunner().invoke(app, [*arguments, "--out", "all.csv", "--store", "run.zarr"])
    assert done.exit_code == 1, done.output
    found = pandas.read_csv(files / "all.csv")
    assert list(found.loc[~found["ok"], "dataset"]) == [4, 4]
    assert mcmc.open(files / "run.zarr").posterior["a"].shape == (3, 16, 100)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--each", "none.csv"], "not a file"),
        (["--each", "data.csv", "--by", "planet"], "no column planet"),
        (["--each", "data.csv", "--out", "all.nc"], "must end in .parquet or .csv"),
        (["--each", "model.py"], "a .parquet or .csv file"),
    ],
)
def test_what_is_wrong_is_said(files, arguments, says):
    done = CliRunner().invoke(app, ["sample", "model.py", *arguments])
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())


def test_a_row_a_data_set_with_lists_in_its_cells():
    frame = pandas.DataFrame({"x": [[1.0, 2.0], [3.0]], "y": [[0.0, 1.0], [2.0]], "sd": [1.0, 2.0]})
    data, labels = data_of(frame, TARGET)
    assert list(labels) == [0, 1]
    np.testing.assert_array_equal(data[1]["x"], [3.0])
    assert data[1]["sd"] == 2.0
    uneven = table().assign(sd=np.arange(9.0))
    with pytest.raises(ValueError, match="one value of sd"):
        data_of(uneven, TARGET, "star")


def test_rows_without_a_label_are_not_taken_for_data_sets():
    with pytest.raises(ValueError, match=r"a number in each row of x.*--by"):
        data_of(table(), TARGET)
