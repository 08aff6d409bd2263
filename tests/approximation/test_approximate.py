"""Quick answers: right where they say so, and not good enough to report where they are not right."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME
from runs import draw, target_of

import mcmc
from mcmc.approximation.weights import smoothed


def approximate(target, method="pathfinder", **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return mcmc.approximate(target, method, **settings)


def facts(tree):
    return tree["approximation"].attrs


@pytest.mark.parametrize("method", ["pathfinder", "laplace"])
@pytest.mark.parametrize("name", ["normal", "gamma"])
def test_it_is_right_where_it_says_so(name, method):
    law, tree = BY_NAME[name], approximate(target_of(name), method, seed=1)
    assert facts(tree)["good"]
    assert facts(tree)["pareto_k"] < 0.7
    for parameter, mean in law.mean.items():
        x = tree["posterior"][parameter].values
        assert x.shape[:2] == (64, 16)
        error = law.sd[parameter] * np.sqrt(1 / facts(tree)["ess"] + 1 / 1024)
        assert np.all(np.abs(x.mean((0, 1)) - mean) < 5 * error)
        np.testing.assert_allclose(x.std((0, 1)), law.sd[parameter], rtol=0.15)
    assert mcmc.diagnose(tree)["approximation"].passed


@pytest.mark.parametrize(
    ("name", "method"), [("banana", "pathfinder"), ("banana", "laplace"), ("funnel_hard", "laplace")]
)
def test_it_is_not_good_enough_to_report_where_it_is_wrong(name, method):
    with pytest.warns(mcmc.ConvergenceWarning, match="[Nn]ot good enough to report"):
        tree = mcmc.approximate(target_of(name), method)
    assert not facts(tree)["good"]
    check = mcmc.diagnose(tree)["approximation"]
    assert check.failed
    assert check.call == "mcmc.sample(target, init=draws)"


def test_laplace_of_a_normal_law_is_its_covariance():
    """The weights are those of a defensive mixture: between 1/2 and 4/3 of each other, whatever the metric."""
    tree = approximate(target_of("correlated_normal"), "laplace", chains=64, draws=64)
    x = tree["posterior"]["x"].values.reshape(-1, 5)
    np.testing.assert_allclose(np.cov(x.T), BY_NAME["correlated_normal"].covariance["x"], atol=0.1)
    assert facts(tree)["ess"] > 0.8 * tree["approximation"].sizes["proposal"]


def test_map_is_the_mode_of_the_density_as_written():
    tree = approximate(target_of("gamma"), "map")  # x^2 exp(-2 x): its mode is 1, and 1.5 with the Jacobian
    assert tree["posterior"]["x"].shape == (1, 1)
    assert float(tree["posterior"]["x"].squeeze()) == pytest.approx(1.0, abs=1e-4)
    assert facts(tree)["is_mode"]
    assert "point" in facts(tree)["verdict"]
    assert not mcmc.diagnose(tree).ok


def test_a_density_without_a_mode_has_no_map():
    def hierarchy(p):  # rises without end towards tau = 0
        return -jnp.log(p["tau"]) - 0.5 * (p["x"] / p["tau"]) ** 2 - p["tau"]

    tree = approximate(mcmc.Target(hierarchy, {"tau": mcmc.positive(), "x": mcmc.real()}), "map")
    assert not facts(tree)["is_mode"]
    assert "No mode was found" in facts(tree)["verdict"]


def test_it_starts_a_run():
    target = target_of("correlated_normal")
    tree = approximate(target)
    draws = draw(target, init=tree, warmup=100, draws=50)
    assert draws["posterior"].sizes["chain"] == 64
    assert np.abs(draws["posterior"]["x"].values.mean((0, 1)) - BY_NAME["correlated_normal"].mean["x"]).max() < 0.2


def test_a_mode_starts_as_many_chains_as_are_asked_for():
    target = target_of("gamma")
    draws = draw(target, init=approximate(target, "map"), chains=8, warmup=100, draws=50)
    assert draws["posterior"].sizes["chain"] == 8
    assert len(np.unique(draws["posterior"]["x"].values[:, 0])) == 8
    assert mcmc.settings.chains_in(target, approximate(target, "map")) is None  # then as many as by default


@pytest.mark.parametrize("chains", [16, 96])  # of 64
def test_a_run_starts_another_number_of_chains(chains):
    target, tree = target_of("correlated_normal"), approximate(target_of("correlated_normal"))
    draws = draw(target, mcmc.RandomWalk(step_size=1e-9, metric=1.0), init=tree, chains=chains, warmup=0, draws=4)
    starts, theirs = draws["posterior"]["x"].values[:, 0], tree["posterior"]["x"].values.reshape(-1, 5)
    nearest = np.abs(starts[:, None] - theirs).max(-1)
    assert nearest.min(1).max() < 1e-6
    assert len(np.unique(starts[:, 0])) > 0.8 * chains  # draws by weights may repeat


def test_what_the_target_gives_is_there_too():
    y = np.array([0.5, 1.5])
    target = mcmc.Target(
        None,
        {"mu": mcmc.real()},
        {"y": y},
        derived=lambda p, d: {"twice": 2 * p["mu"]},
        log_prior=lambda p, d: -0.5 * p["mu"] ** 2,
        log_likelihood=lambda p, d: {"y": -0.5 * (d["y"] - p["mu"]) ** 2},
        predictive=lambda key, p, d: {"y": p["mu"] + jax.random.normal(key, (2,))},
    )
    tree = approximate(target, "laplace", seed=3)
    assert {"log_prior", "log_likelihood", "posterior_predictive", "observed_data"} <= set(tree.children)
    np.testing.assert_allclose(tree["posterior"]["twice"], 2 * tree["posterior"]["mu"])
    assert float(tree["posterior"]["mu"].mean()) == pytest.approx(2 / 3, abs=0.1)
    again = approximate(target, "laplace", seed=3)
    np.testing.assert_array_equal(tree["posterior"]["mu"], again["posterior"]["mu"])


def test_weights_are_normalised_and_k_is_of_the_tail():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(4000)
    narrow = smoothed(-0.5 * (x / 2) ** 2, -0.5 * x**2)  # the density is twice as wide: k = 1 - 1/4
    assert np.exp(narrow.log_weights).sum() == pytest.approx(1.0)
    assert narrow.pareto_k == pytest.approx(0.75, abs=0.2)
    exact = smoothed(x, x + 3.0)
    assert exact.pareto_k == -np.inf
    assert exact.ess == pytest.approx(4000)
    assert smoothed(np.full(100, -np.inf), np.zeros(100)).pareto_k == np.inf
    assert np.bincount(exact.resample(8000, rng), minlength=4000).max() <= 3


@pytest.mark.parametrize(
    ("target", "method", "message"),
    [
        (target_of("normal"), "vi", "method"),
        (target_of("binomial"), "laplace", "discrete n"),
        (mcmc.Target.black_box(lambda p: 0.0, {"x": mcmc.real()}), "map", "black box"),
    ],
)
def test_what_can_not_be_is_told(target, method, message):
    with pytest.raises(ValueError, match=message):
        approximate(target, method)


def test_a_density_that_is_flat_has_no_path():
    with pytest.raises(mcmc.SamplingError, match="downwards"):
        approximate(mcmc.Target(lambda p: 0.0 * jnp.sum(p["x"]), {"x": mcmc.real()}))
