"""The example of temperatures runs, says what it should, and saves its picture."""

import importlib.util
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).parents[3] / "examples" / "temperature.py"


def test_the_example_of_temperatures(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("temperature", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts, table = module.run(tmp_path, seed=3)
    assert "\nGood: " in capsys.readouterr().out
    assert 10_000 < (tmp_path / "temperature.png").stat().st_size < 150_000
    entropy = table["entropy"].to_numpy()
    assert np.all(np.diff(entropy[:6]) >= 0)  # it grows with the temperature
    assert abs(entropy[5] - np.log(len(module.VOCABULARY))) < 4 * np.spacing(np.float32(8))  # float32's rounding
    assert table.loc["top-k 10", "words kept"] == 10
    assert set(texts) == set(module.SETTINGS)
    again = module.write(module.jax.random.key(3), length=4)
    assert all(texts[name].startswith(text) for name, text in again.items())
