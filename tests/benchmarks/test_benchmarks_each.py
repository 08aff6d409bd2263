"""The benchmark of many data sets runs, and its peers' models are ours."""

import jax
import numpy as np
import pytest
from test_benchmarks import BENCHMARKS, run


def test_the_problem_is_the_model_of_its_peers(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import each
    import each_peers

    true, data = each_peers.problem(200)
    assert data["x"].shape == (200, 50, 2)
    one = {name: values[0] for name, values in data.items()}
    p = {"a": true["a"][0], "b": true["b"][0], "s": true["s"][0]}
    error = (one["y"] - p["a"] - one["x"] @ p["b"]) / p["s"]
    expected = -0.5 * (p["a"] ** 2 + (p["b"] ** 2).sum() + (error**2).sum()) - p["s"] - 50 * np.log(p["s"])
    with jax.enable_x64(True):
        np.testing.assert_allclose(each.log_density(p, one), expected, rtol=1e-12)
    scale = (data["y"] - true["a"][:, None] - np.einsum("srk,sk->sr", data["x"], true["b"])) / true["s"][:, None]
    assert abs(scale.std() - 1) < 4 / np.sqrt(2 * scale.size)


@pytest.mark.slow
def test_each(tmp_path):
    result, printed = run(tmp_path, "each")
    ours = [row for row in result["rows"] if row["tool"] == "mcmc.sample_each"]
    assert [row["sets"] for row in ours[:2]] == [8, 16]
    assert all(row["ok"] > 0.8 for row in ours)
    assert result["peak_megabytes"]["8"] > 0
    assert "One regression" in printed
