"""Hierarchies that lie askew in the parameters are found exactly, and their necks hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hierarchies import normal

import mcmc
from mcmc.warmup.geometry.block_layer import BlockLayer
from mcmc.warmup.geometry.directions import find_directions
from mcmc.warmup.geometry.layers import find_layers
from mcmc.warmup.geometry.linear_layer import LinearLayer
from mcmc.warmup.geometry.log_scales import Across, _fewer, exact_slopes
from mcmc.warmup.geometry.text import describe
from mcmc.warmup.geometry.triangular_map import backward, forward


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


def turned(levels, seed):
    """A mean, log sds and so many groups a level, each normal about those of the level above, the last about its data;
    in coordinates turned at random. The log density, its dimension and the rotation.
    """
    sizes = np.cumprod(levels)
    starts = len(levels) + 2 + np.concatenate([[0], np.cumsum(sizes)])
    dim = int(starts[-1])
    rng = np.random.default_rng(seed)
    turn, data = np.linalg.qr(rng.normal(size=(dim, dim)))[0], rng.normal(size=(sizes[-1], 3))

    def log_density(v):
        q = jnp.asarray(turn) @ v
        above, logs = q[:1], q[1 : len(levels) + 2]
        total = -0.5 * jnp.sum(logs**2) - 0.5 * jnp.sum((above / 15) ** 2)
        for log_sd, start, stop, fan in zip(logs, starts, starts[1:], levels, strict=False):
            own = q[start:stop]
            total += jnp.sum(normal(own, jnp.repeat(above, fan), log_sd))
            above = own
        return total + jnp.sum(normal(jnp.asarray(data), above[:, None], logs[-1]))

    return log_density, dim, turn


@pytest.mark.parametrize(("levels", "seed"), [((8,), 0), ((4, 3), 1)])
def test_several_log_scales_that_lie_askew_are_found_and_their_block_is_standard_normal_in_the_neck(levels, seed):
    log_density, dim, turn = turned(levels, seed)
    count = len(levels) + 1
    y = np.random.default_rng(seed).normal(size=(1200, dim))
    with jax.enable_x64(True):
        gradient = jax.jit(jax.vmap(jax.grad(log_density)))
        g = np.asarray(gradient(y @ turn))
    layers, _ = find_layers(y @ turn, g)
    assert [type(layer) for layer in layers[:2]] == [LinearLayer, BlockLayer]
    space = mcmc.Target(log_density, {"x": mcmc.real(dim)})
    assert describe(tuple(layers), space) == f"{count} combinations of x[0..{dim - 1}] scale others"
    scales = turn[1 : count + 1] @ layers[0].matrix
    np.testing.assert_allclose(scales[:, count:], 0, atol=1e-5 * np.abs(scales).max())
    z = np.random.default_rng(seed + 1).normal(size=(50, dim))
    for level in range(count):
        deep = z + 10 * np.eye(dim)[level]  # a log precision of 10: five standard deviations of the log sd
        y, _ = backward(tuple(layers[:2]), deep, deep)
        with jax.enable_x64(True):
            back, pulled = forward(tuple(layers[:2]), y, np.asarray(gradient(y)))
        np.testing.assert_allclose(back, deep, atol=1e-6)
        np.testing.assert_allclose(pulled[:, count:], -z[:, count:], atol=1e-3)


def test_no_more_log_scales_than_there_are():
    y, g = rows_of(8, 3, lambda rng, n: rng.normal(-0.3, 0.6, (n, 1)))
    x, score = (y - y.mean(0)) / y.std(0), g * y.std(0)
    far = np.random.default_rng(0).normal(size=8)
    slopes = exact_slopes(x, score, far)
    assert slopes is not None
    assert len(slopes) == 1
    one = -2 * askew(8, 3)[1][1] * y.std(0)
    np.testing.assert_allclose(slopes[0], one, atol=1e-5 * np.abs(one).max())


def test_a_log_scale_that_explains_nothing_is_dropped():
    y, g = rows_of(8, 3, lambda rng, n: rng.normal(-0.3, 0.6, (n, 1)))
    x, score = (y - y.mean(0)) / y.std(0), g * y.std(0)
    one = -2 * askew(8, 3)[1][1] * y.std(0)
    both = np.stack([np.random.default_rng(1).normal(size=8), one])
    found = _fewer(Across(x, score, np.eye(8), 2), both)
    assert len(found) == 1
    np.testing.assert_allclose(found[0], one, atol=1e-5 * np.abs(one).max())


@pytest.mark.parametrize("levels", [(), (3,)])
def test_the_derivatives_are_exact_where_nothing_is_left(levels):
    log_density, dim, turn = turned(levels, 0) if levels else (*askew(6, 0)[:1], 6, askew(6, 0)[1])
    y = np.random.default_rng(0).normal(size=(200, dim))
    with jax.enable_x64(True):
        g = np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))
    sd, count = y.std(0), len(levels) + 1
    problem = Across((y - y.mean(0)) / sd, g * sd, np.eye(dim), count)
    slopes = (-2 * turn[1 : count + 1] * sd).ravel()
    assert np.abs(problem.left(slopes)).max() < 1e-6
    steps = 1e-6 * np.eye(len(slopes))
    differences = np.stack([(problem.left(slopes + s) - problem.left(slopes - s)) / 2e-6 for s in steps], 1)
    np.testing.assert_allclose(problem.jacobian(slopes), differences, atol=1e-4 * np.abs(differences).max())


def test_no_directions_where_the_scale_is_a_coordinate():
    rng = np.random.default_rng(0)
    v, x = rng.normal(size=(600, 1)), rng.normal(size=(600, 5))
    y = np.concatenate([v, np.exp(v) * x], 1)
    g = np.concatenate([-v - 5 + np.sum(x**2, 1, keepdims=True), -x * np.exp(-v)], 1)
    assert find_directions(y, g) is None
