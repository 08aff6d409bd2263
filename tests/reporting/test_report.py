"""The page as text: verdict first, nothing from outside, everything escaped, any run."""

import base64
import doctest
import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest
import xarray
from pages import Page, draws, troubled

from mcmc.diagnostics import diagnose
from mcmc.reporting import page, pages, report

EVIL = "<script>alert(1)</script>"


def test_it_writes_a_page_and_returns_its_path(tmp_path):
    place = report(draws(mu=(), theta=(3,)), str(tmp_path / "run.html"), title="My run")
    assert place == tmp_path / "run.html"
    found = Page(place.read_text(encoding="utf-8"))
    assert "My run" in found.words[""]
    assert [row[0] for row in found.table("parameters")] == ["mu", "theta[0]", "theta[1]", "theta[2]"]


def test_the_verdict_comes_first_with_what_to_do_next():
    run = troubled()
    verdict = diagnose(run)
    found = Page(page(run, verdict=verdict))
    sections = [attrs["id"] for tag, attrs in found.tags if tag == "section"]
    assert sections == ["verdict", "next", "worst", "pictures", "forest", "parameters", "checks", "run"]
    assert found.words["verdict"].strip().startswith("Do not use these draws")
    for check in verdict.failures:
        assert check.message[1:] in found.words["verdict"]
        assert check.advice in found.words["next"]
    assert "Not checked: max_tree_depth" in found.words["next"]
    assert found.table("worst")[0][:2] == ["tau", "rhat, ess_bulk, ess_tail, ess_square"]


def test_a_good_run_says_so():
    found = Page(page(draws(length=1000, mu=())))
    assert found.words["verdict"].split()[0] == "Good"
    assert "Nothing needs to be done" in found.words["next"]
    assert "4 chains of 1000 draws, 1 parameter" in found.words["verdict"]


def test_the_table_holds_the_numbers_of_the_diagnosis():
    run = troubled()
    verdict = diagnose(run)
    found = Page(page(run))
    titles = found.rows["parameters"][0]
    rows = {row[0]: dict(zip(titles, row, strict=True)) for row in found.table("parameters")}
    assert list(rows) == list(verdict.table.index)
    for name, row in rows.items():
        expected = verdict.table.loc[name]
        assert float(row["mean"]) == pytest.approx(expected["mean"], rel=1e-3)
        assert float(row["R-hat"]) == pytest.approx(expected["r_hat"], abs=6e-4)
        assert float(row["bulk ESS"].replace(",", "")) == pytest.approx(expected["ess_bulk"], abs=0.51)
    assert rows["tau"]["fails"].startswith("rhat")
    assert rows["mu"]["fails"] == ""


def test_nothing_comes_from_outside_and_only_its_own_script_may_run():
    text = page(troubled())
    found = Page(text)
    assert "http://" not in text
    assert "https://" not in text
    assert not re.search(r"@import|url\((?!#)", text)
    links = [attrs[key] for _, attrs in found.tags for key in ("src", "href") if key in attrs]
    assert all(link.startswith("#") for link in links)
    assert not {"link", "iframe", "object", "embed", "img"} & {tag for tag, _ in found.tags}
    policy = next(attrs["content"] for tag, attrs in found.tags if attrs.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(found.scripts[0].encode()).digest()).decode()
    assert len(found.scripts) == 1
    assert policy.startswith("default-src 'none'; ")
    assert f"script-src 'sha256-{digest}'" in policy


def test_names_attributes_and_titles_are_escaped():
    random = np.random.default_rng(0)
    posterior = xarray.Dataset(
        {EVIL: (("chain", "draw"), random.normal(size=(3, 60))), "a": (("chain", "draw", "s"), np.ones((3, 60, 2)))},
        coords={"s": ['"><img src=x onerror=alert(1)>', "$x_{ 日本語 \ud800"], "chain": [EVIL, "1", "2"]},
        attrs={"kernel": "</title></style>" + EVIL, EVIL: EVIL},
    )
    run = {"posterior": posterior}
    found = Page(page(run, title=EVIL))
    plain = Page(page(draws(chains=3, length=60, b=(), a=(2,))))
    assert len(found.scripts) == 1
    assert found.scripts == plain.scripts
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in plain.tags}
    assert not any(key.startswith("on") for _, attrs in found.tags for key in attrs)
    assert found.words["run"].count(EVIL) == 3
    assert EVIL in [row[0] for row in found.table("parameters")]
    assert 'a["><img src=x onerror=alert(1)>]' in [row[0] for row in found.table("parameters")]


CASES = {
    "one chain": (draws(1, 300, mu=()), ["one chain", "takes two chains"]),
    "two draws": (draws(4, 2, mu=(), b=(2,)), ["2 draws a chain are too few", "too few to judge"]),
    "one draw": (draws(2, 1, mu=()), ["there is one draw a chain"]),
    "many chains": (draws(200, 30, mu=()), ["8 of 200 chains"]),
    "no groups": (draws(4, 100, mu=(), b=()), ["the draws have no sample_stats group", "energy is not recorded"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_size_of_run_has_a_page(case):
    run, sentences = CASES[case]
    words = " ".join(Page(page(run)).words.values())
    for sentence in sentences:
        assert sentence in words


def test_values_of_every_kind_have_a_page():
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 4, 200))
    x[0, 0, 3], x[1, 1] = np.nan, np.inf
    run = {
        "posterior": {
            "nan": x[0], "inf": x[1], "fixed": np.ones((4, 200)), "k": random.integers(0, 3, (4, 200)),
            "yes": random.random((4, 200)) < 0.1, "large": 1e300 * x[2], "none": np.zeros((4, 200, 0)),
        },
        "sample_stats": {"energy": np.where(x[3] > 1, np.nan, x[3]), "diverging": np.zeros((4, 200, 2), bool)},
    }  # fmt: skip
    found = Page(page(run, parameters=["nan", "inf", "fixed", "k", "yes", "large"]))
    rows = {row[0]: row for row in found.table("parameters")}
    assert list(rows) == ["nan", "inf", "fixed", "k", "yes", "large"]
    assert set(rows["nan"][1:-1]) == {"–"}
    assert rows["fixed"][-1] == "constant"
    for sentence in ("some draws are NaN or infinite", "All draws have one value", "Which draws diverge is not"):
        assert sentence in found.words["pictures"]


def test_ten_thousand_parameters_and_more(monkeypatch):
    run = draws(4, 10, x=(10_000,))
    found = Page(page(run))
    assert len(found.table("parameters")) == 10_000
    assert found.table("parameters")[9_999][0] == "x[9999]"
    monkeypatch.setattr(pages, "MAX_ROWS", 50)
    run = draws(4, 200, x=(60,))
    run["posterior"]["x"][0, :, 33] += 3
    found = Page(page(run))
    assert len(found.table("parameters")) == 50
    assert "x[33]" in [row[0] for row in found.table("parameters")]
    assert "worst 50 of 60" in found.words["parameters"]


def test_chosen_parameters_are_drawn():
    run = draws(x=(9,), y=())
    text = page(run, parameters=["y", "x[7]"])
    assert re.findall(r"<h3>(.*?)</h3>", text)[:2] == ["y", "x[7]"]
    with pytest.raises(ValueError, match="parameters: got 'z'; expected names of parameters, such as"):
        page(run, parameters="z")


def test_a_page_is_the_same_twice():
    run = troubled()
    assert page(run, parameters="tau") == page(run, parameters="tau")


def test_facts_of_the_run(tmp_path):
    tree = xarray.DataTree.from_dict({"/posterior": xarray.Dataset({"mu": (("chain", "draw"), np.eye(4, 50))})})
    tree.attrs = {
        "kernel": "HMC()",
        "geometry": "log tau scales theta[0..7], mu shifts them",
        "seed": 7,
        "versions": '{"jax": "1.2"}',
        "sampling_time": 1.23456,
        "note": "x" * 999,
    }
    tree.attrs |= {"status": "interrupted"}
    found = Page(page(tree))
    words = found.words["run"]
    for fact in ("HMC()", "Geometry", "log tau scales theta[0..7], mu shifts them", "7", "jax 1.2", "1.23 s", "xxx …"):
        assert fact in words
    assert "The run was interrupted." in found.words["next"]


def test_errors_name_the_argument(tmp_path):
    run = draws(mu=())
    with pytest.raises(ValueError, match=r"path: got .*ending in \.html"):
        report(run, tmp_path / "run.nc")
    with pytest.raises(FileNotFoundError, match=r"path: got .*Make it first"):
        report(run, tmp_path / "nowhere" / "run.html")
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(IsADirectoryError, match="expected a file"):
        report(run, tmp_path / "folder.html")
    place = report(run, tmp_path / "run.html", title="first")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        report(run, place, overwrite=False)
    assert "first" in place.read_text(encoding="utf-8")
    assert "second" in report(run, place, title="second").read_text(encoding="utf-8")
    with pytest.raises(TypeError, match="expected an xarray DataTree"):
        report([1, 2], place)
    with pytest.raises(ValueError, match="verdict: got"):
        page(run, verdict=diagnose(draws(mu=(2,))))


def test_lazy_draws_are_read_as_needed(tmp_path):
    run = draws(4, 100, x=(3, 2))
    tree = xarray.DataTree.from_dict(
        {"/posterior": xarray.Dataset({"x": (("chain", "draw", "i", "j"), run["posterior"]["x"])})}
    )
    tree.to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xarray.open_datatree(tmp_path / "run.nc", engine="h5netcdf") as lazy:
        text = page(lazy)
    assert text == page(tree)


def test_importing_it_imports_no_pictures():
    code = "import sys, mcmc.reporting; sys.exit(bool({'matplotlib', 'jinja2', 'arviz', 'xarray'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_examples():
    found = doctest.testmod(pages)
    assert found.attempted >= 4
    assert found.failed == 0
