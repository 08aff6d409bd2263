"""The light curves: every star's posterior is one of the model that made it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from runs import unconverged

EXAMPLE = Path(__file__).parents[2] / "examples" / "light_curves.py"


@pytest.mark.slow
def test_light_curves_are_calibrated(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("light_curves", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with unconverged():
        draws, table = module.run(tmp_path, seed=3, stars=64, progress=False)
    assert draws.run_state["ok"].mean() > 0.98
    covered = table["in the 90 % interval"]
    assert np.all(np.abs(covered - 0.9) < 4 * np.sqrt(0.09 / 64))
    assert np.all(table["p of the ranks"] > 0.001)
    assert "64 light curves" in capsys.readouterr().out
    assert 10_000 < (tmp_path / "light_curves.png").stat().st_size < 150_000
