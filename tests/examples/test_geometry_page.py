"""The page on geometry: its blocks run, its picture is there, what it says a run says is what a run says."""

import re
from pathlib import Path

from runs import unconverged

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "geometry.md").read_text(encoding="utf-8")


def test_the_page_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    names: dict = {"__name__": "page"}
    found = []
    for block in blocks:
        quick = block.replace("mcmc.sample(target", "mcmc.sample(target, seed=1, draws=100, progress=False")
        assert quick != block
        with unconverged():
            exec(quick, names)
        found.append(names["draws"].attrs["geometry"])
    assert found[0] in blocks[0]
    assert found[0] in capsys.readouterr().out
    assert found[1] == "affine"


def test_its_picture_is_there():
    assert 10_000 < (DOCS / "images" / "geometry.png").stat().st_size < 150_000
