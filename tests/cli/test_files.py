"""`mcmc diagnose FILE...` and `mcmc compare A B`, as a user calls them."""

import json

import files
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from mcmc.cli import files as commands

GOOD = files.drawn(4, 400, 3, seed=1)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments):
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(commands.diagnose)
    app.command()(commands.compare)
    app.command()(commands.report)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize("name", ["netcdf", "zarr", "packed npz", "emcee", "csv", "parquet"])
def test_diagnose_takes_every_format(folder, name):
    result = call("diagnose", files.one_of_each(folder, GOOD)[name])
    assert result.exit_code == 0, result.output
    assert "Good: every check made passed (4 chains x 400 draws, 3 parameters)" in result.stdout
    assert "4 chains x 400 draws, 3 parameters" in result.stdout.splitlines()[-1]
    assert result.stderr == ""


def test_diagnose_takes_a_file_a_chain(folder):
    paths = [files.cmdstan(folder / f"{c}.csv", ["a", "b.1", "b.2"], GOOD[c]) for c in range(4)]
    assert "4 chains x 400 draws" in call("diagnose", *paths).stdout
    files.getdist(folder / "root", GOOD[:, :, :2], np.ones(GOOD.shape[:2]))
    assert "4 chains x 400 draws, 2 parameters" in call("diagnose", "root").stdout


def test_diagnose_takes_parts_of_a_file(folder):
    header = "mu,tau,lp__"
    np.savetxt(folder / "wide.csv", GOOD.reshape(-1, 3), delimiter=",", header=header, comments="")
    asked = call("diagnose", "wide.csv")
    assert asked.exit_code == 2
    assert "--chains" in asked.stderr
    found = call("diagnose", "wide.csv", "--chains", "4", "--burn", "0.25", "--thin", "3", "--vars", "mu", "--json")
    answer = json.loads(found.stdout)
    assert (answer["chains"], answer["draws"], [row["parameter"] for row in answer["table"]]) == (4, 100, ["mu"])
    assert "100 draws of each chain dropped as burn-in" in answer["understood"]
    text = call("diagnose", "wide.csv", "--chains", "4", "--exclude", "mu", "--format", "wide")
    assert "sample_stats: lp" in text.stdout.splitlines()[-1]
    assert "1 of 2 variables" in text.stdout.splitlines()[-1]
    for wrong in (["--burn", "400"], ["--burn", "1.5"], ["--vars", "nu"], ["--chains", "3"], ["--format", "npz"]):
        assert call("diagnose", "wide.csv", "--chains", "4", *wrong).exit_code == 2


def test_diagnose_says_on_stderr_what_was_left_out(folder):
    files.getdist(folder / "root", [GOOD[0, :, :2], GOOD[1, :390, :2]], [np.ones(400), np.ones(390)])
    assert "the first 390 of each are kept" in call("diagnose", "root").stderr


def test_diagnose_judges_by_the_thresholds_given(folder):
    np.savez("a.npz", x=GOOD)
    assert call("diagnose", "a.npz", "--ess", "5000").exit_code == 1
    assert call("diagnose", "a.npz", "--rhat", "1.0").exit_code == 1
    assert call("diagnose", "a.npz", "--ess", "-1").exit_code == 2


def test_diagnose_as_json_and_quick(folder):
    np.savez("a.npz", x=GOOD)
    for options in (["--json"], ["--format", "json"]):
        assert json.loads(call("diagnose", "a.npz", *options).stdout)["ok"] is True
    assert json.loads(call("diagnose", "a.npz", "--json", "--quick").stdout)["quick"] is True


def test_diagnose_as_a_page(folder):
    np.savez("a.npz", x=GOOD)
    result = call("diagnose", "a.npz", "--format", "html", "--out", "page.html")
    assert result.exit_code == 0
    assert str(folder / "page.html") in result.stdout.replace("\n", "")
    assert (folder / "page.html").read_text().lstrip().lower().startswith("<!doctype html")


def test_diagnose_names_what_emcee_leaves_without_names(folder):
    files.emcee(folder / "a.h5", GOOD)
    assert "rate" in call("diagnose", "a.h5", "--names", "mu,sigma,rate").stdout


@pytest.mark.parametrize("arguments", [["none.nc"], ["a.npz", "a.npz"], ["a.npz", "--from", "csv"], ["."], ["bad.csv"]])
def test_diagnose_says_what_is_wrong_with_a_file(folder, arguments):
    np.savez("a.npz", x=GOOD)
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    result = call("diagnose", *arguments)
    assert result.exit_code == 2, result.output
    assert arguments[0] in result.stderr
    assert result.stdout == ""


def test_compare_says_by_its_exit_status(folder):
    np.savez("a.npz", x=GOOD)
    np.savez("b.npz", x=files.drawn(4, 300, 3, seed=2))
    np.savez("c.npz", x=files.drawn(4, 300, 3, seed=3) + np.array([0, 1, 0]))
    same, other = call("compare", "a.npz", "b.npz"), call("compare", "a.npz", "c.npz")
    assert (same.exit_code, other.exit_code) == (0, 1), same.output + other.output
    assert "The runs agree (3 parameters, 15 tests" in same.stdout
    assert "The runs differ: x[1]" in other.stdout
    assert other.stdout.splitlines()[1].startswith("x[1]")  # the worst first
    assert json.loads(call("compare", "a.npz", "c.npz", "--json").stdout)["differing"] == ["x[1]"]
    assert call("compare", "a.npz", "none.npz").exit_code == 2


def test_one_of_many_data_sets_is_chosen_by_its_number(folder):
    import xarray

    x = np.random.default_rng(0).normal(size=(3, 4, 200)) + np.array([0.0, 0.0, 5.0])[:, None, None]
    posterior = xarray.Dataset({"x": (("dataset", "chain", "draw"), x)}, coords={"dataset": [11, 4, 7]})
    xarray.DataTree.from_dict({"posterior": posterior}).to_netcdf("many.nc", engine="h5netcdf")
    for command in (
        ("report", "many.nc"),
        ("compare", "many.nc", "many.nc"),
        ("diagnose", "many.nc", "--format", "html"),
    ):
        result = call(*command)
        assert result.exit_code == 2, result.output
        assert "--dataset 11" in result.stderr.replace("\n", " ")
    assert call("report", "many.nc", "--dataset", "7").exit_code == 0
    assert (folder / "report.html").exists()
    assert "4 chains x 200 draws, 1 parameter" in call("diagnose", "many.nc", "--dataset", "7").stdout
    assert "11" in call("diagnose", "many.nc", "--dataset", "5").stderr
