"""The example of the workflow's pages answers as the pages say, and the pages' own code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
from runs import unconverged
from test_gallery import FOLDER, load

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = ("sea_cows.png", "sea_cows_fit.png", "sea_cows_wider.png")
arviz = pytest.importorskip("arviz")


@pytest.mark.filterwarnings("ignore")  # of ArviZ and matplotlib
def test_the_sea_cows_answer(tmp_path, capsys):
    module = load(FOLDER / "sea_cows.py")
    with unconverged():
        found = module.main(tmp_path, chains=64, steps=16)
    assert found["shares"][1.0] < 0.002
    assert found["shares"][20.0] > 0.7
    table = found["found"].table
    assert found["found"].best == "logarithm"
    assert table.loc["levelling off", "log_bayes_factor"] == pytest.approx(-3.56, abs=0.3)
    assert (found["sensitivity"]["diagnosis"] == "✓").all()
    evidences = [row["log evidence"] for row in found["wider"].values()]
    np.testing.assert_allclose(evidences, [16.65, 15.1, 13.3], atol=0.3)
    assert all((tmp_path / name).stat().st_size > 10_000 for name in PICTURES)
    assert "predicts as well as logarithm" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore")
def test_the_pages_run():
    names: dict = {"__name__": "page"}
    for page in ("prior", "fit", "wider_prior", "approximate"):
        text = (DOCS / "workflow" / f"{page}.md").read_text(encoding="utf-8")
        for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            quick = block.replace("mcmc.sample(target", "mcmc.sample(target, draws=100, progress=False")
            quick = quick.replace("evidence(wide", "evidence(wide, chains=64, steps=8, progress=False")
            with unconverged():
                exec(quick, names)
    assert names["impossible"] < 0.05
    assert {"prior", "prior_predictive", "log_prior"} <= set(names["draws"].children)
    assert len(names["found"].verdicts) == 5
    assert names["quick"]["posterior"]["limit"].shape == (64, 16)


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_are_there(name):
    assert 10_000 < (DOCS / "images" / name).stat().st_size < 150_000
