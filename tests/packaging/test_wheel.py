"""A wheel holds all that is needed, and works without the repository."""

import json

import pytest
from conftest import REPOSITORY

pytestmark = pytest.mark.slow

SCRIPT = """
import json
from mcmc import Target, diagnose, positive, real, report, sample
import mcmc
target = Target(lambda p: -0.5 * (p["x"] / p["s"]) ** 2 - p["s"], {"x": real(), "s": positive()})
draws = sample(target, chains=16, draws=20, warmup=50, progress=False)
report(draws, "report.html")
print(json.dumps({"file": mcmc.__file__, "version": mcmc.__version__, "verdict": str(diagnose(draws))}))
"""


def test_the_wheel_holds_every_file_of_the_package(installed):
    files = [path for path in (REPOSITORY / "mcmc").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    held = {str(path.relative_to(REPOSITORY)) for path in files}
    assert {"mcmc/py.typed", "mcmc/__init__.pyi", "mcmc/service/template/run.html"} <= held
    assert {name for name in installed.names if ".dist-info/" not in name} == held


def test_it_runs_without_the_repository(installed, tmp_path):
    out = installed.run("python", "-P", "-W", "ignore", "-c", SCRIPT, folder=tmp_path)
    said = json.loads(out.splitlines()[-1])
    assert said["file"].startswith(str(installed.site))
    assert (installed.site / f"mcmc-{said['version']}.dist-info").is_dir()
    assert "16 chains" in said["verdict"]
    assert "<html" in (tmp_path / "report.html").read_text()


def test_the_demo_runs_without_the_repository(installed, tmp_path):
    out = installed.run("mcmc", "demo", folder=tmp_path)
    assert "Good: every check made passed" in out
    assert {"eight_schools.nc", "eight_schools.png"} <= {path.name for path in (tmp_path / "mcmc-demo").iterdir()}
