"""The table of a diagnosis and what it can be turned into; every form of tree; refusals; the shortest runs."""

import html.parser
import json
from types import SimpleNamespace

import arviz
import numpy as np
import pytest
import xarray
from judged import ar, failed, judge

from mcmc.diagnostics import diagnose, ess, mcse, nested_rhat, rhat, summary
from mcmc.diagnostics import evidence as evidence_module
from mcmc.diagnostics import inputs as inputs_module

RNG = np.random.default_rng(0)

# --- the table --------------------------------------------------------------------------------------------


def test_table_equals_arviz():
    rng = np.random.default_rng(2)
    tree = arviz.from_dict(
        {
            "posterior": {
                "mu": rng.normal(size=(4, 301)),
                "theta": ar(0.7, 4, 301, 3),
                "L": rng.normal(size=(4, 301, 2, 2)),
            }
        },
        coords={"school": ["Choate", "Deerfield", "Phillips"]},
        dims={"theta": ["school"]},
    )  # fmt: skip
    table = summary(tree)
    expected = arviz.summary(tree, kind="all", round_to="none", ci_prob=0.9, ci_kind="eti")
    assert list(table.index) == list(expected.index)
    assert table.index[1] == "theta[Choate]"
    assert table.index[-1] == "L[1, 1]"
    for column in ("mean", "sd", "eti90_lb", "eti90_ub", "ess_bulk", "r_hat", "mcse_mean", "mcse_sd"):
        np.testing.assert_allclose(table[column], expected[column].astype(float), rtol=1e-10, err_msg=column)
    theta = tree["posterior"]["theta"].values
    np.testing.assert_allclose(table["ess_tail"].iloc[1:4], ess(theta, "tail"), rtol=1e-12)


def test_table_of_many_chains_has_nested_rhat():
    x, ids = ar(0.5, 64, 50, 2), np.arange(64) // 8
    table = judge(x, run_state={"superchain": ids}).table
    np.testing.assert_allclose(table["nested_r_hat"], nested_rhat(x, ids), rtol=1e-12)
    np.testing.assert_allclose(table["r_hat"], rhat(x), rtol=1e-12)
    np.testing.assert_allclose(table["mcse_sd"], mcse(x, "sd"), rtol=1e-12)
    assert "nested_r_hat" not in judge(x).table
    few = judge(x[:16], run_state={"superchain": ids[:16]})
    assert "nested_r_hat" not in few.table


def test_quick_is_labelled_and_cheap_columns_agree():
    x = ar(0.5, 4, 500, 3)
    verdict = judge(x, quick=True)
    assert verdict.quick
    assert "quick" in verdict["rhat"].message
    assert not verdict["ess_tail"].made
    np.testing.assert_allclose(verdict.table["ess_mean"], ess(x, "mean"), rtol=1e-12)
    np.testing.assert_allclose(verdict.table["mcse_mean"], mcse(x), rtol=1e-12)
    assert (verdict.table["r_hat"] >= rhat(x, "split") - 1e-12).all()


def test_quick_none_follows_the_size(monkeypatch):
    x = RNG.normal(size=(4, 100))
    assert not judge(x, quick=None).quick
    monkeypatch.setattr(evidence_module, "QUICK_ABOVE", 100)
    assert judge(x, quick=None).quick


def test_large_variables_are_read_in_slices(monkeypatch):
    x = RNG.normal(size=(4, 100, 7, 3))
    whole = judge(x)
    monkeypatch.setattr(inputs_module, "PIECE_BYTES", 4 * 100 * 3 * 8 * 2)
    pieces = judge(x)
    np.testing.assert_array_equal(whole.table.values, pieces.table.values)
    assert list(whole.table.index) == list(pieces.table.index)


# --- what it can be turned into ---------------------------------------------------------------------------


def test_json_html_and_text_of_every_kind_of_run():
    bad = RNG.normal(size=(4, 100, 2))
    bad[0, 0, 0] = np.nan
    bad[1] = bad[1, :1]
    for verdict in (judge(bad), judge(bad, quick=True), judge(ar(0.9, 64, 320, 10)), judge(np.ones((2, 50)))):
        found = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
        assert found["ok"] == verdict.ok
        assert {"code", "severity", "passed", "made", "value", "threshold", "parameters", "advice"} <= set(
            found["checks"][0]
        )
        assert len(found["table"]) == len(verdict.table)
        assert "table" not in verdict.to_dict(table=False)
        assert str(verdict).splitlines()[0] == verdict.verdict
        for check in verdict.failures:
            assert check.advice.endswith(".")
            assert check.message in str(verdict)


def test_html_is_escaped():
    name = "<script>alert('x')</script>"
    x = RNG.normal(size=(4, 100))
    x[0] += 5
    page = judge({name: x})._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    html.parser.HTMLParser().feed(page)


# --- any tree, and refusals -------------------------------------------------------------------------------


def test_every_form_of_tree():
    x = RNG.normal(size=(4, 300))
    data = xarray.Dataset({"mu": (("chain", "draw"), x)}, coords={"chain": [10, 11, 12, 13]})
    forms = [
        xarray.DataTree.from_dict({"posterior": data}),
        xarray.DataTree(data),
        data,
        {"posterior": data},
        {"posterior": {"mu": x}},
        {"posterior": {"mu": data["mu"].T}},
    ]
    forms.append(SimpleNamespace(posterior=data))  # as an InferenceData
    tables = [diagnose(form).table for form in forms]
    for table in tables:
        np.testing.assert_array_equal(table.values, tables[0].values)
    data["mu"][2] = 1.0
    assert diagnose(data)["frozen_chain"].chains == (12,)


def test_a_lazy_store_is_read_and_left_lazy(tmp_path):
    data = xarray.Dataset({"x": (("chain", "draw", "i"), RNG.normal(size=(4, 100, 6)))})
    xarray.DataTree.from_dict({"posterior": data}).to_netcdf(tmp_path / "run.nc", engine="h5netcdf")
    with xarray.open_datatree(tmp_path / "run.nc", engine="h5netcdf") as tree:
        np.testing.assert_array_equal(diagnose(tree).table.values, diagnose(data).table.values)
        assert not tree["posterior"]["x"]._in_memory


@pytest.mark.parametrize(
    ("draws", "error", "says"),
    [
        ({"prior": {"mu": np.zeros((4, 9))}}, ValueError, "expected a posterior group"),
        ({"posterior": {}}, ValueError, "empty posterior"),
        ({"posterior": {"mu": np.zeros((4, 0))}}, ValueError, "4 chains of 0 draws"),
        ({"posterior": {"mu": np.zeros((4, 9, 0))}}, ValueError, "empty posterior"),
        ({"posterior": {"mu": np.zeros(9)}}, ValueError, r"expected \(chain, draw"),
        ({"posterior": {"mu": np.full((4, 9), "a")}}, TypeError, "dtype"),
        ({"posterior": 3}, TypeError, r"draws\['posterior'\] is a int"),
        (np.zeros((4, 9)), TypeError, "draws is a ndarray"),
        (None, TypeError, "draws is a NoneType"),
        (xarray.DataTree(), ValueError, "posterior"),
        (xarray.Dataset({"mu": ("draw", np.zeros(9))}), ValueError, "rename its dims"),
    ],
)
def test_refusals(draws, error, says):
    with pytest.raises(error, match=says):
        diagnose(draws)


def test_bad_thresholds_are_refused():
    with pytest.raises(ValueError, match=r"rhat is 0\.5"):
        diagnose({"posterior": {"mu": np.zeros((4, 9))}}, rhat=0.5)
    with pytest.raises(ValueError, match="ess is nan"):
        diagnose({"posterior": {"mu": np.zeros((4, 9))}}, ess=np.nan)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (4, 1), (4, 3), (300, 2)])
def test_too_few_draws_fail_without_an_exception(shape, quick):
    verdict = judge(RNG.normal(size=shape), quick=quick)
    assert "draws" in failed(verdict)
    assert set(verdict.table) >= {"mean", "sd"}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("shape", [(4, 4), (1, 4), (17, 4), (40, 5), (2, 7)])
def test_the_shortest_runs_are_judged_without_an_exception(shape, quick):
    verdict = judge(RNG.normal(size=(*shape, 2)), quick=quick)
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_discrete_runs_may_stand_still():
    rare = RNG.random((4, 1000)) < 0.0005
    rare[0, 5] = True
    verdict = judge({"k": rare})
    assert verdict["frozen_chain"].severity != "error" or verdict["frozen_chain"].passed
    assert "duplicate_chains" not in failed(verdict)
