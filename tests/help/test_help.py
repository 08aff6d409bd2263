"""Every code of the verdict and of the errors has a page, no page is without a code, and texts name their pages."""

import ast
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mcmc
from mcmc import errors, help
from mcmc.calibration.sbc import Calibration
from mcmc.cli.main import app
from mcmc.readers.limits import LimitError, ReadError
from mcmc.target.data import DataTypeError
from mcmc.user_code import MissingName

PACKAGE = Path(mcmc.__file__).parent
DOCS = PACKAGE.parent / "docs"
SEVERITIES = {"error", "warning", "info"}
OF_CODE = {"Check", "_ensemble_check", "_effective_size"}


def kinds(root):
    return {root}.union(*(kinds(kind) for kind in root.__subclasses__()))


def codes_of_checks():
    """The first string that each call which makes a check is given, and the keys of the effective sizes."""
    found = {"ess_bulk", "ess_tail", "ess_square"}
    for path in (PACKAGE / "diagnostics").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OF_CODE:
                texts = [a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                found.update(texts[:1])
    return found - SEVERITIES


def codes_of_errors():
    results = {result.code for result in errors.Result if result}
    return {kind.code for kind in kinds(errors.WithPage)} | results | set(errors.ARGUMENTS)


def codes_of_verdicts():
    """The first code of each line that a verdict other than `diagnose`'s ends with."""
    texts = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    return set(re.findall(r"""\bmore\(["'](\w+)["']""", texts)) - {"rhat"}


def test_every_code_has_a_page_and_no_page_is_without_a_code():
    assert {ReadError, LimitError, MissingName, DataTypeError} <= kinds(errors.WithPage)
    assert codes_of_verdicts() == {"evidence", "cross_validation", "calibration", "comparison"}
    assert codes_of_checks() | codes_of_errors() | codes_of_verdicts() == set(help.codes())


def test_a_diagnosis_has_no_other_codes():
    x = np.random.default_rng(0).normal(size=(20, 200, 2))
    verdict = mcmc.diagnose({"posterior": {"x": x, "k": x[..., 0] > 0}})
    assert {check.code for check in verdict.checks} <= codes_of_checks()


@pytest.mark.parametrize("code", help.codes())
def test_a_page_says_what_why_and_what_to_do(code):
    text = help.page(code)
    assert re.match(rf"# {code}: [^\n]+\n", text)
    assert all(part in text for part in ("**Seen.**", "**Why.**", "**What to do.**\n\n1. "))
    for name in re.findall(r"mcmc explain (\w+)", text):
        assert name in help.codes()
    for link in re.findall(r"\]\(\.\./([^)#]+)", text):
        assert (DOCS / link).is_file(), link
    for name in re.findall(r"\bmcmc\.(\w+)\(", text):
        assert hasattr(mcmc, name), name


def test_a_failing_verdict_names_its_pages_and_a_good_one_does_not():
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(4, 500)) + 9 * (np.arange(4) % 2)[:, None]
    verdict = mcmc.diagnose({"posterior": {"x": apart}})
    codes = " ".join(check.code for check in verdict.failures)
    assert f"More: mcmc explain {codes}\n" in str(verdict)
    assert f"mcmc explain {codes}" in verdict._repr_html_()
    good = mcmc.diagnose({"posterior": {"x": rng.normal(size=(4, 1000))}})
    assert good.ok
    assert "mcmc explain" not in str(good) + good._repr_html_()


def test_other_verdicts_name_their_pages_where_they_fail():
    rng = np.random.default_rng(0)
    good = {"posterior": {"x": rng.normal(size=(4, 500))}}
    apart = {"posterior": {"x": rng.normal(size=(4, 500)) + 9 * (np.arange(4) % 2)[:, None]}}
    found = mcmc.compare(good, apart)
    codes = " ".join(check.code for check in mcmc.diagnose(apart).failures if check.severity == "error")
    assert str(found).endswith(f"\n  More: mcmc explain comparison {codes}")
    assert "mcmc explain" not in str(mcmc.compare(good, good))
    ranks = np.zeros((50, 1), int)
    wrong = Calibration(("x",), ranks, 10, 0.01, np.array([1e-9]))
    assert str(wrong).endswith("\n  More: mcmc explain calibration")


def test_errors_name_their_page_once():
    error = mcmc.InitializationError("No finite start.")
    assert str(error) == "No finite start. (More: mcmc explain initialization)"
    assert str(mcmc.SamplingError(f"Of another: {error}")).count("mcmc explain") == 1
    assert mcmc.SamplingError("+inf", code="infinite").code == "infinite"
    assert str(mcmc.SamplingError("+inf", code="infinite")).endswith("(More: mcmc explain infinite)")
    with pytest.raises(ValueError, match="mcmc explain read"):
        mcmc.read(__file__)
    with pytest.raises(TypeError, match="mcmc explain traced"):
        mcmc.sample(mcmc.Target(lambda p: -abs(float(p["x"])), {"x": mcmc.real()}))
    with pytest.raises(ValueError, match="mcmc explain missing_name"):
        mcmc.sample(mcmc.Target(lambda p: -(p["y"] ** 2), {"x": mcmc.real()}))


def nothing(p):
    return -(p["x"] ** 2)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: mcmc.sample(mcmc.Target(nothing, {"x": mcmc.real()}), draws=-3), "settings"),
        (lambda: mcmc.sample(mcmc.Target(nothing, {"x": mcmc.real()}), seed=0.5), "settings"),
        (lambda: mcmc.sample(mcmc.Target(nothing, {"x": mcmc.real()}), kernel="nuts"), "kernel"),
        (lambda: mcmc.sample(mcmc.Target(nothing, {"x": mcmc.real()}), init={"y": 1.0}, progress=False), "init"),
        (lambda: mcmc.sample(mcmc.Target(nothing, {"x": mcmc.real()}), num_samples=3), "argument"),
        (lambda: mcmc.Target(nothing, {"x": 3}), "target"),
        (lambda: mcmc.interval(1, 0), "target"),
        (lambda: mcmc.Target(nothing, {"x": mcmc.real()}, data=[None]), "data"),
        (lambda: mcmc.from_numpyro(3), "model"),
        (lambda: mcmc.InverseCDF.fit(nothing, support=3), "target"),
        (lambda: mcmc.reparam.gamma(0, -1.0), "argument"),
        (lambda: mcmc.rhat(np.zeros(3)), "argument"),
        (lambda: mcmc.diagnose({"prior": {}}), "argument"),
    ],
)
def test_errors_of_arguments_name_the_page_of_their_kind(call, code):
    with pytest.raises((ValueError, TypeError), match=rf"\(More: mcmc explain {code}\)$") as caught:
        call()
    assert caught.value.code == code
    again = pickle.loads(pickle.dumps(caught.value))  # as a worker hands it to its parent
    assert (str(again), again.code, type(again)) == (str(caught.value), code, type(caught.value))


def test_the_command_shows_pages_and_lists_them():
    run = CliRunner().invoke
    shown = run(app, ["explain", "divergences", "ebfmi,"])
    assert shown.exit_code == 0
    assert "# divergences: draws that diverge" in shown.stdout
    assert "# ebfmi" in shown.stdout
    assert "](" not in shown.stdout
    assert [line.split()[0] for line in run(app, ["explain"]).stdout.splitlines()] == list(help.codes())


def test_an_unknown_code_is_told_its_neighbours():
    failed = CliRunner().invoke(app, ["explain", "divergence"])
    assert failed.exit_code == 2
    assert "Did you mean divergences?" in failed.stderr
    assert "modes" in CliRunner().invoke(app, ["explain", "several"]).stderr
