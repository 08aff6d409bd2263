"""A target that knows its prior: the density is the sum of its parts, the prior is drawn, and ArviZ reads it all."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from runs import draw
from scipy import stats

import mcmc

arviz = pytest.importorskip("arviz")
RNG = np.random.default_rng(0)
X = RNG.normal(size=40)
Y = 0.5 + 1.5 * X + RNG.normal(size=40)
PARAMETERS = {"a": mcmc.real(), "b": mcmc.real(), "sd": mcmc.positive()}


def log_prior(p, data):
    return {
        "a": jax.scipy.stats.norm.logpdf(p["a"], 0.0, 2.0),
        "b": jax.scipy.stats.norm.logpdf(p["b"], 0.0, 2.0),
        "sd": -p["sd"],
    }


def log_likelihood(p, data):
    return {"y": jax.scipy.stats.norm.logpdf(data["y"], p["a"] + p["b"] * data["x"], p["sd"])}


def predictive(key, p, data):
    return {"y": p["a"] + p["b"] * data["x"] + p["sd"] * jax.random.normal(key, data["x"].shape)}


def prior(key, data):
    a, b, sd = jax.random.split(key, 3)
    return {"a": 2 * jax.random.normal(a), "b": 2 * jax.random.normal(b), "sd": jax.random.exponential(sd)}


def regression(**changed):
    settings = {"log_prior": log_prior, "log_likelihood": log_likelihood, "predictive": predictive, "prior": prior}
    return mcmc.Target(None, PARAMETERS, {"x": X, "y": Y}, **settings | changed)


@pytest.fixture(scope="module")
def target():
    return regression()


@pytest.fixture(scope="module")
def tree(target):
    """A run with its prior beside it."""
    draws = draw(target, chains=16, draws=200, warmup=200)
    return draws.update(mcmc.predict_prior(target, draws=500, seed=1).children) or draws


# --- the density ----------------------------------------------------------------------------------------


def test_the_density_is_the_sum_of_prior_and_likelihood(target):
    p = {"a": jnp.array(0.3), "b": jnp.array(1.0), "sd": jnp.array(2.0)}
    by_hand = stats.norm.logpdf([0.3, 1.0], 0, 2).sum() - 2.0 + stats.norm.logpdf(Y, 0.3 + X, 2.0).sum()
    assert float(target.log_density(p, target.data)) == pytest.approx(by_hand, rel=1e-5)
    y = target.unconstrain(p)
    assert float(target.value(y, target.data)) == pytest.approx(by_hand + np.log(2.0), rel=1e-5)


def test_the_run_is_that_of_the_same_density_written_as_one(target, tree):
    def whole(p, data):
        return sum(log_prior(p, data).values()) + log_likelihood(p, data)["y"].sum()

    draws = draw(mcmc.Target(whole, PARAMETERS, {"x": X, "y": Y}), chains=16, draws=200, warmup=200)
    for name in PARAMETERS:
        a, b = tree["posterior"][name].values, draws["posterior"][name].values
        np.testing.assert_allclose(a.mean(), b.mean(), atol=5 * np.hypot(mcmc.mcse(a), mcmc.mcse(b)))


def test_log_prior_and_likelihood_are_recorded(tree):
    p = tree["posterior"]
    np.testing.assert_allclose(tree["log_prior"]["sd"], -p["sd"], rtol=1e-12)
    np.testing.assert_allclose(tree["log_prior"]["a"], stats.norm.logpdf(p["a"], 0, 2), rtol=1e-10)
    total = sum(tree["log_prior"][n].values for n in PARAMETERS) + tree["log_likelihood"]["y"].sum("y_dim_0").values
    np.testing.assert_allclose(total, tree["sample_stats"]["lp"] - np.log(p["sd"]), atol=1e-8)


def test_a_scalar_prior_is_one_term_and_terms_have_the_dims_of_their_shape():
    def terms(p):
        return {"theta": -0.5 * p["theta"] ** 2, "whole": -0.5 * (p["theta"] ** 2).sum()}

    def pointwise(p):
        return {"y": -0.5 * (p["theta"] - 1.0) ** 2}

    settings = {"log_likelihood": pointwise, "dims": {"theta": ["school"], "whole": ["school"]}}
    posterior = xarray.Dataset({"theta": (("chain", "draw", "school"), np.ones((2, 3, 8)))})
    draws = xarray.DataTree.from_dict({"posterior": posterior})
    target = mcmc.Target(None, {"theta": mcmc.real(8)}, log_prior=terms, **settings)
    made = mcmc.predict(target, draws)["log_prior"]
    assert made["theta"].dims == ("chain", "draw", "school")
    assert made["whole"].dims == ("chain", "draw")
    scalar = mcmc.Target(None, {"theta": mcmc.real(8)}, log_prior=lambda p: terms(p)["whole"], **settings)
    np.testing.assert_allclose(mcmc.predict(scalar, draws)["log_prior"]["log_prior"], -4.0)


def test_other_supports_and_rules_keep_the_parts(target):
    rule = target.restricted_to(lambda p: p["b"] > 0)
    p = {"a": 0.0, "b": jnp.array(-1.0), "sd": 1.0}
    assert rule.log_density(p, rule.data) == -np.inf
    assert float(rule.log_density({**p, "b": jnp.array(1.0)}, rule.data)) == pytest.approx(
        float(target.log_density({**p, "b": jnp.array(1.0)}, target.data))
    )
    b = mcmc.predict_prior(rule, draws=400, seed=2)["prior"]["b"]  # no longer the law of prior=
    assert float(b.min()) > 0
    assert float(b.mean()) == pytest.approx(2 * np.sqrt(2 / np.pi), abs=0.3)


WRONG = [
    ({"log_prior": None}, TypeError, "log_prior"),
    ({"log_likelihood": None}, TypeError, "log_likelihood"),
    ({"log_prior": 3.0}, TypeError, "log_prior"),
    ({"prior": 3.0}, TypeError, "prior"),
    ({"log_prior": lambda p, d: jnp.ones(3)}, ValueError, "scalar, or a dict"),
    ({"log_prior": lambda p: 0.0}, TypeError, r"\(p, data\)"),
    ({"log_prior": lambda p, d: p["missing"]}, ValueError, "missing"),
    ({"log_prior": lambda p, d: 1.0 if p["a"] > 0 else 0.0}, TypeError, "jnp.where"),
    ({"log_likelihood": lambda p, d: jnp.ones(3)}, TypeError, "dict"),
]


@pytest.mark.parametrize(("changed", "error", "message"), WRONG)
def test_wrong_parts_are_told(changed, error, message):
    with pytest.raises(error, match=message):
        draw(regression(**changed), draws=10)


def test_a_density_and_a_prior_are_one_too_many():
    with pytest.raises(ValueError, match="either of them"):
        mcmc.Target(lambda p: 0.0, {"x": mcmc.real()}, log_prior=lambda p: 0.0)


# --- the prior drawn --------------------------------------------------------------------------------------


def test_the_prior_is_drawn_by_its_function(tree):
    prior, simulated = tree["prior"], tree["prior_predictive"]["y"]
    assert prior["a"].shape == (1, 500)
    assert simulated.shape == (1, 500, 40)
    for name, law in (("a", stats.norm(0, 2)), ("sd", stats.expon())):
        assert stats.kstest(prior[name].values.ravel(), law.cdf).pvalue > 1e-3
    wanted = 8 * (1 + X**2).mean() / 2 + 2.0  # var a + x^2 var b + E sd^2
    assert float(simulated.var()) == pytest.approx(wanted, rel=0.2)


def test_without_its_function_the_prior_is_drawn_by_chains():
    made = mcmc.predict_prior(regression(prior=None), draws=2000, seed=3)
    for name, law in (("a", stats.norm(0, 2)), ("sd", stats.expon())):
        x = made["prior"][name].values.ravel()
        assert x.shape == (2000,)
        assert abs(x.mean() - law.mean()) < 5 * law.std() / np.sqrt(500)
        assert x.std() == pytest.approx(law.std(), rel=0.15)
    assert made.attrs["verdict"].startswith("Good")


def test_an_improper_prior_is_said():
    flat = mcmc.Target(
        None, {"x": mcmc.real()}, log_prior=lambda p: 0.0 * p["x"], log_likelihood=lambda p: {"y": -(p["x"] ** 2)}
    )
    with pytest.warns(mcmc.ConvergenceWarning, match="prior"):
        assert "Do not use" in mcmc.predict_prior(flat, draws=10).attrs["verdict"]


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (lambda key, d: {"a": 0.0, "b": 0.0}, "sd"),
        (lambda key, d: {"a": jnp.zeros(2), "b": 0.0, "sd": 1.0}, "shape"),
        (lambda key, d: {"a": 0.0, "b": 0.0, "sd": -1.0}, "inside the supports"),
        (
            lambda key, d: {"a": 0.0, "b": 0.0, "sd": 1.0, "z": 0.0, "c": 1},
            "prior: got c, z too.*parameters a, b, sd alone",
        ),
        (lambda key, d: {"a": 0.0, "b": 0.0, "sd": 1.0, "raw": {"sd": 1.0}}, r"raw\.sd.*Leave out"),
    ],
)
def test_a_prior_that_is_not_the_targets_is_refused(prior, message):
    with pytest.raises(ValueError, match=message):
        mcmc.predict_prior(regression(prior=prior), draws=5)


def test_nested_parameters_are_no_other_names():
    settings = {"log_prior": lambda p: -(p["g"]["m"] ** 2), "log_likelihood": lambda p: {"y": -(p["g"]["m"] ** 2)}}
    nested = mcmc.Target(None, {"g": {"m": mcmc.real()}}, prior=lambda key: {"g": {"m": 0.5}}, **settings)
    assert (mcmc.predict_prior(nested, draws=3)["prior"]["g.m"] == 0.5).all()
    nested = mcmc.Target(None, {"g": {"m": mcmc.real()}}, prior=lambda key: {"g": {"m": 0.5, "t": 1.0}}, **settings)
    with pytest.raises(ValueError, match=r"g\.t"):
        mcmc.predict_prior(nested, draws=3)


def test_a_target_that_does_not_know_its_prior_is_refused():
    with pytest.raises(ValueError, match="knows its prior"):
        mcmc.predict_prior(mcmc.Target(lambda p: -(p["x"] ** 2), {"x": mcmc.real()}))


# --- new data, and ArviZ --------------------------------------------------------------------------------------


def test_predictions_at_new_places_need_no_outcome(target, tree):
    made = mcmc.predict(target, tree, data={"x": np.array([0.0, 10.0])}, seed=2)
    assert set(made.children) == {"predictions"}
    mean = made["predictions"]["y"].mean(("chain", "draw")).values
    line = tree["posterior"]["a"].mean().item() + tree["posterior"]["b"].mean().item() * np.array([0.0, 10.0])
    np.testing.assert_allclose(mean, line, atol=0.2)


def test_sensitivity_to_the_prior(tree):
    found = arviz.psense(tree, group="prior")
    assert all(0 <= float(found[name]) < 0.05 for name in PARAMETERS)
    assert all(float(x) > 0.05 for x in arviz.psense(tree, group="likelihood").data_vars.values())
    assert (arviz.psense_summary(tree)["diagnosis"] == "✓").all()


def test_bayes_factor_of_a_point(tree):
    """Savage and Dickey: the prior's density at the point over the posterior's."""
    found = arviz.bayes_factor(tree, var_names="a", ref_vals=0.5)
    post = tree["posterior"]["a"].values
    wanted = stats.norm.pdf(0.5, 0, 2) / stats.norm.pdf(0.5, post.mean(), post.std())
    assert float(found["a"].sel(bf_type="BF10")) == pytest.approx(wanted, rel=0.25)


def test_loo_and_compare(tree):
    found = arviz.loo(tree)
    assert not found.warning
    pit = arviz.loo_pit(tree)
    assert stats.kstest(np.ravel(pit["y"].values), "uniform").pvalue > 1e-3
    table = arviz.compare({"one": tree, "two": tree}, round_to="none")
    np.testing.assert_allclose(table["elpd"].astype(float), found.elpd, atol=1e-6)


PLOTS = {
    "plot_psense_dist": {},
    "plot_psense_quantities": {},
    "plot_prior_posterior": {},
    "plot_bf": {"var_names": "a"},
    "plot_loo_pit": {},
    "plot_ppc_dist": {},
    "plot_ppc_dist_pit": {},
    "plot_ppc_pit": {},
    "plot_ppc_tstat": {},
    "plot_ppc_interval": {},
    "plot_loo_interval": {},
}


@pytest.mark.filterwarnings("ignore")  # of ArviZ and matplotlib
@pytest.mark.parametrize("plot", PLOTS)
def test_arviz_draws_it(tree, plot):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    try:
        assert getattr(arviz, plot)(tree, backend="matplotlib", **PLOTS[plot]) is not None
        assert pyplot.get_fignums()
    finally:
        pyplot.close("all")


@pytest.mark.filterwarnings("ignore")
def test_arviz_draws_the_prior_predictive(tree):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    try:
        assert arviz.plot_ppc_dist(tree, group="prior_predictive", backend="matplotlib") is not None
    finally:
        pyplot.close("all")


def test_no_warning_of_our_own(target):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mcmc.predict_prior(target, draws=20)


def test_a_prior_with_other_arguments_is_told_which_it_gets():
    target = mcmc.Target(
        None, {"m": mcmc.real()}, {"y": np.zeros(2)}, log_prior=lambda p, d: -(p["m"] ** 2),
        log_likelihood=lambda p, d: {"y": -((d["y"] - p["m"]) ** 2)}, prior=lambda key: {"m": 0.0},
    )  # fmt: skip
    with pytest.raises(TypeError, match=r"prior.*\(key, data\)"):
        mcmc.predict_prior(target, draws=5)
