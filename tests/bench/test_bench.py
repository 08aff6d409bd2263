"""What `mcmc bench` measures, in its smallest form: fields, floors, sizes that do not fit. How fast is not tested."""

import json
import os
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from mcmc.bench import chains as bare_chains
from mcmc.bench import direct, floors, hmc, run_bench, walk
from mcmc.bench.measure import Plan, Row

FIELDS = {"part", "case", "size", "unit", "ns", "floors", "compile_seconds", "per_second", "note", "over_floor"}
TINY = Plan((8, 24), repeats=2, seconds=0.005, most=60.0, samples=2**18, rows=2, tokens=512)


@pytest.fixture(scope="module")
def measured():
    """Rows of every part, measured once, and the row of a number of chains that would take too long."""
    *of_hmc, too_long = hmc.rows(replace(TINY, chains=(*TINY.chains, 10**9)))
    return {"walk": walk.rows(TINY), "hmc": of_hmc, "direct": direct.rows(TINY)}, too_long


def test_every_row_is_measured_beside_its_floors(measured):
    rows = [row for part in measured[0].values() for row in part]
    assert [row.size for row in measured[0]["walk"]] == [8, 24]
    assert {row.part for row in rows} == {"random walk", "HMC", "direct", "categorical"}
    for row in rows:
        assert set(row.to_dict()) == FIELDS
        assert not row.note
        assert row.ns > 0
        assert row.compile_seconds > 0
        assert len(row.floors) >= 2
        assert all(0 < ns < np.inf for ns in row.floors.values())
        assert all(rate > 0 for rate in row.per_second.values())


def test_no_floor_is_far_above_what_stands_on_it(measured):
    """A floor does less work than its row: twenty times as long would be a wrong unit, not the noise of a machine."""
    for row in (row for part in measured[0].values() for row in part):
        for name in (floors.BITS, floors.DENSITY, floors.GRADIENT):
            if row.part != "categorical" and name in row.floors:
                assert row.floors[name] < 20 * row.ns, (row.case, name)


def test_rates_are_those_of_the_nanoseconds(measured):
    for row in measured[0]["walk"]:
        assert row.per_second["chain-steps"] == pytest.approx(1e9 / row.ns)
    for row in measured[0]["hmc"]:
        each = row.per_second
        assert each["gradients"] == pytest.approx(1e9 / row.ns)
        assert each["min ESS"] < 4 * each["draws"]
        assert each["draws"] <= each["gradients"]


def test_the_program_measured_is_that_of_sample(measured):
    """The bare run makes the draws that `mcmc.sample` makes from the same starts."""
    import jax

    import mcmc

    starts = np.random.default_rng(3).normal(size=(8, walk.DIM)).astype(np.float32)
    target = mcmc.Target(lambda p: -0.5 * (p["x"] ** 2).sum(), {"x": mcmc.real(walk.DIM)})
    kernel = mcmc.RandomWalk(step_size=0.7, metric=np.ones(walk.DIM))
    with jax.enable_x64(False):
        bare = bare_chains.begun(target, kernel, starts)
        bare.call(20)
        kept = bare.run.layout.join([rows.kept for rows in bare.run.programs.rows])[:, :20]
    settings = {"draws": 20, "warmup": 0, "dtype": "float32", "progress": False, "seed": 0}
    with pytest.warns(mcmc.ConvergenceWarning):
        tree = mcmc.sample(target, kernel, init={"x": starts}, chains=8, **settings)
    np.testing.assert_array_equal(kept, tree["posterior"]["x"].values)


def test_what_does_not_fit_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(bare_chains, "free_memory", lambda: 2000)
    rows = walk.rows(TINY)
    assert all(row.ns is None and "left out: takes" in row.note for row in rows)
    assert all(row.over_floor is None for row in rows)


def test_what_takes_too_long_is_left_out_and_said(measured):
    assert measured[1].ns is None
    assert "left out: about" in measured[1].note


def test_a_run_writes_a_table_json_and_a_picture(tmp_path, capsys):
    before, said = dict(os.environ), []
    found = run_bench(True, tmp_path / "new", chains=(8,), parts=("walk",), say=said.append)
    printed = capsys.readouterr()
    assert "ns a chain-step" in printed.out
    assert "8 chains" in printed.out
    assert not printed.err
    assert said == ["random walk, 8 chains"]
    assert json.loads((tmp_path / "new/bench.json").read_text()) == found
    assert {"platform", "device", "cpu", "cores", "versions"} <= set(found["device"])
    assert found["quick"]
    assert found["seconds"] > 0
    assert set(found["rows"][0]) == FIELDS
    picture = matplotlib.image.imread(tmp_path / "new/bench.png")
    assert picture.shape[1] > 1000
    assert np.ptp(picture[..., :3]) > 0.5
    assert dict(os.environ) == before


def test_errors_name_the_argument(tmp_path):
    with pytest.raises(ValueError, match=r"parts: got .*'gpu'.*walk, hmc, direct"):
        run_bench(True, tmp_path, parts=("gpu",))
    with pytest.raises(ValueError, match=r"chains: got \(0,\)"):
        run_bench(True, tmp_path, chains=(0,))
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="out: got"):
        run_bench(True, tmp_path / "file")


def test_over_floor_is_over_the_largest():
    assert Row("a", "b", 1, "c", 10.0, {"x": 2.0, "y": 5.0}).over_floor == 2.0
