"""Simulation-based calibration: the band holds what it promises, right samplers pass and wrong ones fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.sbc import Calibration, rank_band, rank_p_value, sbc


def test_the_band_holds_uniform_ranks_as_often_as_promised():
    rng = np.random.default_rng(1)
    simulations, of, level = 150, 64, 0.1
    points, low, high = rank_band(simulations, of, level)
    outside = 0
    for _ in range(400):
        ranks = rng.integers(0, of + 1, simulations)
        ecdf = np.array([(ranks < k).mean() for k in range(1, of + 1)])
        outside += bool(((ecdf < low - 1e-12) | (ecdf > high + 1e-12)).any())
    assert 0.05 < outside / 400 < 0.15  # 0.1, with an error of 0.015 each in test and band
    np.testing.assert_allclose(points, np.arange(1, 65) / 65)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (2.0, 0.0), (1.0, 0.6)])
def test_ranks_that_are_not_uniform_have_small_p_values(scale, shift):
    rng = np.random.default_rng(2)
    true, drawn = rng.normal(size=(200, 1)), scale * rng.normal(size=(200, 64)) + shift
    assert rank_p_value((drawn < true).sum(axis=1), 64) < 0.01
    right = rng.normal(size=(200, 64))
    assert rank_p_value((right < true).sum(axis=1), 64) > 0.01


def test_a_calibration_says_what_fails_and_draws_it(tmp_path):
    rng = np.random.default_rng(3)
    ranks = np.stack([rng.integers(0, 65, 100), rng.integers(30, 65, 100)], axis=1)
    p_values = np.array([rank_p_value(r, 64) for r in ranks.T])
    found = Calibration(("good", "bad"), ranks, 64, 0.01, p_values, unconverged=3)
    assert not found.ok
    assert found.failing == ("bad",)
    assert "Not calibrated: bad" in str(found)
    assert "3 of the runs" in str(found)
    found.plot(tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 5000


def prior(key):
    first, second = jax.random.split(key)
    return {"mu": jax.random.normal(first), "s": jax.random.exponential(second)}


def simulate(key, p):
    return p["mu"] + p["s"] * jax.random.normal(key, (8,))


def log_density(p, y):
    likelihood = -0.5 * ((y - p["mu"]) / p["s"]) ** 2 - jnp.log(p["s"])
    return -0.5 * p["mu"] ** 2 - p["s"] + likelihood.sum()


def target_of(density):
    return mcmc.Target(density, {"mu": mcmc.real(), "s": mcmc.positive()}, data=jnp.zeros(8))


@pytest.mark.slow
def test_our_sampler_is_calibrated():
    found = sbc(prior, simulate, target_of(log_density), simulations=60, draws=20, progress=False)
    assert found.ok, str(found)
    assert found.labels == ("mu", "s")
    assert found.ranks.shape == (60, 2)


@pytest.mark.slow
def test_a_wrong_density_is_found():
    def forgets_a_term(p, y):  # the log of the scale, once
        return log_density(p, y) + 4 * jnp.log(p["s"])

    found = sbc(prior, simulate, target_of(forgets_a_term), simulations=60, draws=20, progress=False)
    assert "s" in found.failing


@pytest.mark.parametrize("arguments", [{"simulations": 3}, {"chains": 1}, {"draws": 0}, {"level": 2.0}])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        sbc(prior, simulate, target_of(log_density), **arguments)


def test_a_prior_must_name_the_targets_parameters():
    with pytest.raises(ValueError, match="Name them alike"):
        sbc(lambda key: {"nu": 0.0}, lambda key, p: jnp.zeros(8), target_of(log_density), draws=4, progress=False)
