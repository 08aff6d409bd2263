"""ArviZ through our statistics gives the numbers that it gives by itself."""

import arviz
import numpy as np
import pandas
import pytest
import xarray
from arviz_stats.base import array_stats
from scipy.signal import lfilter

from mcmc.diagnostics import arviz_plugin

rng = np.random.default_rng(0)


def autoregressive(chains, draws, columns, rho=0.8):
    return lfilter([1], [1, -rho], rng.normal(size=(chains, draws, columns)), axis=1)


POSTERIORS = {
    "four chains": {"mu": rng.normal(size=(4, 500)), "theta": autoregressive(4, 500, 3)},
    "odd": {"theta": autoregressive(3, 301, 2)},
    "many chains": {"theta": autoregressive(60, 50, 2, 0.95)},
    "one chain": {"theta": autoregressive(1, 300, 2)},
    "counts": {"n": rng.poisson(2.0, size=(4, 200))},
    "matrices": {"m": rng.normal(size=(4, 100, 2, 3))},
    "constant": {"c": np.ones((4, 100)), "mu": rng.normal(size=(4, 100))},
    "three draws": {"mu": rng.normal(size=(4, 3))},
    "missing": {"mu": np.where(rng.random((4, 100)) < 0.01, np.nan, rng.normal(size=(4, 100)))},
}


def tree(arrays):
    dims = {k: ("chain", "draw", *(f"{k}_{i}" for i in range(v.ndim - 2))) for k, v in arrays.items()}
    return xarray.DataTree.from_dict({"posterior": xarray.Dataset({k: (dims[k], v) for k, v in arrays.items()})})


@pytest.mark.filterwarnings("ignore")  # ArviZ's own, on constants and short chains
@pytest.mark.parametrize("kind", ["all", "all_median", "mc_diagnostics"])
@pytest.mark.parametrize("name", POSTERIORS)
def test_summary_is_the_same_through_the_plug_in_point(name, kind):
    if kind == "mc_diagnostics" and name in ("counts", "constant"):
        pytest.skip("ArviZ's Pareto fit refuses equal values, whichever the module")
    draws = tree(POSTERIORS[name])
    theirs = arviz.summary(draws, kind=kind, round_to="none")
    with arviz.rc_context({"stats.module": arviz_plugin}):
        ours = arviz.summary(draws, kind=kind, round_to="none")
    pandas.testing.assert_frame_equal(pandas.DataFrame(ours), pandas.DataFrame(theirs), rtol=1e-10, atol=1e-13)


def test_summary_goes_through_our_code(monkeypatch):
    called = []

    def count(name, original):
        return lambda *args, **kwargs: called.append(name) or original(*args, **kwargs)

    for name in ("ess", "rhat", "mcse"):
        monkeypatch.setattr(arviz_plugin.stats, name, count(name, getattr(arviz_plugin.stats, name)))
    with arviz.rc_context({"stats.module": arviz_plugin}):
        arviz.summary(tree(POSTERIORS["four chains"]))
    assert set(called) == {"ess", "rhat", "mcse"}


@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (-2, -1), (2, 0)])
@pytest.mark.parametrize("method", ["bulk", "tail", "mean", "sd", "median", "quantile", "local", "mad", "folded"])
def test_every_method_and_axis_of_ess_is_theirs(method, axes):
    x = np.moveaxis(autoregressive(4, 200, 3), (0, 1), axes)
    prob = {"tail": (0.05, 0.95), "quantile": 0.3, "local": (0.2, 0.4)}.get(method)
    found = arviz_plugin.array_stats.ess(x, *axes, method=method, prob=prob)
    np.testing.assert_allclose(found, array_stats.ess(x, *axes, method=method, prob=prob), rtol=1e-10)
    theirs = array_stats.ess(x, *axes, method=method, prob=prob, relative=True)
    np.testing.assert_allclose(arviz_plugin.array_stats.ess(x, *axes, method=method, prob=prob, relative=True), theirs)


def test_plots_take_it_too():
    with arviz.rc_context({"stats.module": arviz_plugin}):
        found = arviz.rhat(tree(POSTERIORS["matrices"]))
        interval = arviz.eti(tree(POSTERIORS["matrices"]), prob=0.8)
    np.testing.assert_allclose(found["m"], arviz.rhat(tree(POSTERIORS["matrices"]))["m"], rtol=1e-10)
    np.testing.assert_array_equal(interval["m"], arviz.eti(tree(POSTERIORS["matrices"]), prob=0.8)["m"])


def test_arguments_that_arviz_refuses_are_refused():
    x = rng.normal(size=(4, 100))
    with pytest.raises(ValueError, match="method"):
        arviz_plugin.array_stats.ess(x, method="none")
    with pytest.raises(ValueError, match="method"):
        arviz_plugin.array_stats.rhat(x, method="none")
    with pytest.raises(TypeError):
        arviz_plugin.array_stats.ess(x, method="quantile")
