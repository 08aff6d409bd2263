"""Starts by Pathfinder, chains that are lost, the resolution of a log density."""

import tracemalloc
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw

import mcmc
from mcmc.engine.resolution import COARSE, coarse, resolution
from mcmc.kernels.metric import LowRank
from mcmc.warmup.lost_chains import lost_chains, reseeded
from mcmc.warmup.metric import metric_of
from mcmc.warmup.pathfinder import pathfinder, reach

PRECISION = np.diag([1.0, 4.0, 100.0]) + 0.5
CENTRE = np.array([300.0, -40.0, 2.0])


def normal(y):
    return -0.5 * np.einsum("ni,ij,nj->n", y - CENTRE, PRECISION, y - CENTRE), -(y - CENTRE) @ PRECISION


def test_pathfinder_draws_from_a_normal_target():
    starts = np.random.default_rng(0).uniform(-2, 2, (400, 3))
    ends = pathfinder(starts, normal, np.random.default_rng(1))
    z = (ends - CENTRE) @ np.linalg.cholesky(PRECISION)
    assert np.abs(z.mean(0)).max() < 5 / 20
    assert np.abs(z.std(0) - 1).max() < 0.25


def test_pathfinder_gives_up_a_mode_without_mass():
    def evaluate(y):
        a, b = -0.5 * (y[:, 0] - 5) ** 2, -0.5 * (y[:, 0] + 5) ** 2 - 60
        lp = np.logaddexp(a, b)
        weight = np.exp(a - lp)
        return lp, (-weight * (y[:, 0] - 5) - (1 - weight) * (y[:, 0] + 5))[:, None]

    starts = np.array([[4.0], [-6.0], [-6.5], [-8.0]])
    ends = pathfinder(starts, evaluate, np.random.default_rng(0))
    assert (np.abs(ends - 5) < 5).all()


def test_draws_of_a_poor_approximation_stay_where_the_others_lie():
    def curved(y):
        away = y[:, 1] - y[:, 0] ** 2
        lp = -0.5 * y[:, 0] ** 2 - 5e4 * away**2
        return lp, np.stack([-y[:, 0] + 2e5 * away * y[:, 0], -1e5 * away], 1)

    starts = np.random.default_rng(3).uniform(-2, 2, (100, 2))
    lps = curved(pathfinder(starts, curved, np.random.default_rng(0)))[0]
    assert (lps > np.median(lps) - reach(2)).all()


@pytest.mark.parametrize("middle", [1e3, -1e6])
def test_a_mean_far_away_is_found_past_the_scale_that_bridges_the_way(middle):
    """Far away the scale grows first, and the slope along the mean is then next to nothing."""
    y = middle + np.random.default_rng(5).normal(size=50)

    def evaluate(at):
        mean, log_scale = at.T
        z = (y - mean[:, None]) * np.exp(-log_scale)[:, None]
        gradient = np.stack([(z * np.exp(-log_scale)[:, None]).sum(1), (z**2 - 1).sum(1)], 1)
        return (-0.5 * z**2 - log_scale[:, None]).sum(1), gradient

    starts = np.random.default_rng(3).uniform(-2, 2, (20, 2))
    ends = pathfinder(starts, evaluate, np.random.default_rng(0))
    assert (np.abs(ends[:, 0] - y.mean()) < 5 * y.std() / np.sqrt(50)).all()
    assert (np.abs(ends[:, 1] - np.log(y.std())) < 0.5).all()


def test_where_nothing_is_better_the_starts_come_back():
    starts = np.ones((3, 2))
    ends = pathfinder(starts, lambda y: (np.zeros(len(y)), np.zeros_like(y)), np.random.default_rng(0))
    np.testing.assert_array_equal(ends, starts)


def test_an_error_in_the_log_density_comes_out_of_pathfinder():
    def broken(y):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        pathfinder(np.ones((3, 2)), broken, np.random.default_rng(0))


def test_a_posterior_of_raw_data_is_found_from_default_starts():
    y = np.random.default_rng(0).normal(70.0, 4.0, 500)
    x = np.linspace(1000.0, 2000.0, 500)

    def log_density(p, data):
        x, y = data
        return -0.5 * jnp.sum(((y - p["a"] - p["b"] * x) / p["sigma"]) ** 2) - y.size * jnp.log(p["sigma"])

    parameters = {"a": mcmc.real(), "b": mcmc.real(), "sigma": mcmc.positive()}
    draws = draw(mcmc.Target(log_density, parameters, data=(x, y)), None, chains=64, draws=100)
    assert draws.attrs["starts_improved"] == 1
    a = draws["posterior"]["a"].values
    design = np.stack([np.ones(500), x], 1)
    best = np.linalg.lstsq(design, y, rcond=None)[0]
    sd = 4.0 * np.sqrt(np.linalg.inv(design.T @ design)[0, 0])
    assert abs(a.mean() - best[0]) < 0.15 * sd
    assert abs(a.std() / sd - 1) < 0.15


@pytest.mark.parametrize("init", ["pathfindr", "zero"])
def test_init_of_another_name_is_an_error(init):
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    with pytest.raises(ValueError, match=r"init.*pathfinder"):
        mcmc.sample(target, init=init, progress=False)
    with pytest.raises(ValueError, match=r"init.*gradient"):
        mcmc.sample(target, mcmc.RandomWalk(), init="pathfinder", progress=False)


# --- lost chains ------------------------------------------------------------------------------------------


def test_a_chain_far_below_the_others_is_lost():
    lp = np.random.default_rng(0).normal(-10, 2, 64)
    assert not lost_chains(lp).any()
    lp[5] = -80.0
    assert np.flatnonzero(lost_chains(lp)).tolist() == [5]
    assert not lost_chains(lp[3:8]).any()


def test_lost_chains_take_the_state_of_others():
    state = (np.arange(10.0), np.arange(20.0).reshape(10, 2))
    lost = np.arange(10) % 5 == 1
    one, two = reseeded(state, lost, [1, 2])
    assert not set(one[lost]) & {1.0, 6.0}
    np.testing.assert_array_equal(one[~lost], state[0][~lost])
    np.testing.assert_array_equal(two[:, 0], 2 * one)


def two_worlds(p):
    """Almost all mass at 0; a needle at 50, from which no chain comes back."""
    x = p["x"]
    return jnp.logaddexp(-0.5 * x**2, -0.5 * ((x - 50.0) / 0.01) ** 2 - 100.0)


def test_a_lost_chain_is_told_of_and_started_again_where_asked(capfd):
    target = mcmc.Target(two_worlds, {"x": mcmc.real()})
    starts = {"x": np.append(np.linspace(-2, 2, 15), 50.0)}
    settings = {"init": starts, "draws": 200, "warmup": 100, "progress": True}
    with pytest.warns(mcmc.ConvergenceWarning):
        left = mcmc.sample(target, mcmc.HMC(), **settings)
    assert left.attrs["lost_chains"] == "15"
    assert "stuck" in capfd.readouterr().err
    assert (np.abs(left["posterior"]["x"].values[15] - 50) < 1).all()
    helped = mcmc.sample(target, mcmc.HMC(), reseed=True, **settings)
    assert (helped.attrs["lost_chains"], helped.attrs["reseeded_chains"]) == ("", "15")
    assert (np.abs(helped["posterior"]["x"].values) < 6).all()


# --- resolution -------------------------------------------------------------------------------------------


def test_the_resolution_is_the_rounding_error_of_the_log_density():
    positions = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)

    def rounded(y, unit):
        exact = -0.5 * np.sum(y.astype(float) ** 2, 1)
        return np.round(exact / unit) * unit

    assert resolution(positions, lambda y: rounded(y, 1e-12), [0]) < 1e-9
    noise = np.random.default_rng(1)
    found = resolution(positions, lambda y: rounded(y, 1e-12) + noise.normal(0, 0.3, len(y)), [0])
    assert 0.2 < found < 0.4
    assert coarse(COARSE / 2, -1.0, np.dtype("float32")) == ""
    assert 'dtype="float64"' in coarse(found, -1e5, np.dtype("float32"))


def test_in_float32_a_log_density_of_large_numbers_warns():
    target = mcmc.Target(lambda p: -0.5 * p["m"] ** 2 - 1e8, {"m": mcmc.real()})
    settings = {"draws": 20, "warmup": 100, "progress": False}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mcmc.sample(target, dtype="float32", **settings)
    assert any("dtype" in str(w.message) and "float64" in str(w.message) for w in caught)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mcmc.sample(target, dtype="float64", **settings)
    assert not any("dtype" in str(w.message) for w in caught)


def test_in_thousands_of_dimensions_no_array_of_dimension_squared_is_made():
    dim, rng = 4000, np.random.default_rng(8)
    precision = rng.uniform(0.5, 2.0, dim)

    def evaluate(at):
        return -0.5 * (precision * at**2).sum(1), -precision * at

    tracemalloc.start()
    ends = pathfinder(rng.uniform(-2, 2, (4, dim)), evaluate, rng)
    rows = rng.normal(size=(600, dim)) / np.sqrt(precision)
    metric = metric_of(rows, -rows * precision, LowRank(np.ones(dim), np.zeros((dim, 16)), np.ones(16)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * dim**2
    assert np.abs((ends * np.sqrt(precision)).std(1) - 1).max() < 0.2
    assert (np.asarray(metric.variances) == 1).all()
