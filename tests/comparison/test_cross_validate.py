"""Cross-validation against closed forms: a conjugate regression, K folds and one group left out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import compilations
from scipy import stats

import mcmc

RNG = np.random.default_rng(3)
X = np.column_stack([np.ones(30), RNG.normal(size=30)])
Y = X @ [1.0, 2.0] + RNG.normal(size=30)
PRIOR_SD = 3.0


def log_prior(p, data):
    return jax.scipy.stats.norm.logpdf(p["b"], 0.0, PRIOR_SD).sum()


def log_likelihood(p, data):
    return {"y": data["weight"] * jax.scipy.stats.norm.logpdf(data["y"], data["x"] @ p["b"])}


def data_of(rows, weight=None):
    return {"x": X[rows], "y": Y[rows], "weight": np.ones(len(X[rows])) if weight is None else weight}


EVERY = np.arange(30)
SETS = np.split(RNG.permutation(30), 5)
FOLDS = [(data_of(np.setdiff1d(EVERY, held)), data_of(held)) for held in SETS]
SMALL = {"chains": 32, "draws": 60, "progress": False}


@pytest.fixture(scope="module")
def target():
    parts = {"log_prior": log_prior, "log_likelihood": log_likelihood}
    return mcmc.Target(None, {"b": mcmc.real(2)}, data_of(EVERY), **parts)


def predicted(training, held):
    """The exact log predictive density of each held-out value."""
    precision = X[training].T @ X[training] + np.eye(2) / PRIOR_SD**2
    mean, covariance = np.linalg.solve(precision, X[training].T @ Y[training]), np.linalg.inv(precision)
    variance = 1 + np.einsum("ni,ij,nj->n", X[held], covariance, X[held])
    return stats.norm.logpdf(Y[held], X[held] @ mean, np.sqrt(variance))


@pytest.mark.usefixtures("no_kept_programs")
def test_k_folds_are_exact_and_take_one_program(target):
    with compilations() as names:
        found = mcmc.cross_validate(target, FOLDS, seed=1, **SMALL)
    assert names.count("jit(advance)") == 1
    assert names.count("jit(by_chain)") == 1
    exact = [predicted(np.setdiff1d(EVERY, held), held) for held in SETS]
    for fold, errors, wanted in zip(found.pointwise, found.errors, exact, strict=True):
        assert np.all(np.abs(fold["y"] - wanted) < 5 * errors["y"])
    assert found.mcse < 0.1 * found.se
    assert abs(found.elpd - np.sum(exact)) < 5 * found.mcse
    assert found.se == pytest.approx(np.sqrt(30) * np.std(np.concatenate(exact), ddof=1), rel=0.02)
    assert found.ok
    assert "5 folds, 30 values held out" in str(found)
    assert found.table["values"].tolist() == [6] * 5
    assert found.table["elpd"].sum() == pytest.approx(found.elpd)


def test_the_monte_carlo_error_is_the_spread_over_seeds(target):
    runs = [mcmc.cross_validate(target, FOLDS[:2], seed=s, **SMALL | {"draws": 20}) for s in range(12)]
    spread, stated = np.std([r.elpd for r in runs], ddof=1), np.mean([r.mcse for r in runs])
    assert 0.5 < stated / spread < 2.0


def test_the_errors_of_values_that_the_same_draws_predict_go_together(target):
    folds = [(data_of(EVERY[5:]), data_of(np.full(20, k))) for k in (0, 1)]  # one value twenty times
    found = mcmc.cross_validate(target, folds, seed=4, **SMALL)
    of_each = [errors["y"][0] for errors in found.errors]
    assert found.mcse == pytest.approx(20 * np.hypot(*of_each))


def test_a_group_left_out_by_weights_keeps_one_shape(target):
    groups = np.repeat([0, 1, 2], [4, 10, 16])
    folds = [(data_of(EVERY, 1.0 * (groups != g)), data_of(groups == g)) for g in range(3)]
    found = mcmc.cross_validate(target, folds, seed=2, **SMALL)
    for g, fold in enumerate(found.pointwise):
        np.testing.assert_allclose(fold["y"], predicted(groups != g, groups == g), atol=0.15)


def test_unequal_shapes_take_a_program_each_and_it_is_said(target, capsys):
    folds = [(data_of(EVERY[5:]), data_of(EVERY[:5])), (data_of(EVERY[:20]), data_of(EVERY[20:]))]
    found = mcmc.cross_validate(target, folds, seed=2, **SMALL | {"progress": True})
    assert "2 shapes" in capsys.readouterr().err
    np.testing.assert_allclose(found.pointwise[1]["y"], predicted(EVERY[:20], EVERY[20:]), atol=0.1)


def test_a_black_box_goes_one_by_one():
    def fn(p, data):
        b, residual = p["b"], data["y"] - data["x"] @ p["b"]
        return -0.5 * float(b @ b) / PRIOR_SD**2 - 0.5 * float((data["weight"] * residual) @ residual)

    target = mcmc.Target.black_box(fn, {"b": mcmc.real(2)}, data_of(EVERY), log_likelihood=log_likelihood)
    found = mcmc.cross_validate(target, FOLDS[:2], kernel=mcmc.DifferentialEvolution(), warmup=150, **SMALL)
    np.testing.assert_allclose(found.pointwise[0]["y"], predicted(np.setdiff1d(EVERY, SETS[0]), SETS[0]), atol=0.15)


def test_folds_that_did_not_converge_are_named(target):
    with np.errstate(all="ignore"):
        found = mcmc.cross_validate(
            target, FOLDS[:2], kernel=mcmc.RandomWalk(step_size=1e-4, metric=1.0), warmup=0, **SMALL
        )
    assert not found.ok
    assert found.failing == (0, 1)
    assert "failed their diagnosis" in str(found)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([], "two pairs"),
        ([(1, 2)], "two pairs"),
        ([1, 2], "two pairs"),
        ([(1,)] * 2, "pairs"),
        ([([0], [1])] * 2, r"folds\[0\]\[0\].* names that"),
    ],
)
def test_folds_are_pairs(target, folds, message):
    with pytest.raises(ValueError, match=message):
        mcmc.cross_validate(target, folds)


@pytest.mark.parametrize("folds", [5, "groups"])
def test_a_number_of_folds_is_no_list_of_pairs(target, folds):
    with pytest.raises(TypeError, match="list of pairs of data"):
        mcmc.cross_validate(target, folds)


def test_a_target_without_a_likelihood_is_refused():
    with pytest.raises(ValueError, match="log_likelihood"):
        mcmc.cross_validate(mcmc.Target(lambda p, d: -(p["x"] ** 2), {"x": mcmc.real()}, jnp.zeros(1)), FOLDS)
