"""Hierarchies that lie askew in the parameters are found exactly, and their necks hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hierarchies import normal

from mcmc.warmup.geometry.directions import _Across, find_directions
from mcmc.warmup.geometry.layers import find_layers
from mcmc.warmup.geometry.linear_layer import LinearLayer
from mcmc.warmup.geometry.triangular_map import forward


def askew(dim, seed):
    """Mean, log sd and groups with data, in coordinates turned at random; the log density, and the rotation."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(dim, dim)))[0]
    data, errors = np.random.default_rng(seed + 1).normal(size=(2, dim - 2))

    def log_density(v):
        q = jnp.asarray(turn) @ v
        mu, log_sd, groups = q[0], q[1], q[2:]
        prior = -0.5 * (mu / 3) ** 2 - 0.5 * jnp.exp(2 * log_sd) + log_sd
        return prior + jnp.sum(normal(groups, mu, log_sd)) - 0.5 * jnp.sum(((groups - data) / (1 + errors**2)) ** 2)

    return log_density, turn


def rows_of(dim, seed, log_sd, count=1000):
    """Rows about the hierarchy's own law, at these log sds, in turned coordinates, and gradients."""
    log_density, turn = askew(dim, seed)
    rng = np.random.default_rng(seed + 2)
    mu, log_sd = rng.normal(size=(count, 1)), np.broadcast_to(log_sd(rng, count), (count, 1))
    y = np.concatenate([mu, log_sd, mu + np.exp(log_sd) * rng.normal(size=(count, dim - 2))], 1) @ turn
    with jax.enable_x64(True):
        return y, np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))


@pytest.fixture(autouse=True)
def as_in_warmup():
    """Laws that overflow are dropped by their divergence."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize(("dim", "seed"), [(6, 0), (12, 1), (40, 2)])
def test_behind_the_map_the_others_are_standard_normal_even_in_the_neck(dim, seed):
    y, g = rows_of(dim, seed, lambda rng, n: rng.normal(-0.3, 0.6, (n, 1)))
    layers, history = find_layers(y, g)
    assert isinstance(layers[0], LinearLayer)
    assert history[-1] < 0.05 * history[0] + 0.01
    deep, steep = rows_of(dim, seed, lambda *_: -8.0, 100)
    kept = tuple(layers[:2])
    z, pulled = forward(kept, deep, steep) if len(kept) > 1 else layers[0].whiten(deep, steep)
    mapped = layers[1].mapped
    assert len(mapped) == dim - 1
    np.testing.assert_allclose(pulled[:, mapped], -z[:, mapped], atol=0.01)


def test_the_derivatives_are_exact_where_nothing_is_left():
    y, g = rows_of(6, 0, lambda rng, n: rng.normal(-0.3, 0.6, (n, 1)), 200)
    sd = y.std(0)
    problem = _Across((y - y.mean(0)) / sd, g * sd, np.eye(6))
    slope = -2 * askew(6, 0)[1][1] * sd
    assert np.abs(problem.left(slope)).max() < 1e-6
    steps = 1e-6 * np.eye(6)
    differences = np.stack([(problem.left(slope + s) - problem.left(slope - s)) / 2e-6 for s in steps], 1)
    np.testing.assert_allclose(problem.jacobian(slope), differences, atol=1e-4 * np.abs(differences).max())


def test_no_directions_where_the_scale_is_a_coordinate():
    rng = np.random.default_rng(0)
    v, x = rng.normal(size=(600, 1)), rng.normal(size=(600, 5))
    y = np.concatenate([v, np.exp(v) * x], 1)
    g = np.concatenate([-v - 5 + np.sum(x**2, 1, keepdims=True), -x * np.exp(-v)], 1)
    assert find_directions(y, g) is None
