"""Multivariate ESS and R*: against known answers, invariances, and what single parameters can't see."""

import sys

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from mcmc.diagnostics import ess
from mcmc.diagnostics.multivariate import multivariate_ess
from mcmc.diagnostics.rstar import rstar


def autoregressive(rhos, chains=4, draws=20_000, seed=0):
    """Independent AR(1) columns with sd 1."""
    rng, columns = np.random.default_rng(seed), []
    for rho in rhos:
        noise = rng.normal(size=(chains, draws)) * np.sqrt(1 - rho**2)
        noise[:, 0] = rng.normal(size=chains)
        columns.append(lfilter([1], [1, -rho], noise, axis=1))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("rhos", [(0.0,), (0.5, 0.5), (0.0, 0.9), (0.5, 0.7, -0.3), (0.0,) * 20])
def test_it_is_the_geometric_mean_of_what_independent_columns_are_worth(rhos):
    x = autoregressive(rhos)
    per_draw = (1 - np.array(rhos)) / (1 + np.array(rhos))
    batches = 4 * (20_000 // int(20_000**0.6))
    noise = np.sqrt(2 / (batches * len(rhos)))
    found = multivariate_ess(x) / (x.shape[0] * x.shape[1] * np.prod(per_draw) ** (1 / len(rhos)))
    assert abs(np.log(found)) < 4 * noise + 0.02


def test_few_batches_for_many_parameters_are_not_biased():
    found = [multivariate_ess(np.random.default_rng(i).normal(size=(4, 500, 30))) / 2000 for i in range(10)]
    assert abs(np.mean(found) - 1) < 0.04


@settings(deadline=None, derandomize=True, max_examples=15)
@given(seed=st.integers(0, 1000), p=st.integers(1, 4), rho=st.floats(-0.5, 0.9))
def test_it_does_not_depend_on_the_axes(seed, p, rho):
    x = autoregressive((rho,) * p, 3, 400, seed)
    rng = np.random.default_rng(seed)
    turned = x @ (np.eye(p) + 0.3 * rng.normal(size=(p, p))) * 10.0 ** rng.integers(-3, 4) + rng.normal(size=p)
    np.testing.assert_allclose(multivariate_ess(turned), multivariate_ess(x), rtol=1e-6)


def test_one_parameter_agrees_with_ess_and_a_stuck_direction_shows():
    x = autoregressive((0.6,), seed=3)
    assert abs(np.log(multivariate_ess(x) / ess(x, "mean")[0])) < 0.25
    slow, fast = autoregressive((0.99,), seed=1), autoregressive((0.0,), seed=2)
    both = np.concatenate([slow + 100 * fast, 100 * fast], axis=-1)  # each alone looks independent
    assert ess(both, "mean").min() > 60_000
    assert multivariate_ess(both) < 12_000


def test_trees_datasets_and_mappings_are_taken_whole():
    x = autoregressive((0.3, 0.5, 0.0), draws=500)
    dataset = xarray.Dataset({"a": (("chain", "draw"), x[:, :, 0]), "b": (("chain", "draw", "k"), x[:, :, 1:])})
    found = multivariate_ess(x)
    for same in (dataset, xarray.DataTree.from_dict({"posterior": dataset}), {"a": x[:, :, 0], "b": x[:, :, 1:]}):
        assert multivariate_ess(same) == pytest.approx(found, rel=1e-12)
    constant = np.concatenate([x, np.ones((4, 500, 1))], axis=-1)
    assert multivariate_ess(constant) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.ones((4, 100, 2)), {}, "no parameter that varies"),
        (autoregressive((0.0,) * 30, 1, 40), {}, "batches"),
        (autoregressive((0.0, 0.0), 2, 50)[..., [0, 1, 0]], {}, "functions of each other"),
        (np.where(np.arange(100)[:, None] == 3, np.nan, autoregressive((0.0,), 2, 100)), {}, "NaN or infinite"),
        (autoregressive((0.0,), 2, 50), {"batch": 51}, "batch"),
        (autoregressive((0.0,), 2, 50), {"batch": 0}, "batch"),
        (autoregressive((0.0,), 2, 3), {}, "at least 1 chain of 4"),
    ],
)
def test_what_has_no_multivariate_ess_is_refused(x, options, message):
    with pytest.raises(ValueError, match=message):
        multivariate_ess(x, **options)


# --- R* ---------------------------------------------------------------------------------------------------


def test_rstar_of_equal_chains_is_chance():
    found = [rstar(autoregressive((0.5, 0.0), 4, 300, seed), seed=seed) for seed in range(4)]
    assert all(result.ok for result in found)
    assert abs(np.mean([result.mean for result in found]) - 1) < 0.1


def test_rstar_sees_what_rhat_of_single_parameters_can_not():
    x = np.random.default_rng(0).normal(size=(4, 400, 2))
    x[0, :, 1] = 0.95 * x[0, :, 0] + np.sqrt(1 - 0.95**2) * x[0, :, 1]  # one chain is correlated, margins are equal
    found = rstar(x)
    assert not found.ok
    assert found.low > 1.05


def test_rstar_sees_a_drift_within_one_chain():
    x = np.random.default_rng(0).normal(size=(1, 400, 1)) + np.linspace(0, 3, 400)[:, None]
    assert not rstar(x).ok
    with pytest.raises(ValueError, match="split"):
        rstar(x, split=False)


def test_rstar_is_at_most_the_number_of_chains_and_repeats_by_seed():
    x = np.random.default_rng(0).normal(size=(3, 100, 1)) + 100 * np.arange(3)[:, None, None]
    assert rstar(x, split=False).mean == pytest.approx(3, abs=0.01)
    y = np.random.default_rng(0).normal(size=(3, 100, 1))
    assert rstar(y, seed=4) == rstar(y, seed=4)


def test_rstar_takes_any_classifier():
    class Guess:
        def fit(self, x, names):
            self.chains = len(np.unique(names))

        def predict_proba(self, x):
            return np.full((len(x), self.chains), 1 / self.chains)

    found = rstar(autoregressive((0.0,), 4, 500), split=False, classifier=Guess(), samples=4000)
    assert found.mean == pytest.approx(1, abs=4 * np.sqrt(3 / 600 / 4000) + 1e-12)
    assert found.low < 1 < found.high


def test_rstar_says_what_it_lacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(ImportError, match='the extra "rstar"'):
        rstar(autoregressive((0.0,), 4, 100))
    with pytest.raises(ValueError, match="samples"):
        rstar(autoregressive((0.0,), 4, 100), samples=0)
    with pytest.raises(ValueError, match="20"):
        rstar(autoregressive((0.0,), 4, 10))
