"""The page on steps runs as it stands, saves its pictures, and says of its samplers what is so."""

import numpy as np
import pytest
from running import DOCS, load
from scipy import stats

import mcmc


@pytest.mark.slow
def test_the_page_runs_and_its_pictures_are_there(tmp_path, capsys, monkeypatch):
    plot = mcmc.plot_steps
    monkeypatch.setattr(mcmc, "plot_steps", lambda steps, path, frames=2: plot(steps, path, frames=min(frames, 2)))
    page = load(DOCS / "steps_pictures.py").run(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["steps_inverse_cdf.gif", "steps_metropolis.gif", "steps_plane.png", "steps_rejection.gif"]
    for name in names:
        assert f"images/{name}" in (DOCS / "steps.md").read_text()
        assert 10_000 < (DOCS / "images" / name).stat().st_size < 400_000
    assert capsys.readouterr().out.endswith("True\n")
    x = np.linspace(-12, 12, 20_001)  # the log bound that the page gives holds, and 2.5 does not
    over = np.asarray(page["log_density"](x)) - stats.norm.logpdf(x, -0.6, 2.4)
    assert 2.5 < over.max() < 3.1
    assert page["rejection"].ratio.max() < 1
