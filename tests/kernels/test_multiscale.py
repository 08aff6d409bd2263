"""The multiscale kernel: its integrator, its exact law from exact starts, the hard funnel from the usual ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME
from runs import draw, target_of
from scipy import stats

import mcmc
from mcmc.kernels import multiscale
from mcmc.kernels.hmc import HMCState
from mcmc.kernels.metric import Metric
from mcmc.kernels.metropolis import accept
from mcmc.kernels.multiscale import MAX_TURN, Multiscale, at, trajectory, turn

CHAINS = 10_000


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def quartic(y):
    return -0.25 * jnp.sum(y**4) - 0.5 * jnp.sum(y[1:] * y[:-1])


def neals_funnel(y):
    return -(y[0] ** 2) / 18 - 0.5 * jnp.sum(y[1:] ** 2) * jnp.exp(-y[0]) - 4.5 * y[0]


# --- the integrator -----------------------------------------------------------------------------------

VALUE_AND_GRAD = jax.value_and_grad(quartic)
METRIC = Metric(np.array([[1.0, 0, 0], [0.4, 0.6, 0], [-0.3, 0.2, 2.0]]))


@jax.jit
def point_of(z):
    return at(HMCState(z[:3], *VALUE_AND_GRAD(z[:3])), z[3], METRIC)


@jax.jit
def run(point, direction, step_size, num_steps):
    return trajectory(point, direction, METRIC, step_size, num_steps, VALUE_AND_GRAD)


START = np.array([0.5, -1.0, 0.3, 0.8])
DIRECTION = np.array([1.0, 0.2, -0.7, 0.4]) / np.linalg.norm([1.0, 0.2, -0.7, 0.4])


def test_a_trajectory_is_reversible():
    end, direction, contraction = run(point_of(START), DIRECTION, 0.3, 12)
    assert np.abs(end.state.position - START[:3]).max() > 0.3
    back, again, undone = run(end, -direction, 0.3, 12)
    np.testing.assert_allclose(jnp.append(back.state.position, back.extra), START, atol=1e-11)
    np.testing.assert_allclose(-again, DIRECTION, atol=1e-11)
    np.testing.assert_allclose(undone, -contraction, atol=1e-10)
    np.testing.assert_allclose(end.state.lp, quartic(end.state.position), rtol=1e-12)


def test_the_contraction_is_that_of_the_volume():
    frame = jnp.linalg.svd(DIRECTION[None])[2][1:]  # spans the sphere's tangent at the start

    def flow(w):
        u = DIRECTION + w[4:] @ frame
        end, direction, _ = run(point_of(w[:4]), u / jnp.linalg.norm(u), 0.3, 5)
        return jnp.concatenate([end.state.position, end.extra[None], direction])

    at_start = jnp.append(START, jnp.zeros(3))
    jacobian = np.asarray(jax.jit(jax.jacfwd(flow))(at_start))
    direction = np.asarray(flow(at_start))[4:]
    end_frame = np.linalg.svd(direction[None])[2][1:]
    jacobian = np.vstack([jacobian[:4], end_frame @ jacobian[4:]])
    contraction = run(point_of(START), DIRECTION, 0.3, 5)[2]
    assert abs(contraction) > 0.1
    np.testing.assert_allclose(np.linalg.slogdet(jacobian)[1], -contraction, atol=1e-9)


def test_the_error_falls_with_the_square_of_the_step():
    def error(step_size, num_steps):
        start = point_of(START)
        end, _, contraction = run(start, DIRECTION, step_size, num_steps)
        return abs(float(end.lp - start.lp - contraction))

    assert 3.5 < error(0.02, 25) / error(0.01, 50) < 4.5


@pytest.mark.parametrize("force", [[0.0, 0.0, 0.0], [np.inf, 1.0, 0.0], [np.nan, 1.0, 0.0]])
def test_a_force_that_is_no_vector_turns_nothing(force):
    turned, contraction = turn(DIRECTION[:3] / jnp.linalg.norm(DIRECTION[:3]), jnp.asarray(force), jnp.asarray(0.1))
    np.testing.assert_allclose(turned, DIRECTION[:3] / jnp.linalg.norm(DIRECTION[:3]), rtol=1e-12)
    assert contraction == 0


def test_the_largest_turn_can_be_undone():
    u, force = DIRECTION, jnp.asarray([1e8, -1e8, 0.0, 1.0])
    turned, contraction = turn(u, force, jnp.asarray(1.0))
    back, undone = turn(-turned, force, jnp.asarray(1.0))
    np.testing.assert_allclose(-back, u, atol=1e-9)
    np.testing.assert_allclose(undone, -contraction, atol=1e-9)
    assert contraction < 3 * MAX_TURN


# --- the law, from exact starts -----------------------------------------------------------------------


def of_the_funnel(rng):
    v = 3 * rng.normal(size=CHAINS)
    return np.column_stack([v, np.exp(v / 2)[:, None] * rng.normal(size=(CHAINS, 9))])


def of_a_student(rng):
    return (rng.normal(size=(CHAINS, 2)) / np.sqrt(rng.chisquare(5.0, CHAINS) / 5.0)[:, None]).astype(float)


LAWS = {
    "funnel": (neals_funnel, of_the_funnel),
    "student": (lambda y: -3.5 * jnp.log1p(jnp.sum(y**2) / 5.0), of_a_student),
    "gamma": (lambda y: jnp.sum(2.0 * y - jnp.exp(y)), lambda rng: np.log(rng.gamma(2.0, size=(CHAINS, 1)))),
    "half_line": (  # no density, and no gradient, on one side
        lambda y: jnp.where(y[0] > 0, -y[0] - 0.5 * y[1] ** 2, -jnp.inf),
        lambda rng: np.column_stack([rng.exponential(size=CHAINS), rng.normal(size=CHAINS)]),
    ),
}
SETTINGS = {
    "usual": {"step_size": 0.4, "max_steps": 32},
    "crude": {"step_size": 1.0, "num_steps": 4, "spread": 0.4},
    "metric": {"step_size": 0.5, "max_steps": 16, "spread": 1.0, "metric": 4.0},
}


@functools.partial(jax.jit, static_argnums=(2, 3))
def steps_of(kernel, start, log_density, n):
    def one(y, key):
        now = kernel.each_draw(jax.random.fold_in(key, 0))
        keys = jax.random.split(jax.random.fold_in(key, 1), len(y))
        state = jax.vmap(lambda y: now.init(y, log_density))(y)
        state, info = jax.vmap(lambda k, s: now.step(k, s, log_density))(keys, state)
        return state.position, info.acceptance_rate.mean()

    return jax.lax.scan(one, start, jax.random.split(jax.random.key(7), n))


@pytest.mark.parametrize(
    ("law", "setting"), [*((law, "usual") for law in LAWS), ("funnel", "crude"), ("gamma", "metric")]
)
def test_exact_draws_stay_exact(law, setting):
    log_density, sample = LAWS[law]
    start = sample(np.random.default_rng(3))
    end, rate = steps_of(Multiscale(**SETTINGS[setting]), jnp.asarray(start), log_density, 10)
    end, fresh = np.asarray(end), sample(np.random.default_rng(4))
    assert 0.05 < rate.mean() < 0.98
    moved = np.mean(end[:, 0] != start[:, 0])
    assert moved > 0.5
    for x, y in ((end[:, 0], fresh[:, 0]), (end[:, -1], fresh[:, -1])):
        assert stats.ks_2samp(x, y).pvalue > 1e-4
    x, y = (np.asarray(jax.jit(jax.vmap(log_density))(z)) for z in (end, fresh))
    assert stats.ks_2samp(x, y).pvalue > 1e-4


def test_an_accept_step_without_its_correction_leaves_the_law(monkeypatch):
    monkeypatch.setattr(multiscale, "accept", lambda key, lp, to, _: accept(key, lp, to))
    log_density, sample = LAWS["gamma"]
    start = jnp.asarray(sample(np.random.default_rng(3)))
    end, _ = steps_of(Multiscale(**SETTINGS["usual"]), start, lambda y: log_density(y), 10)
    fresh = sample(np.random.default_rng(4))
    assert stats.ks_2samp(np.asarray(end)[:, 0], fresh[:, 0]).pvalue < 1e-8


# --- runs ---------------------------------------------------------------------------------------------


def test_the_number_of_steps_is_shared_and_spread_over_its_range():
    kernel = Multiscale(step_size=0.1)
    n = np.asarray(
        jax.jit(jax.vmap(lambda key: kernel.each_draw(key).num_steps))(jax.random.split(jax.random.key(0), 4000))
    )
    assert n.min() >= 16
    assert n.max() <= 256
    assert abs(np.log2(n).mean() - 6) < 0.1
    assert Multiscale(num_steps=3).each_draw(jax.random.key(0)).num_steps == 3


def test_what_a_run_records():
    draws = draw(target_of("normal"), Multiscale(), chains=8, draws=50, warmup=50)
    stats_of = draws["sample_stats"]
    assert {"lp", "acceptance_rate", "n_steps", "step_size"} <= set(stats_of.data_vars)
    assert not {"diverging", "energy"} & set(stats_of.data_vars)
    assert (stats_of["n_steps"].values == stats_of["n_steps"].values[:1]).all()
    assert np.unique(stats_of["step_size"].values).size > 300


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_the_hard_funnel(seed):
    law = BY_NAME["funnel_hard"]
    draws = draw(target_of("funnel_hard"), Multiscale(), draws=5000, seed=seed, geometry="affine")
    v = draws["posterior"]["v"].values
    assert abs(v.mean() - law.mean["v"]) < 0.05 * law.sd["v"]
    assert abs(v.std() / law.sd["v"] - 1) < 0.05
    assert mcmc.rhat(v) <= 1.01
    assert mcmc.diagnose(draws).ok
