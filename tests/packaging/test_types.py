"""What a type checker makes of a user's script, where the package is installed from its wheel."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("user_script.py")
REVEALED = {
    "mcmc.sample(target)": "DataTree",
    "verdict": "Diagnosis",
    "x": "Array",
    "tokens": "Array",
    "rates": "Array",
    "normal": "InverseCDF",
    "walk": "Gibbs",
}
WRONG = """
import mcmc
target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
mcmc.sample(target, chain=4)
mcmc.HMC(step=0.1)
mcmc.diagnose(mcmc.sample(target), r_hat=1.01)
mcmc.no_such_name
"""


def pyright(installed, folder, text):
    """The diagnostics of a script in a folder of its own, in strict mode."""
    (folder / "script.py").write_text(text)
    config = {"include": ["."], "typeCheckingMode": "strict", "reportUnknownMemberType": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(installed.bin / "python")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return json.loads(done.stdout)["generalDiagnostics"]


def test_a_typed_script_has_no_errors_and_the_types_it_should(installed, tmp_path):
    found = pyright(installed, tmp_path, SCRIPT.read_text())
    assert [each for each in found if each["severity"] != "information"] == []
    said = [each["message"] for each in found]
    assert said == [f'Type of "{name}" is "{kind}"' for name, kind in REVEALED.items()]
    assert installed.run("python", "-P", "-W", "ignore", tmp_path / "script.py", folder=tmp_path).split()


def test_a_wrong_name_is_an_error_before_the_script_runs(installed, tmp_path):
    found = pyright(installed, tmp_path, WRONG)
    errors = {each["range"]["start"]["line"]: each["message"] for each in found if each["severity"] == "error"}
    for line, name in [(3, "chain"), (4, "step"), (5, "r_hat"), (6, "no_such_name")]:
        assert f'"{name}"' in errors[line]
