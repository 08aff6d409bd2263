"""`mcmc new`: the project works as it is written, with `mcmc sample`, with Python and in a notebook."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import unconverged
from typer.testing import CliRunner

import mcmc
from mcmc.cli.main import app


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    done = CliRunner().invoke(app, ["new", "nebulae", "--notebook"])
    assert done.exit_code == 0, done.output
    assert "cd nebulae && mcmc sample model.py" in done.stdout
    monkeypatch.chdir("nebulae")
    return tmp_path / "nebulae"


def test_it_samples_at_once_and_is_right(project):
    assert {path.name for path in project.iterdir()} == {"model.py", "data.csv", "README.md", "model.ipynb"}
    done = CliRunner().invoke(app, ["sample", "model.py", "--quiet"])
    assert done.exit_code == 0, done.output
    assert "Good: every check made passed" in done.stdout
    with np.errstate(all="raise"):
        table = np.genfromtxt("data.csv", delimiter=",", names=True)
    x, y = table["distance"], table["velocity"]
    fit = np.polyfit(x, y, 1)
    assert np.allclose(fit, (454.16, -40.78), atol=0.01)  # Hubble's line
    draws = mcmc.read("posterior.nc")
    assert abs(float(draws["posterior"]["slope"].mean()) - fit[0]) < 8  # the prior draws it to 0 a little
    assert draws["posterior_predictive"]["velocity"].shape[-1] == 24


def test_the_script_and_the_notebook_run(project, capsys):
    quick = {"draws": 40, "warmup": 100, "progress": False}
    script = Path("model.py").read_text().replace("seed=1", "seed=1, **quick")
    with unconverged():
        exec(compile(script, "model.py", "exec"), {"__name__": "__main__", "__file__": "model.py", "quick": quick})
    assert "slope" in capsys.readouterr().out
    assert {"posterior.nc", "posterior.png"} <= {path.name for path in project.iterdir()}
    notebook = json.loads(Path("model.ipynb").read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    names: dict = {"quick": quick}
    sys.path.insert(0, ".")
    with unconverged():
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and "plot" not in "".join(cell["source"]):
                exec("".join(cell["source"]).replace("seed=1", "seed=1, **quick"), names)
    sys.modules.pop("model")


def test_nothing_is_overwritten(project):
    (project / "model.py").write_text("mine")
    done = CliRunner().invoke(app, ["new", str(project)])
    assert done.exit_code == 2
    assert "not empty" in done.stderr
    assert (project / "model.py").read_text() == "mine"
