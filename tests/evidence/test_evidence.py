"""The evidence of models whose evidence is known, the error that is stated, and what is refused."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from evidence_laws import LAWS, normal, normal_normal, spike_and_slab, target_of, two_modes
from runs import draw

import mcmc
from mcmc.evidence.laplace import laplace

SMALL = {"chains": 256, "steps": 16, "progress": False}
PRECISE = {"normal_normal": 0.01, "beta_binomial": 0.01, "regression": 0.05, "two_modes": 0.3, "eight_shells": 0.15}


def found(target, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        return mcmc.evidence(target, **SMALL | settings)


@pytest.mark.parametrize("name", LAWS)
def test_the_evidence_is_right_by_both_ways(name):
    target, exact = LAWS[name]()
    made = found(target, seed=3)
    for way in (made.smc, made.bridge, made):
        assert abs(way.log_evidence - exact) < 4 * way.error  # of 16 islands: Student's t with 15 degrees
    assert made.error < PRECISE.get(name, 0.05)
    assert made.draws["posterior"].sizes["chain"] == 16
    assert made.ok, made.reasons


@pytest.mark.parametrize("name", ["beta_binomial", "eight_shells"])
def test_levels_of_the_likelihood_give_the_same(name):
    target, exact = LAWS[name]()
    made = found(target, path="levels", seed=4, chains=64, steps=16)
    for way in (made.smc, made.bridge):
        assert abs(way.log_evidence - exact) < 4 * way.error
    assert made.smc.error < 0.15


def test_levels_find_a_spike_that_temperatures_miss():
    """A transition of first order (Skilling 2006): 99 % of the evidence are a spike in 8 dimensions."""
    target, exact = spike_and_slab(dim=8, spike=0.001)
    by_levels = found(target, path="levels", seed=4, chains=128, steps=16)
    assert abs(by_levels.log_evidence - exact) < 4 * by_levels.error
    assert by_levels.error < 0.3
    missed = found(target, path="temperatures", seed=4)
    assert missed.smc.log_evidence < exact - 2
    assert not missed.ok
    assert any("narrow mode" in reason for reason in missed.reasons)


def test_by_default_levels_follow_where_temperatures_miss_a_mode(capsys):
    target, exact = spike_and_slab(dim=8, spike=0.001)
    made = found(target, seed=4, chains=128, progress=True)
    assert "through levels" in capsys.readouterr().err
    assert abs(made.log_evidence - exact) < 4 * made.error


@pytest.mark.parametrize("name", ["regression", "two_modes", "eight_schools"])
def test_importance_sampling_at_the_highest_mode_sees_no_more_than_there_is(name):
    target, exact = LAWS[name]()
    positions = 0.1 * np.random.default_rng(0).normal(size=(64, target.dim))
    with jax.enable_x64(True):
        beside = laplace(target, positions, np.float64, np.random.default_rng(1))
    assert (beside is None) == (name == "eight_schools")  # whose mode is nowhere near normal
    assert beside is None or beside.log_evidence < exact + 4 * beside.error


def test_the_stated_error_is_the_spread_over_seeds():
    target, exact = normal_normal()
    made = [found(target, seed=seed, chains=64, steps=8) for seed in range(24)]
    for way in ("smc", "bridge"):
        values = np.array([getattr(m, way).log_evidence for m in made])
        errors = np.array([getattr(m, way).error for m in made])
        ratio = np.sqrt((errors**2).mean()) / values.std(ddof=1)
        assert 1 / 1.5 < ratio < 1.5
        assert abs(values.mean() - exact) < 4 * values.std(ddof=1) / np.sqrt(len(made))


def test_the_particles_are_a_posterior_with_both_modes():
    draws = found(two_modes()[0], seed=1).draws
    x = draws["posterior"]["x"].values
    assert ((x > 0).all(-1) | (x < 0).all(-1)).mean() > 0.99
    share = (x[..., 0] > 0).mean(1)
    assert abs(share.mean() - 0.8) < 5 * share.std(ddof=1) / 4
    assert {"log_prior", "log_likelihood", "sample_stats"} <= set(draws.children)
    assert draws.attrs["log_evidence"] == pytest.approx(-3 * np.log(20), abs=0.5)


def test_parameters_may_be_named_in_any_order():
    """JAX sorts the names of a dict; the position has them in the target's order."""
    target = target_of(
        {"z": mcmc.positive(), "a": mcmc.interval(0.0, 1.0)},
        None,
        lambda p: -p["z"],
        lambda p: {"y": normal(1.0, p["z"] * p["a"], 0.5)},
        lambda key: {"z": jax.random.exponential(key), "a": jax.random.uniform(jax.random.fold_in(key, 1))},
    )
    rng = np.random.default_rng(0)
    z, a = rng.exponential(size=1_000_000), rng.uniform(size=1_000_000)
    likelihood = np.exp(-0.5 * ((1 - z * a) / 0.5) ** 2) / (0.5 * np.sqrt(2 * np.pi))
    made = found(target, seed=1)
    assert made.ok
    assert abs(made.smc.log_evidence - np.log(likelihood.mean())) < 4 * made.smc.error
    prior = mcmc.predict_prior(target, draws=500)["prior"]
    assert float(prior["a"].max()) < 1 < float(prior["z"].max())


def test_without_draws_of_the_prior_it_is_drawn_by_chains():
    target, exact = normal_normal()
    made = found(target._copy(prior=None), seed=2)
    assert abs(made.smc.log_evidence - exact) < 4 * made.smc.error
    assert made.ok


def test_a_random_walk_moves_particles_too():
    target, exact = normal_normal()
    made = found(target, kernel=mcmc.RandomWalk(), seed=2, steps=32)
    assert abs(made.log_evidence - exact) < 4 * made.error
    assert "RandomWalk" in made.draws.attrs["kernel"]


def test_bridge_sampling_takes_existing_draws():
    target, exact = normal_normal()
    draws = draw(target, chains=16, draws=300, warmup=200)
    made = found(target, draws=draws, seed=2)
    assert abs(made.bridge.log_evidence - exact) < 4 * made.bridge.error
    assert made.bridge.error < 0.02


def test_a_prior_without_its_constant_is_found_out():
    def log_prior(p):
        return -0.5 * p["mu"] ** 2  # lacks -0.92

    def log_likelihood(p):
        return {"y": normal(1.0, p["mu"])}

    target = target_of({"mu": mcmc.real()}, None, log_prior, log_likelihood, lambda k: {"mu": jax.random.normal(k)})
    with pytest.warns(mcmc.ConvergenceWarning, match="constants"):
        made = mcmc.evidence(target, **SMALL)
    assert not made.ok
    assert made.bridge.log_evidence - made.smc.log_evidence == pytest.approx(0.5 * np.log(2 * np.pi), abs=0.1)
    assert str(made).startswith("Use with care")


def test_the_same_seed_gives_the_same_evidence():
    target, _ = normal_normal()
    one, two = (found(target, seed=7) for _ in range(2))
    assert one.log_evidence == two.log_evidence
    assert found(target, seed=8).log_evidence != one.log_evidence


def test_an_impossible_likelihood_is_an_error():
    target = target_of(
        {"mu": mcmc.real()},
        None,
        lambda p: normal(p["mu"]),
        lambda p: {"y": jnp.where(p["mu"] > 100, 0.0, -jnp.inf)},
        lambda k: {"mu": jax.random.normal(k)},
    )
    with pytest.raises(mcmc.SamplingError, match="-inf at every draw"):
        found(target)


def test_a_likelihood_that_is_nan_is_an_error():
    def log_likelihood(p):
        return {"y": jnp.where(p["mu"] > 1.0, jnp.nan, 0.0)}

    target = target_of(
        {"mu": mcmc.real()}, None, lambda p: normal(p["mu"]), log_likelihood, lambda k: {"mu": jax.random.normal(k)}
    )
    with pytest.raises(ValueError, match=r"NaN at \d+ of \d+ draws of the prior"):
        found(target)


WRONG = [
    (mcmc.Target(lambda p: -(p["x"] ** 2), {"x": mcmc.real()}), {}, "knows its prior"),
    (normal_normal()[0], {"chains": 100}, "multiple of 16"),
    (normal_normal()[0], {"chains": 16}, "chains"),
    (normal_normal()[0], {"steps": 1}, "steps"),
    (normal_normal()[0], {"path": "up"}, "temperatures"),
    (normal_normal()[0], {"kernel": mcmc.Stretch()}, "kernel"),
]


@pytest.mark.parametrize(("target", "settings", "message"), WRONG)
def test_what_can_not_be_is_told(target, settings, message):
    with pytest.raises(ValueError, match=message):
        found(target, **settings)
