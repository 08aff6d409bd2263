"""The tutorial and the pages for those who come from other tools run; the site has its pictures and its words."""

import re
from pathlib import Path

import numpy as np
import pytest
from running import DOCS, flat, program

import mcmc

TUTORIAL = sorted(path.stem for path in (DOCS / "tutorial").glob("0*.md"))
OTHERS = ("emcee", "pymc", "numpyro", "stan", "blackjax")
WORDS = (
    "tutorial", "troubleshooting", "FAQ", "glossary", "censored", "negative binomial", "zero-inflated", "time series",
    "label switching", "non-centred", "multimodal", "burn-in", "Bayes factor", "corner plot", "cite",
)  # fmt: skip


def test_a_posterior_on_a_grid_is_the_normal_law():
    page = program("tutorial/01_posterior.md")
    precision = 1 / 30**2 + 15 / 38**2
    assert abs(page["mean"] - page["y"].sum() / 38**2 / precision) < 1e-3
    assert abs(page["sd"] - precision**-0.5) < 1e-3


def test_log_density_supports_sampling_and_checks():
    assert float(program("tutorial/02_log_density.md")["target"].dim) == 2
    half = flat(program("tutorial/03_supports.md")["draws"], "sigma")
    assert abs(half.mean() - 50 * np.sqrt(2 / np.pi)) < 2
    mu = flat(program("tutorial/04_sample.md")["draws"], "mu")
    checked = program("tutorial/05_predictive_checks.md")
    assert abs(mu.mean() - flat(checked["draws"], "mu").mean()) < 2
    assert 0.15 < float((checked["least"] < -67).mean()) < 0.35


@pytest.mark.slow
def test_what_goes_wrong_goes_wrong_and_the_advice_helps():
    page = program("tutorial/06_something_goes_wrong.md", ("geometry=", "warmup=200, draws=200, geometry="))
    diagnose = page["mcmc"].diagnose
    assert not diagnose(page["bad"]).ok
    assert "tau" in page["good"].attrs["geometry"]
    assert "mcmc.lower(10.0)" in str(page["mcmc"].diagnose(page["walled_run"]))
    assert diagnose(page["run"]).next_step["check"] == "label_switching"
    assert diagnose(page["ordered"])["nested_rhat"].passed
    means = flat(page["ordered"], "mean").mean(0)
    assert np.allclose(means, (-51, 33), atol=2)


@pytest.mark.slow
def test_two_models_are_compared_and_a_run_is_reported():
    found = program("tutorial/07_compare.md")["found"]
    assert abs(found["student"].log_evidence - found["normal"].log_evidence - 0.46) < 0.15
    assert dict(program("tutorial/08_report.md")["more"].posterior.sizes)["draw"] == 320


@pytest.mark.parametrize("name", OTHERS)
def test_coming_from(name):
    text = (DOCS / "coming_from" / f"{name}.md").read_text()
    assert re.search(r"```(py|stan)\n", text)
    if name in ("emcee", "numpyro"):  # the others have the same block of ours
        draws = program(f"coming_from/{name}.md")["draws"]
        assert abs(flat(draws, "b").mean() - 1.78) < 0.05
    else:
        ours = re.search(r"```python\n.*?```", text, re.DOTALL)
        assert ours is not None
        assert ours.group(0) in (DOCS / "coming_from" / "emcee.md").read_text()


def test_pages_have_their_pictures():
    for page in DOCS.rglob("*.md"):
        for name in re.findall(r"\]\(([^)\s]+\.png)\)", page.read_text()):
            assert (page.parent / name).is_file(), f"{page.name}: {name}"
    for folder in ("tutorial", "concepts", "recipes"):
        for picture in (DOCS / folder / "images").glob("*.png"):
            assert picture.stat().st_size < 60_000, picture.name


@pytest.mark.parametrize("word", WORDS)
def test_the_words_that_people_look_for_head_a_page_or_a_part_of_one(word):
    """Search puts headings first: a word in a text alone comes after pages that have a part of it in a heading."""
    pages = [*DOCS.rglob("*.md"), *Path(mcmc.__file__).parent.glob("help/*.md")]
    headings = [line for page in pages for line in page.read_text().splitlines() if line.startswith("#")]
    assert any(word.lower() in re.sub("_", " ", line).lower() for line in headings)


def test_the_front_page_is_short():
    text = (DOCS.parent / "README.md").read_text()
    assert text.count("\n") < 120
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (DOCS.parent / link).exists(), link
