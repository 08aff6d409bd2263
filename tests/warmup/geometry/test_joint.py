"""Coordinates that are jointly normal given scales of their own, as weights of correlated regressors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.warmup.geometry.conditional_forms import Rows
from mcmc.warmup.geometry.joint_fit import find_joint
from mcmc.warmup.geometry.joint_layer import JointLayer
from mcmc.warmup.geometry.layers import find_layers
from mcmc.warmup.geometry.noncentring import find_laws
from mcmc.warmup.geometry.text import describe

WEIGHTS = 6


def regression(centred, rows=1200):
    """Weights of correlated regressors with a global scale and local ones, rows about their own law, and gradients."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(25, WEIGHTS)) + rng.normal(size=(25, 1))
    outcome = x @ np.array([1.0, -0.5, 0.2, 0, 0, 0]) + rng.normal(size=25)
    data = jnp.asarray(x), jnp.asarray(outcome)

    def log_density(v):
        log_scale, own = v[0] + v[1 : WEIGHTS + 1], v[WEIGHTS + 1 :]
        weights = own if centred else own * jnp.exp(log_scale)
        prior = -0.5 * jnp.sum((weights * jnp.exp(-log_scale)) ** 2) - (jnp.sum(log_scale) if centred else 0.0)
        left = data[1] - data[0] @ weights
        return prior - 0.5 * jnp.sum(v[: WEIGHTS + 1] ** 2) - 0.5 * jnp.sum(left**2)

    y = rng.normal(size=(rows, 2 * WEIGHTS + 1))
    for row in y:
        scale = np.exp(row[0] + row[1 : WEIGHTS + 1])
        precision = x.T @ x + np.diag(scale**-2)
        mean = np.linalg.solve(precision, x.T @ outcome)
        weights = mean + np.linalg.solve(np.linalg.cholesky(precision).T, row[WEIGHTS + 1 :])
        row[WEIGHTS + 1 :] = weights if centred else weights / scale
    with jax.enable_x64(True):
        return log_density, y, np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))


@pytest.mark.parametrize("centred", [True, False])
def test_weights_of_correlated_regressors_are_standard_normal_behind_one_layer(centred):
    log_density, y, g = regression(centred)
    rows, every = Rows.of(y, g), np.arange(y.shape[1])
    with np.errstate(all="ignore"):
        laws = find_laws(rows, every)
        assert laws is not None
        found = find_joint(rows, laws, every)
    assert found is not None
    layer, mapped = found
    assert mapped.tolist() == list(range(WEIGHTS + 1, 2 * WEIGHTS + 1))
    z, pulled = layer.whiten(y, g)
    assert np.mean((pulled[:, mapped] + z[:, mapped]) ** 2) < 1e-4
    space = mcmc.Target(log_density, {"x": mcmc.real(y.shape[1])})
    assert describe((layer,), space) == f"x[0..{WEIGHTS}] scale x[{WEIGHTS + 1}..{2 * WEIGHTS}] together"


def test_the_layer_is_taken_where_laws_of_one_coordinate_each_leave_much():
    _, y, g = regression(False)
    with np.errstate(all="ignore"):
        layers, history = find_layers(y, g)
    assert isinstance(layers[0], JointLayer)
    assert history[-1] < 0.2 * history[0]


def test_no_layer_without_scales():
    y = np.random.default_rng(0).normal(size=(600, 4))
    rows, every = Rows.of(y, -y), np.arange(4)
    assert find_laws(rows, every) is None
