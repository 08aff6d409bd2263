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


@pytest.fixture(scope="module")
def found(installed, tmp_path_factory):
    """What one run of pyright reports of both scripts: (script, severity, line, message)."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "user_script.py").write_text(SCRIPT.read_text())
    (folder / "wrong.py").write_text(WRONG)
    # strict, but for functions of other libraries whose types are incomplete
    lenient = dict.fromkeys(("reportUnknownMemberType", "reportUnknownVariableType"), False)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", **lenient}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(installed.bin / "python")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    return [
        (Path(each["file"]).name, each["severity"], each["range"]["start"]["line"], each["message"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
    ]


def test_a_typed_script_has_no_errors_and_the_types_it_should(found):
    said = [(severity, message) for name, severity, _, message in found if name == "user_script.py"]
    assert said == [("information", f'Type of "{name}" is "{kind}"') for name, kind in REVEALED.items()]


def test_a_wrong_name_is_an_error_before_the_script_runs(found):
    errors = {line: message for name, severity, line, message in found if (name, severity) == ("wrong.py", "error")}
    for line, name in [(3, "chain"), (4, "step"), (5, "r_hat"), (6, "no_such_name")]:
        assert f'"{name}"' in errors[line]


def test_the_typed_script_runs(installed, tmp_path):
    assert installed.run("python", "-P", "-W", "ignore", SCRIPT, folder=tmp_path) in ("True\n", "False\n")
