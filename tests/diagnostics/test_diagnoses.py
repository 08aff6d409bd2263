"""The verdict on many data sets is that on each of them, found together."""

import numpy as np
import pytest
import xarray

import mcmc
from mcmc.storage.datatree import dataset

SETS, CHAINS, DRAWS = 9, 16, 60
LEADING = ("dataset", "chain", "draw")


def tree(chains=CHAINS, superchains=None):
    rng = np.random.default_rng(0)
    shape = (SETS, chains, DRAWS)
    posterior = {
        "a": rng.normal(size=shape),
        "b": rng.normal(size=(*shape, 2)),
        "k": rng.integers(0, 3, size=shape),
        "angle": (rng.normal(np.pi, 0.3, size=shape) + np.pi) % (2 * np.pi) - np.pi,
    }
    posterior["a"][1, 0, 5] = np.nan
    posterior["b"][2, 3] = 1.0
    posterior["b"][3, 3], posterior["a"][3, 3] = posterior["b"][3, 4], posterior["a"][3, 4]
    posterior["k"][3, 3], posterior["angle"][3, 3] = posterior["k"][3, 4], posterior["angle"][3, 4]
    posterior["k"][4, 3] = 1
    posterior["a"][5, :8] += 5.0
    posterior["b"][6] *= 1e90
    stats = {"lp": rng.normal(size=shape), "diverging": np.zeros(shape, bool), "energy": rng.normal(size=shape)}
    stats["diverging"][7, :, ::7] = True
    groups = {
        name: dataset(arrays, None, LEADING) for name, arrays in (("posterior", posterior), ("sample_stats", stats))
    }
    groups["posterior"]["angle"].attrs["support"] = "circular"
    state = dataset({"nonfinite_proposals": np.zeros(shape[:2])}, None, LEADING[:2])
    state.attrs["derived"] = "[]"
    if superchains is not None:
        state = state.assign(superchain=("chain", superchains))
    return xarray.DataTree.from_dict(groups | {"run_state": state})


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("chains", [CHAINS, 24])
def test_each_row_is_the_diagnosis_of_that_data_set(chains, quick):
    draws = tree(chains, np.arange(chains) % 8 if chains > 16 else None)
    found = mcmc.diagnose(draws, quick=quick)
    for s in range(SETS):
        one = mcmc.diagnose(draws.isel(dataset=s), quick=quick)
        assert found.columns["ok"][s] == one.ok
        assert found.columns["failed"][s] == ", ".join(check.code for check in one.failures)
        for name, values in one.columns.items():
            np.testing.assert_allclose(found.numbers[name][s], values, rtol=1e-10)
    assert {1, 2, 5, 7} <= set(found.failing)
    assert not found.ok
    assert found.table["ok"].is_monotonic_increasing
    assert "Use with care" in str(found)
    assert "<table" in found._repr_html_()
    assert mcmc.summary(draws, quick=quick).index.names == ["dataset", "parameter"]


def test_many_data_sets_are_read_some_at_a_time(monkeypatch, tmp_path):
    from mcmc.diagnostics import diagnoses

    draws = tree()
    whole = mcmc.diagnose(draws).table
    monkeypatch.setattr(diagnoses, "BYTES", 1)
    draws.to_netcdf(tmp_path / "draws.nc", engine="h5netcdf")
    with xarray.open_datatree(tmp_path / "draws.nc", engine="h5netcdf") as held:
        assert mcmc.diagnose(held).table.equals(whole)


def test_what_shows_one_run_asks_for_one_data_set(tmp_path):
    draws = tree()
    for show in (mcmc.plot, lambda d: mcmc.report(d, tmp_path / "report.html"), lambda d: mcmc.compare(d, d)):
        with pytest.raises(ValueError, match="Choose one"):
            show(draws)


def test_one_data_set_is_judged_by_the_limits_of_all():
    x = np.random.default_rng(0).normal(size=(2, 4, 200))
    draws = xarray.DataTree.from_dict({"posterior": xarray.Dataset({"x": (("dataset", "chain", "draw"), x)})})
    strict = mcmc.diagnose(draws, ess=10**6)
    assert not strict.ok
    assert not strict[0].ok
    assert mcmc.diagnose(draws)[0].ok
