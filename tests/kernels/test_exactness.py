"""Gradient kernels keep the target's law whatever the metric: badly conditioned, random and wrong."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED, CORRELATED_LOC, CORRELATED_PRECISION
from runs import draw

import mcmc
from mcmc.kernels.hmc import HMCState, leapfrog
from mcmc.kernels.metric import LowRank, Metric

DIM, CHAINS, ROUNDS = 5, 2000, 40
LOW = np.linalg.cholesky(CORRELATED)


def log_density(y):
    x = y - jnp.asarray(CORRELATED_LOC, y.dtype)
    return -0.5 * jnp.sum(x * (jnp.asarray(CORRELATED_PRECISION, y.dtype) @ x))


def wrong(kind):
    """A metric that has nothing to do with the target: a triangle of condition 1e12, or a wrong one of low rank."""
    rng = np.random.default_rng(8)
    if kind == "low rank":
        directions = rng.normal(size=(DIM, 2))  # not even orthonormal
        return LowRank(10.0 ** rng.uniform(-2, 0, DIM), directions, np.array([1e-4, 3.0]))
    triangle = np.tril(rng.normal(size=(DIM, DIM))) + 2 * np.eye(DIM)
    if kind == "dense":
        triangle = triangle * 10.0 ** np.linspace(0, -12, DIM)[rng.permutation(DIM)]
        assert np.linalg.cond(triangle) > 1e11
    return Metric(triangle if kind != "rows" else triangle * 10.0 ** np.linspace(-6, 0, DIM)[:, None])


KERNELS = {
    "hmc": lambda metric, step: mcmc.HMC(step_size=step, metric=metric, num_steps=4),
    "nuts": lambda metric, step: mcmc.NUTS(step_size=step, metric=metric, max_tree_depth=3),
    "mala": lambda metric, step: mcmc.MALA(step_size=step, metric=metric),
    "barker": lambda metric, step: mcmc.Barker(step_size=step, metric=metric),
    "mams": lambda metric, step: mcmc.MAMS(step_size=step, metric=metric, num_steps=4),
    "multiscale": lambda metric, step: mcmc.Multiscale(step_size=step, metric=metric, num_steps=4),
}


@jax.jit  # of the kernel as an argument: one program for all metrics of a form
@functools.partial(jax.vmap, in_axes=(None, 0, 0))
def run(kernel, key, y):
    def one(state, key):
        state, info = kernel.step(key, state, log_density)
        return state, info.accepted

    return jax.lax.scan(one, kernel.init(y, log_density), jax.random.split(key, ROUNDS))


# A kernel is compiled for each form of metric and each precision: half of these pairs, so that every two things meet.
WRONG = [
    (name, kind, ("float64", "float32")[(i + (kind == "low rank")) % 2])
    for i, name in enumerate(KERNELS)
    for kind in ("dense", "rows", "low rank")
]


@pytest.mark.parametrize(("name", "kind", "dtype"), WRONG)
def test_chains_that_start_in_the_law_stay_in_it(name, kind, dtype):
    """With a wrong metric chains move slowly, in few directions: their law at the end tells whether it is kept."""
    with jax.enable_x64(dtype == "float64"):
        metric = jax.tree.map(lambda x: jnp.asarray(x, dtype), KERNELS[name](wrong(kind), 0.1).metric)
        kernel = KERNELS[name](metric, jnp.asarray(0.15, dtype))
        starts = CORRELATED_LOC + np.random.default_rng(5).normal(size=(CHAINS, DIM)) @ LOW.T
        state, accepted = run(kernel, jax.random.split(jax.random.key(1), CHAINS), jnp.asarray(starts, dtype))
    assert 0.05 < accepted.mean() <= 1
    end = np.asarray(state.position, float)
    moved = np.abs(end - starts).max()
    assert moved > 0.1
    whitened = np.linalg.solve(LOW, (end - CORRELATED_LOC).T)
    np.testing.assert_allclose(whitened.mean(1), 0.0, atol=4.5 / CHAINS**0.5)
    np.testing.assert_allclose(whitened @ whitened.T / CHAINS, np.eye(DIM), atol=4.5 * (2 / CHAINS) ** 0.5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["dense", "rows", "low rank"])
def test_a_trajectory_goes_back_and_keeps_its_energy_under_a_wrong_metric(kind, dtype):
    with jax.enable_x64(dtype == "float64"):
        metric = jax.tree.map(lambda x: jnp.asarray(x, dtype), wrong(kind))
        y, u = jnp.asarray(CORRELATED_LOC + 0.5, dtype), jnp.asarray([1.0, -0.4, 0.3, 0.8, -1.2], dtype)
        value_and_grad = jax.value_and_grad(log_density)

        def go(state, u, step, n):
            return leapfrog(state, u, metric, jnp.asarray(step, dtype), n, value_and_grad)[:2]

        start = HMCState(y, *value_and_grad(y))
        energy, eps = 0.5 * u @ u - start.lp, float(jnp.finfo(dtype).eps)
        end, end_u = go(start, u, 0.02, 50)
        assert np.abs(end.position - y).max() > 0.01
        back, back_u = go(end, -end_u, 0.02, 50)
        np.testing.assert_allclose(back.position, y, atol=1e3 * eps)
        np.testing.assert_allclose(-back_u, u, atol=1e4 * eps)
        errors = []
        for n in (50, 100):
            end, end_u = go(start, u, 1.0 / n, n)
            errors.append(abs(float(0.5 * end_u @ end_u - end.lp - energy)))
    assert errors[0] < 0.05
    assert errors[1] < 0.3 * errors[0] + 100 * eps


def test_the_step_back_of_multiscale_counts_however_narrow_its_spread():
    """Its step size depends on the place: with next to no spread a move is kept only where the way back exists."""
    with jax.enable_x64(False):
        kernel = mcmc.Multiscale(step_size=jnp.float32(0.5), spread=jnp.float32(1e-4), num_steps=4)

        def steep(y):
            return -jnp.sum(y**4)

        def one(key):
            return kernel.step(key, kernel.init(jnp.asarray([0.7, -0.2], jnp.float32), steep), steep)[1].acceptance_rate

        rates = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(3), 200))
    assert np.mean(rates) < 0.05


SCALES = 10.0 ** np.arange(-8, 9, 2)


@pytest.mark.parametrize("kernel", [None, mcmc.NUTS(), mcmc.MALA(), mcmc.Multiscale(metric=None)], ids=str)
def test_scales_from_1e_minus_8_to_1e8(kernel):
    scales = jnp.asarray(SCALES, jnp.float32)
    target = mcmc.Target(lambda p: -0.5 * jnp.sum((p["x"] / scales) ** 2), {"x": mcmc.real(9)})
    starts = {"x": np.random.default_rng(4).normal(size=(16, 9)) * SCALES}  # the default starts are 2e8 deviations away
    draws = draw(target, kernel, draws=1000, warmup=400, **({} if kernel is None else {"chains": 16, "init": starts}))
    x = draws["posterior"]["x"].values.astype(float) / SCALES
    off = np.abs(x.std((0, 1)) - 1) / mcmc.mcse(x, method="sd")
    assert np.all(off < 5), off
    assert np.all(np.abs(x.mean((0, 1))) < 5 * mcmc.mcse(x))
    assert np.all(mcmc.mcse(x) < 0.1)


def test_a_tempered_kernel_keeps_the_law_of_bad_scales():
    scales = jnp.asarray([1e-4, 1.0, 1e2], jnp.float32)
    target = mcmc.Target(lambda p: -0.5 * jnp.sum((p["x"] / scales) ** 2), {"x": mcmc.real(3)})
    kernel = mcmc.Tempered(mcmc.HMC(), temperatures=4, reference_scale=np.array([3e-4, 3.0, 3e2]))
    x = draw(target, kernel, chains=32, draws=1000, warmup=400)["posterior"]["x"].values / np.asarray(scales, float)
    assert np.all(np.abs(x.std((0, 1)) - 1) < 5 * mcmc.mcse(x, method="sd"))
    assert np.all(mcmc.mcse(x) < 0.1)
