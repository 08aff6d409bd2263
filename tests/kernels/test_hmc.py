"""The leapfrog integrator, divergences, energies, step counts."""

import arviz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED
from runs import draw, target_of

import mcmc
from mcmc.kernels.hmc import HMC, HMCState, leapfrog
from mcmc.kernels.metric import LowRank, Metric

SETTINGS = {"chains": 8, "draws": 100, "warmup": 50, "superchains": 0}


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def quartic(y):
    return -0.25 * jnp.sum(y**4) - 0.5 * jnp.sum(y[1:] * y[:-1])


value_and_grad = jax.value_and_grad(quartic)


@jax.jit
def started(y):
    return HMCState(y, *value_and_grad(y))


@jax.jit
def integrated(state, momentum, metric, step_size, num_steps):
    return leapfrog(state, momentum, metric, step_size, num_steps, value_and_grad)[:2]


Y, P = np.array([0.5, -1.0, 0.3]), np.array([1.0, 0.2, -0.7])


METRICS = {
    "diagonal": Metric(np.array([1.0, 0.5, 2.0])),
    "dense": Metric(np.linalg.cholesky(CORRELATED[:3, :3])),
    "low rank": LowRank(np.array([1.0, 0.5, 2.0]), np.array([[0.6], [0.0], [0.8]]), np.array([0.1])),
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_leapfrog_is_reversible(metric):
    metric = jax.tree.map(jnp.asarray, metric)
    end, end_momentum = integrated(started(Y), P, metric, 0.1, 20)
    assert np.abs(np.asarray(end.position) - Y).max() > 0.1
    back, back_momentum = integrated(end, -end_momentum, metric, 0.1, 20)
    np.testing.assert_allclose(back.position, Y, atol=1e-12)
    np.testing.assert_allclose(-back_momentum, P, atol=1e-12)
    np.testing.assert_allclose(end.lp, quartic(end.position), rtol=1e-12)
    np.testing.assert_allclose(end.gradient, started(end.position).gradient, rtol=1e-12)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_leapfrog_keeps_volume(metric):
    metric = jax.tree.map(jnp.asarray, metric)

    def flow(z):
        end, end_momentum = integrated(started(z[:3]), z[3:], metric, 0.3, 5)
        return jnp.concatenate([end.position, end_momentum])

    determinant = np.linalg.det(np.asarray(jax.jit(jax.jacfwd(flow))(np.concatenate([Y, P]))))
    assert abs(determinant - 1) < 1e-10


def test_the_energy_error_is_of_second_order():
    state = started(Y)

    def error(n):
        end, p = jax.device_get(integrated(state, P, Metric(jnp.ones(3)), 1.0 / n, n))
        return abs(float(0.5 * p @ p - end.lp - 0.5 * P @ P + state.lp))

    errors = np.array([error(n) for n in (20, 40, 80, 160)])
    np.testing.assert_allclose(errors[:-1] / errors[1:], 4.0, rtol=0.1)


def test_big_steps_in_a_funnel_diverge():
    draws = draw(target_of("funnel_hard"), HMC(step_size=0.9, metric=1.0, num_steps=10), **SETTINGS)
    diverging = draws["sample_stats"]["diverging"].values
    assert diverging.dtype == np.bool_
    assert 0.005 < diverging.mean() < 1.0
    counted = draws["run_state"]["divergences"].values.sum()
    assert counted == diverging.sum()
    stayed = np.diff(draws["posterior"]["v"].values, axis=1)[diverging[:, 1:]]
    np.testing.assert_array_equal(stayed, 0.0)
    assert mcmc.diagnose(draws)["divergences"].failed


def test_small_steps_in_a_normal_do_not_diverge():
    draws = draw(target_of("correlated_normal"), HMC(), **SETTINGS)
    assert not draws["sample_stats"]["diverging"].values.any()


def test_a_fixed_number_of_steps_is_kept():
    draws = draw(target_of("correlated_normal"), HMC(num_steps=7), **SETTINGS)
    assert np.all(draws["sample_stats"]["n_steps"].values == 7)


def test_the_drawn_number_of_steps_is_shared_and_jittered():
    draws = draw(target_of("correlated_normal"), HMC(step_size=0.1, metric=CORRELATED), **SETTINGS)
    steps = draws["sample_stats"]["n_steps"].values
    assert np.all(steps == steps[:1])
    assert steps.min() >= 9
    assert steps.max() <= 24
    assert np.unique(steps).size > 10


def test_a_given_step_size_is_kept_and_a_tuned_one_is_recorded():
    given = draw(target_of("correlated_normal"), HMC(step_size=0.3), **SETTINGS)
    assert set(np.unique(given["sample_stats"]["step_size"].values)) <= {0.3, 0.15}
    tuned = draw(target_of("correlated_normal"), HMC(), **SETTINGS)["sample_stats"]["step_size"].values
    assert set(np.unique(tuned / tuned.max())) == {0.5, 1.0}
    assert 0.05 < tuned.max() < 3.0


def test_the_shortest_eighth_of_trajectories_takes_half_steps():
    stats = draw(target_of("correlated_normal"), HMC(step_size=0.1, metric=CORRELATED), **SETTINGS)["sample_stats"]
    length, halved = (stats["n_steps"] * stats["step_size"]).values[0], stats["step_size"].values[0] < 0.1
    assert 0.05 < halved.mean() < 0.2
    assert length[halved].max() <= length[~halved].min() + 0.1


def test_energy_is_recorded_and_arviz_reads_it():
    draws = draw(target_of("correlated_normal"), HMC(), **{**SETTINGS, "draws": 500})
    energy = draws["sample_stats"]["energy"].values
    kinetic = energy + draws["sample_stats"]["lp"].values
    assert np.all(kinetic >= -1e-9)
    assert abs(energy.mean() - 5.0) < 0.5  # five dimensions: 5/2 potential and 5/2 kinetic
    bfmi = arviz.bfmi(draws)["energy"].values
    assert bfmi.shape == (8,)
    assert np.all(bfmi > 0.3)


@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_the_target_acceptance_is_reached(rate):
    draws = draw(target_of("student_t"), HMC(target_acceptance=rate), chains=32, draws=300, warmup=500, superchains=0)
    assert abs(draws["sample_stats"]["acceptance_rate"].values.mean() - rate) < 0.06


def test_a_step_count_inside_jit_without_an_engine():
    kernel = HMC(step_size=0.2)
    state = kernel.init(jnp.asarray(Y), quartic)
    _, info = jax.jit(lambda k, s: kernel.step(k, s, quartic))(jax.random.key(0), state)
    assert int(info.n_steps) == round(np.pi / 2 / 0.2)


@pytest.fixture(scope="module")
def half_normal():
    """Draws of a half normal that is −inf below 0, at the default."""
    target = mcmc.Target(lambda p: jnp.where(p["x"] > 0, -0.5 * p["x"] ** 2, -jnp.inf), {"x": mcmc.real()})
    return mcmc.sample(target, chains=64, seed=2, progress=False)


def test_a_wall_does_not_make_steps_small(half_normal):
    assert half_normal.sample_stats["step_size"].values.max() > 0.3
    assert half_normal.sample_stats["n_steps"].values.mean() < 12


def test_a_wall_is_no_divergence_and_leaves_the_law(half_normal):
    assert not half_normal.sample_stats["diverging"].values.any()
    x = half_normal.posterior["x"].values
    for values, mean in ((x, np.sqrt(2 / np.pi)), (x**2, 1.0)):
        assert abs(values.mean() - mean) < 4 * values.std() / np.sqrt(mcmc.ess(values, "mean"))
    assert mcmc.diagnose(half_normal).ok
