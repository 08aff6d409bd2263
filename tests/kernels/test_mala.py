"""The Langevin algorithm: its law, its proposal's densities, its acceptance rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED
from runs import draw, target_of
from scipy import stats

import mcmc
from mcmc.kernels.mala import MALA
from mcmc.random.draws import normal


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def quartic(y):
    return -0.25 * jnp.sum(y**4) - 0.5 * jnp.sum(y[1:] * y[:-1])


@pytest.mark.parametrize("metric", [np.array([1.0, 0.5, 2.0]), CORRELATED[:3, :3]], ids=["diagonal", "dense"])
def test_the_acceptance_rate_is_that_of_the_densities(metric):
    kernel, eps = MALA(step_size=0.6, metric=jnp.asarray(metric)), 0.6
    covariance = metric if metric.ndim == 2 else np.diag(metric)
    start = np.array([0.5, -1.0, 0.3])
    value, gradient = jax.jit(quartic), jax.jit(jax.grad(quartic))
    step = jax.jit(
        lambda key: (*kernel.step(key, kernel.init(start, quartic), quartic), normal(key, (3,), jnp.float64))
    )
    for seed in range(20):
        state, info, z = jax.device_get(step(jax.random.key(seed)))
        to = start + eps**2 / 2 * covariance @ gradient(start) + eps * np.linalg.cholesky(covariance) @ z

        def log_q(y, given):
            centre = given + eps**2 / 2 * covariance @ gradient(given)
            return stats.multivariate_normal(np.asarray(centre), eps**2 * covariance).logpdf(np.asarray(y))

        log_ratio = value(to) - value(start) + log_q(start, to) - log_q(to, start)
        np.testing.assert_allclose(info.acceptance_rate, min(1.0, np.exp(log_ratio)), rtol=1e-9)
        np.testing.assert_allclose(state.position, to if info.accepted else start, rtol=1e-12)


def test_one_step_keeps_the_law():
    n, factor = 20_000, np.linalg.cholesky(CORRELATED)
    start = jnp.asarray(np.random.default_rng(7).normal(size=(n, 5)) @ factor.T)
    precision = jnp.asarray(np.linalg.inv(CORRELATED))
    kernel = MALA(step_size=0.8, metric=jnp.asarray(CORRELATED + 0.05 * np.eye(5)))

    def log_density(y):
        return -0.5 * y @ precision @ y

    @jax.jit
    @jax.vmap
    def one(key, y):
        return kernel.step(key, kernel.init(y, log_density), log_density)

    state, info = one(jax.random.split(jax.random.key(3), n), start)
    z = np.linalg.solve(factor, np.asarray(state.position).T)
    pvalues = [stats.kstest(row, "norm").pvalue for row in z]
    pvalues.append(stats.kstest(np.sum(z**2, 0), stats.chi2(5).cdf).pvalue)
    assert min(pvalues) > 1e-3
    assert 0.3 < np.asarray(info.acceptance_rate).mean() < 0.95


def test_the_default_acceptance_rate_is_reached():
    draws = draw(target_of("student_t"), MALA(), chains=32, draws=300, warmup=500, superchains=0)
    assert abs(draws["sample_stats"]["acceptance_rate"].values.mean() - 0.574) < 0.06
    assert np.all(draws["sample_stats"]["n_steps"].values == 1)


def test_it_agrees_with_hmc():
    settings = {"chains": 16, "draws": 2000, "warmup": 300, "superchains": 0, "seed": 2}
    mala, hmc = (draw(target_of("gamma"), k, **settings)["posterior"]["x"].values for k in (MALA(), mcmc.HMC()))
    assert abs(mala.mean() - hmc.mean()) < 4 * np.hypot(mcmc.mcse(mala), mcmc.mcse(hmc))
