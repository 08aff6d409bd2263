"""Models side by side: the numbers are ArviZ's and the exact evidence's, and what is not to be relied on is said."""

import jax
import numpy as np
import pytest
from runs import draw
from scipy import stats

import mcmc

arviz = pytest.importorskip("arviz")
normal = jax.scipy.stats.norm.logpdf
RNG = np.random.default_rng(2)
X = RNG.normal(size=50)
Y = 1.0 + 0.8 * X + RNG.normal(size=50)


def regression(columns):
    dim = columns.shape[1]
    return mcmc.Target(
        None,
        {"b": mcmc.real(dim)},
        {"x": columns, "y": Y},
        log_prior=lambda p, d: normal(p["b"], 0.0, 2.0).sum(),
        log_likelihood=lambda p, d: {"y": normal(d["y"], d["x"] @ p["b"], 1.0)},
        prior=lambda key, d: {"b": 2.0 * jax.random.normal(key, (dim,))},
    )


def exact(columns):
    return stats.multivariate_normal.logpdf(Y, np.zeros(50), np.eye(50) + 4.0 * columns @ columns.T)


LINE, LEVEL = np.column_stack([np.ones(50), X]), np.ones((50, 1))


@pytest.fixture(scope="module")
def evidences():
    settings = {"chains": 128, "steps": 16, "progress": False}
    return {name: mcmc.evidence(regression(x), **settings) for name, x in (("level", LEVEL), ("line", LINE))}


def test_the_table_has_elpd_and_evidence(evidences):
    found = mcmc.compare_models(evidences)
    table = found.table
    assert found.best == "line"
    assert found.ok
    for name, x in (("level", LEVEL), ("line", LINE)):
        theirs = arviz.loo(evidences[name].draws, pointwise=True)
        assert table.loc[name, "elpd"] == pytest.approx(theirs.elpd, abs=1e-6)
        assert table.loc[name, "elpd_se"] == pytest.approx(theirs.se, abs=1e-6)
        error = table.loc[name, "evidence_error"]
        assert abs(table.loc[name, "log_evidence"] - exact(x)) < 4 * error
    wanted = exact(LEVEL) - exact(LINE)
    assert table.loc["level", "log_bayes_factor"] == pytest.approx(wanted, abs=0.1)
    assert table.loc["line", "elpd_diff"] == 0.0


def test_differences_and_weights_are_arvizs(evidences):
    found = mcmc.compare_models(evidences).table
    theirs = arviz.compare({n: e.draws for n, e in evidences.items()}, round_to="none")
    np.testing.assert_allclose(found.loc["level", "elpd_diff"], float(theirs.loc["level", "elpd_diff"]), rtol=1e-5)
    np.testing.assert_allclose(found.loc["level", "diff_se"], float(theirs.loc["level", "dse"]), rtol=1e-5)
    np.testing.assert_allclose(found["weight"], theirs["weight"].astype(float)[found.index], atol=1e-2)


def test_without_evidence_the_table_has_elpd_alone():
    draws = draw(regression(LINE), chains=16, draws=100, warmup=200)
    found = mcmc.compare_models({"one": draws, "two": draws})
    assert found.table["log_evidence"].isna().all()
    assert "evidence" not in str(found)
    assert "predicts as well" in str(found)


@pytest.mark.parametrize("law", ["normal", "cauchy"])  # of the second ArviZ gives no k
def test_a_high_pareto_k_is_said(law):
    lp = -2.0 * getattr(np.random.default_rng(1), f"standard_{law}")(size=(4, 500, 10)) ** 2
    draws = arviz.from_dict({"posterior": {"x": lp[..., 0]}, "log_likelihood": {"y": lp}})
    found = mcmc.compare_models({"a": draws, "b": draws})
    assert not found.ok
    assert "Pareto k" in str(found)
    assert "cross_validate" in str(found)


def test_other_observations_are_refused():
    one, two = (
        arviz.from_dict({"posterior": {"x": np.zeros((4, 50))}, "log_likelihood": {"y": RNG.normal(size=(4, 50, n))}})
        for n in (5, 6)
    )
    with pytest.raises(ValueError, match="5 in a, 6 in b"):
        mcmc.compare_models({"a": one, "b": two})
    with pytest.raises(ValueError, match="two models"):
        mcmc.compare_models({"a": one})
    with pytest.raises(TypeError, match="DataTree"):
        mcmc.compare_models({"a": one, "b": 3})
    with pytest.raises(ValueError, match="log_likelihood"):
        mcmc.compare_models({"a": one, "b": arviz.from_dict({"posterior": {"x": np.zeros((4, 50))}})})
    predicted = arviz.from_dict({"log_likelihood": {"y": np.zeros((4, 50, 5))}})
    with pytest.raises(ValueError, match=r"posterior too.*update"):
        mcmc.compare_models({"a": one, "b": predicted})


@pytest.mark.parametrize("change", [np.log1p, lambda y: y[::-1]])
def test_outcomes_of_other_values_are_refused(change):
    y = np.arange(5.0)
    one, two = (
        {"posterior": {"x": np.zeros((4, 50))}, "log_likelihood": {"y": RNG.normal(size=(4, 50, 5))},
         "observed_data": {"y": values}} for values in (y, change(y))
    )  # fmt: skip
    with pytest.raises(ValueError, match="other values of y in a and b"):
        mcmc.compare_models({"a": arviz.from_dict(one), "b": arviz.from_dict(two)})
    assert mcmc.compare_models({"a": arviz.from_dict(one), "b": arviz.from_dict(one)}).table.shape[0] == 2


def test_compare_points_to_it_where_parameters_differ():
    rng = np.random.default_rng(0)
    one = {"posterior": {"a": rng.normal(size=(4, 400)), "b": rng.normal(size=(4, 400))}}
    two = {"posterior": {"a": rng.normal(size=(4, 400))}}
    assert "mcmc.compare_models" in str(mcmc.compare(one, two))
    with pytest.raises(ValueError, match="compare_models"):
        mcmc.compare({"posterior": {"z": rng.normal(size=(4, 400))}}, two)
