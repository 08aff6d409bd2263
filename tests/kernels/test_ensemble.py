"""The ensemble moves: affine invariance, both halves move, counts of chains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from laws import CORRELATED, CORRELATED_LOC
from runs import draw, target_of

import mcmc

RNG = np.random.default_rng(8)
START = RNG.normal(size=(20, 3))
A, SHIFT = np.array([[2.0, 0.0, 0.0], [3.0, 0.1, 0.0], [-1.0, 0.5, 40.0]]), np.array([5.0, -3.0, 100.0])
ENSEMBLES = [mcmc.Stretch(), mcmc.DifferentialEvolution(), mcmc.Walk(), mcmc.KDE()]
each = pytest.mark.parametrize("kernel", ENSEMBLES, ids=lambda k: type(k).__name__)


def normal(y):
    return -0.5 * jnp.sum(y**2, -1)


def squeezed(y):
    return normal(jnp.linalg.solve(jnp.asarray(A), (y - SHIFT).T).T)


@functools.partial(jax.jit, static_argnums=(1, 3))
def path_of(kernel, density, start, steps):
    def step(state, key):
        state, info = kernel.step(key, state, density)
        return state, (state.position, info.accepted)

    keys = jax.random.split(jax.random.key(3), steps)
    return jax.lax.scan(step, kernel.init(start, density), keys)[1]


def walk(kernel, density, start, steps=30):
    with jax.enable_x64(True):
        path, accepted = path_of(kernel, density, jnp.asarray(start), steps)
        return np.asarray(path), np.asarray(accepted)


DIFFERENCES = mcmc.DifferentialEvolution(noise=0.0, adaptive_rate=0.0, snooker_rate=0.0)


@pytest.mark.parametrize("kernel", [mcmc.Stretch(), DIFFERENCES, mcmc.Walk(size=4)], ids=lambda k: str(k)[:12])
def test_an_affine_map_of_the_target_is_one_of_the_chains(kernel):
    plain, _ = walk(kernel, normal, START)
    mapped, _ = walk(kernel, squeezed, START @ A.T + SHIFT)
    np.testing.assert_allclose(mapped, plain @ A.T + SHIFT, rtol=1e-7, atol=1e-6)
    assert np.abs(plain[-1] - START).max() > 0.1


@each
def test_every_chain_moves(kernel):
    _, accepted = walk(kernel, normal, START, 100)
    assert accepted.any(0).all()
    assert 0.05 < accepted.mean() < 0.99


def test_a_stretch_stays_on_the_line_to_another_chain():
    path, accepted = walk(mcmc.Stretch(scale=2.0), normal, START, 1)
    second = START[10:]
    for before, after in zip(START[:10][accepted[0, :10]], path[0][:10][accepted[0, :10]], strict=True):
        z = np.linalg.norm(after - second, axis=1) / np.linalg.norm(before - second, axis=1)
        off = np.linalg.norm((after - second) - z[:, None] * (before - second), axis=1)
        at = off.argmin()
        assert off[at] < 1e-10
        assert 0.5 <= z[at] <= 2.0


# --- the moves of differential evolution, each alone -----------------------------------------------------

SHARES = {"adaptive": (1.0, 0.0), "snooker": (0.0, 1.0), "differences": (0.0, 0.0), "all": (0.6, 0.1)}
TILTED = np.array([[1.0, 0.6], [0.6, 2.0]])


def log_gamma(y):
    return jnp.sum(2.0 * y - jnp.exp(y), -1)


@pytest.mark.parametrize("metric", [TILTED, np.array([0.5, 3.0])], ids=["dense", "diagonal"])
@pytest.mark.parametrize("moves", SHARES)
def test_every_move_keeps_a_law_that_is_not_normal(moves, metric):
    adaptive, snooker = SHARES[moves]
    kernel = mcmc.DifferentialEvolution(metric=metric, adaptive_rate=adaptive, snooker_rate=snooker, noise=0.2)
    start = np.log(np.random.default_rng(3).gamma(2.0, size=(3000, 2)))
    path, accepted = walk(kernel, log_gamma, start, 40)
    assert accepted.mean() > 0.1
    assert np.mean(path[-1] == start) < 0.05
    for i in range(2):
        assert scipy.stats.kstest(np.exp(path[-1][:, i]), "gamma", args=(2.0,)).pvalue > 0.001
    assert abs(np.corrcoef(path[-1].T)[0, 1]) < 4 / 3000**0.5


@pytest.mark.parametrize(
    "kernel", [mcmc.Walk(), mcmc.Walk(size=3), mcmc.KDE(), mcmc.KDE(0.3, TILTED)], ids=lambda k: str(k)[:12]
)
def test_other_moves_keep_a_law_that_is_not_normal(kernel):
    start = np.log(np.random.default_rng(3).gamma(2.0, size=(1000, 2)))
    path, accepted = walk(kernel, log_gamma, start, 40)
    assert accepted.mean() > 0.1
    assert np.mean(path[-1] == start) < 0.05
    for i in range(2):
        assert scipy.stats.kstest(np.exp(path[-1][:, i]), "gamma", args=(2.0,)).pvalue > 0.001
    assert abs(np.corrcoef(path[-1].T)[0, 1]) < 4 / 1000**0.5


def test_a_walk_goes_along_the_differences_of_the_chains_it_takes():
    path, accepted = walk(mcmc.Walk(size=2), normal, START, 1)
    second = START[10:]
    lines = (second[:, None] - second).reshape(-1, 3)
    lines = lines[np.any(lines != 0, 1)]
    for before, after in zip(START[:10][accepted[0, :10]], path[0][:10][accepted[0, :10]], strict=True):
        off = np.linalg.norm(np.cross(lines, after - before), axis=1) / np.linalg.norm(lines, axis=1)
        assert off.min() < 1e-10


def test_draws_from_the_density_estimate_do_not_depend_on_where_a_chain_is():
    start = np.random.default_rng(4).normal(size=(2000, 2))
    path, accepted = walk(mcmc.KDE(metric=1.0), normal, start, 2)
    assert accepted.mean() > 0.6
    again = np.sum(path[0] * path[1]) / np.sum(path[0] ** 2)
    assert abs(again - (1 - accepted.mean())) < 0.1


def test_a_lost_chain_comes_back_from_the_density_estimate():
    init = {"x": CORRELATED_LOC + np.where(np.arange(16) == 3, 1000.0, 0.1 * np.arange(16))[:, None]}
    settings = {"warmup": 0, "draws": 400, "chains": 16, "init": init}
    x = draw(target_of("correlated_normal"), kernel=mcmc.KDE(metric=CORRELATED), **settings)["posterior"]["x"].values
    assert np.abs(x[:, -1] - CORRELATED_LOC).max() < 6


def test_warmup_tunes_the_step_size_of_the_walk():
    tuned = draw(target_of("correlated_normal"), mcmc.Walk(size=4), chains=32, warmup=400, draws=300)
    assert abs(float(tuned["sample_stats"]["acceptance_rate"].mean()) - 0.234) < 0.1


@pytest.mark.parametrize("size", [1, 9, 2.5, True])
def test_a_walk_of_too_few_or_too_many_chains_is_refused(size):
    with pytest.raises(ValueError, match=r"size.*2 to 8"):
        draw(target_of("correlated_normal"), mcmc.Walk(size=size), chains=16)


def test_a_bandwidth_that_is_no_positive_number_is_refused():
    with pytest.raises(ValueError, match="bandwidth"):
        draw(target_of("correlated_normal"), mcmc.KDE(bandwidth=0.0), chains=16)


def test_the_adaptive_move_accepts_nearly_all_of_a_normal_law_in_many_dimensions():
    start = np.random.default_rng(4).normal(size=(400, 50))
    kernel = mcmc.DifferentialEvolution(metric=1.0, adaptive_rate=1.0, snooker_rate=0.0)
    path, accepted = walk(kernel, normal, start, 50)
    assert accepted.mean() > 0.5
    again = np.sum(path[0] * path[1]) / np.sum(path[0] ** 2)
    assert abs(again) < 1 - accepted.mean() + 0.1  # a draw that does not know the last


def test_a_lost_chain_comes_back():
    draws = draw(
        target_of("correlated_normal"), warmup=0, draws=400, chains=16,
        kernel=mcmc.DifferentialEvolution(metric=CORRELATED),
        init={"x": CORRELATED_LOC + np.where(np.arange(16) == 3, 1000.0, 0.1 * np.arange(16))[:, None]},
    )  # fmt: skip
    assert np.abs(draws["posterior"]["x"].values[:, -1] - CORRELATED_LOC).max() < 6


def test_warmup_tunes_the_metric_of_differential_evolution():
    settings = {"chains": 32, "draws": 300, "seed": 1}
    tuned = draw(target_of("correlated_normal"), mcmc.DifferentialEvolution(), warmup=400, **settings)
    plain = draw(target_of("correlated_normal"), mcmc.DifferentialEvolution(metric=1.0), warmup=400, **settings)
    rates = [float(d["sample_stats"]["acceptance_rate"].mean()) for d in (tuned, plain)]
    assert rates[0] > rates[1] + 0.2
    worst = [float(mcmc.ess(d["posterior"]["x"].values).min()) for d in (tuned, plain)]
    assert worst[0] > 3 * worst[1]


# --- how many chains ----------------------------------------------------------------------------------


@each
@pytest.mark.parametrize("chains", [1, 3, 9, 11])
def test_too_few_or_an_odd_number_of_chains(kernel, chains):
    with pytest.raises(ValueError, match=r"chains.*at least 10"):
        draw(target_of("correlated_normal"), kernel, chains=chains)


@each
def test_the_default_number_of_chains_suffices_in_many_dimensions(kernel):
    target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(50)})
    draws = draw(target, kernel, draws=5, warmup=0)
    assert draws["posterior"].sizes["chain"] >= 100


def test_a_scale_of_one_is_refused():
    with pytest.raises(ValueError, match="scale"):
        draw(target_of("correlated_normal"), mcmc.Stretch(scale=1.0))
