"""The no-U-turn sampler: its law, its trees, divergences, and lanes that run freely."""

import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME, CORRELATED, CORRELATED_LOC, CORRELATED_PRECISION
from runs import draw, same, target_of
from scipy import stats

import mcmc
from mcmc.kernels.nuts import NUTS

SETTINGS = {"chains": 8, "draws": 100, "warmup": 0, "superchains": 0}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LockStep(NUTS):
    """The same trees, by `step` under vmap: every lane waits for the largest."""

    runs_freely: ClassVar[bool] = False


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def correlated(y):
    x = y - CORRELATED_LOC
    return -0.5 * x @ CORRELATED_PRECISION @ x


@jax.jit
def one_step(kernel, keys, positions):
    def one(key, position):
        return kernel.step(key, kernel.init(position, correlated), correlated)

    return jax.vmap(one)(keys, positions)


values_and_gradients = jax.jit(jax.vmap(jax.value_and_grad(correlated)))


# --- the law ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "step_size", "depth"),
    [(1.0, 0.25, 10), (CORRELATED, 0.2, 10), (CORRELATED, 0.5, 10), (CORRELATED, 0.2, 2), (CORRELATED, 1.2, 10)],
    ids=["identity", "small", "middle", "shallow", "large"],
)
def test_one_step_keeps_the_law(metric, step_size, depth):
    n, rng = 20_000, np.random.default_rng(4)
    factor = np.linalg.cholesky(CORRELATED)
    start = CORRELATED_LOC + rng.normal(size=(n, 5)) @ factor.T
    kernel = NUTS(step_size, jnp.asarray(metric), max_tree_depth=depth)
    state, info = one_step(kernel, jax.random.split(jax.random.key(1), n), jnp.asarray(start))
    z = np.linalg.solve(factor, (np.asarray(state.position) - CORRELATED_LOC).T)
    pvalues = [stats.kstest(row, "norm").pvalue for row in z]
    pvalues.append(stats.kstest(np.sum(z**2, 0), stats.chi2(5).cdf).pvalue)
    assert min(pvalues) > 1e-3
    assert np.asarray(info.accepted).mean() > 0.3
    lp, gradient = values_and_gradients(state.position)
    np.testing.assert_allclose(state.lp, lp, rtol=1e-10)
    np.testing.assert_allclose(state.gradient, gradient, rtol=1e-8, atol=1e-9)


def test_another_law_is_not_kept():
    n = 20_000
    start = CORRELATED_LOC + 1.1 * np.random.default_rng(4).normal(size=(n, 5)) @ np.linalg.cholesky(CORRELATED).T
    kernel = NUTS(0.05, jnp.asarray(CORRELATED), max_tree_depth=1)
    state, _ = one_step(kernel, jax.random.split(jax.random.key(1), n), jnp.asarray(start))
    z = np.linalg.solve(np.linalg.cholesky(CORRELATED), (np.asarray(state.position) - CORRELATED_LOC).T)
    assert stats.kstest(np.sum(z**2, 0), stats.chi2(5).cdf).pvalue < 1e-6


# --- trees --------------------------------------------------------------------------------------------


def trees(step_size, depth=10, draws=200):
    settings = {**SETTINGS, "draws": draws}
    run = draw(target_of("correlated_normal"), NUTS(step_size, CORRELATED, max_tree_depth=depth), **settings)
    return {name: run["sample_stats"][name].values for name in run["sample_stats"].data_vars}


def test_a_tree_that_was_kept_has_all_its_leaves():
    s = trees(0.3)
    kept, steps = 2 ** s["tree_depth"] - 1, s["n_steps"]
    assert np.all((steps >= kept) & (steps < 2 * kept + 2))
    assert (steps == kept).mean() > 0.4
    assert not s["reached_max_treedepth"].any()
    assert not s["diverging"].any()


def test_trajectories_grow_as_steps_shrink():
    """In a whitened normal half a turn takes π / ε steps, so trees double where steps halve."""
    lengths = [(0.5**i) * trees(0.5**i)["n_steps"].mean() for i in (2, 3, 4)]
    assert np.all((np.array(lengths) > np.pi / 2) & (np.array(lengths) < 2 * np.pi))


def test_the_depth_is_limited_and_said():
    s = trees(0.02, depth=3)
    assert np.all(s["tree_depth"] == 3)
    assert np.all(s["n_steps"] == 7)
    assert s["reached_max_treedepth"].all()


def test_a_step_far_too_small_takes_every_leaf():
    s = trees(1e-3, depth=6, draws=10)
    assert np.all(s["n_steps"] == 63)
    np.testing.assert_allclose(s["acceptance_rate"], 1.0, atol=1e-3)


def test_energies():
    s = trees(0.3, draws=500)
    kinetic = s["energy"] + s["lp"]
    assert np.all(kinetic >= -1e-9)
    assert abs(s["energy"].mean() - 5.0) < 0.5  # five dimensions: 5/2 potential and 5/2 kinetic
    assert np.unique(s["step_size"]).tolist() == [0.3]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_the_target_acceptance_is_reached(rate):
    draws = draw(target_of("student_t"), NUTS(target_acceptance=rate), chains=32, draws=300, warmup=500, superchains=0)
    assert abs(draws["sample_stats"]["acceptance_rate"].values.mean() - rate) < 0.06


# --- divergences --------------------------------------------------------------------------------------


CLIFF = mcmc.Target(
    lambda p, d: jnp.where(p["x"][0] > 0.5, d["beyond"], -0.5 * jnp.sum(p["x"] ** 2)),
    {"x": mcmc.real(2)},
    data={"beyond": np.array(0.0)},
)


@pytest.mark.parametrize("beyond", [-1e4, -np.inf, np.nan])
def test_nan_is_a_divergence_and_a_cliff_is_not(beyond):
    draws = draw(
        CLIFF.with_data({"beyond": np.array(beyond)}), NUTS(0.3, 1.0), **{**SETTINGS, "init": {"x": np.zeros(2)}}
    )
    diverging = draws["sample_stats"]["diverging"].values
    assert diverging.dtype == np.bool_
    assert 0.2 < diverging.mean() < 1.0 if np.isnan(beyond) else not diverging.any()
    assert draws["posterior"]["x"].values[..., 0].max() <= 0.5
    state = draws["run_state"]
    assert state["divergences"].values.sum() == diverging.sum()
    assert state["nonfinite_proposals"].values.sum() == (diverging.sum() if np.isnan(beyond) else 0)


# --- lanes --------------------------------------------------------------------------------------------


def by_lanes(kernel, target, **settings):
    settings = {**SETTINGS, "chains": 20, "draws": 60, "warmup": 20, "lanes": 16, **settings}
    metric = np.array([0.01, 1.0, 1.0])  # one slow direction: trees of many sizes
    return draw(target, kernel(0.5, metric), **settings)


@functools.cache
def free():
    return by_lanes(NUTS, target_of("normal"))


@pytest.mark.parametrize(("thin", "chunk"), [(1, None), pytest.param(3, 7, marks=pytest.mark.slow)])
def test_lanes_that_run_freely_draw_what_they_draw_in_lock_step(thin, chunk):
    settings = {"thin": thin, "chunk": chunk}
    one = free() if thin == 1 else by_lanes(NUTS, target_of("normal"), **settings)
    lock = by_lanes(LockStep, target_of("normal"), **settings)
    steps = one["sample_stats"]["n_steps"].values
    assert np.unique(steps[:, 5]).size > 1
    for name in ("n_steps", "tree_depth", "diverging"):
        np.testing.assert_array_equal(one["sample_stats"][name].values, lock["sample_stats"][name].values)
    np.testing.assert_allclose(one["posterior"]["x"].values, lock["posterior"]["x"].values, rtol=1e-6, atol=1e-8)
    for name in ("divergences", "nonfinite_proposals"):
        np.testing.assert_array_equal(one["run_state"][name].values, lock["run_state"][name].values)


def test_the_ring_and_chunks_do_not_enter(monkeypatch):
    from mcmc.engine import free_lanes

    same(free(), by_lanes(NUTS, target_of("normal"), chunk=7))
    monkeypatch.setattr(free_lanes, "LEAST_AHEAD", 2)
    monkeypatch.setattr(free_lanes, "MOST_AHEAD", 2)
    law = BY_NAME["normal"]
    same(free(), by_lanes(NUTS, mcmc.Target(law.log_density, law.parameters)))


@pytest.mark.parametrize("chunk", [1, 9])
def test_one_lane_alone(chunk):
    settings = {**SETTINGS, "chains": 3, "draws": 40, "warmup": 30, "lanes": 1, "seed": 5}
    whole = draw(target_of("correlated_normal"), NUTS(), **settings)
    same(whole, draw(target_of("correlated_normal"), NUTS(), **settings, chunk=chunk))
    given = NUTS(0.4, CORRELATED)
    settings |= {"warmup": 0, "chains": 2, "init": {"x": np.random.default_rng(3).normal(size=(2, 5))}}
    beside = draw(target_of("correlated_normal"), given, **settings)
    settings |= {"chains": 1, "init": {"x": settings["init"]["x"][:1]}}
    alone = draw(target_of("correlated_normal"), given, **settings)
    same(alone, beside, slice(0, 1))


# --- arguments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 21, 2.5, True, "ten"])
def test_a_bad_depth_is_refused(depth):
    with pytest.raises(ValueError, match="max_tree_depth"):
        draw(target_of("normal"), NUTS(max_tree_depth=depth), **SETTINGS)
