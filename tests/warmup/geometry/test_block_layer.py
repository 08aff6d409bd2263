"""A block that is jointly normal given its scales: the program, the host's rows, and the law agree."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hierarchies import nested, noisy_walk

from mcmc.warmup.geometry.block_fit import find_block
from mcmc.warmup.geometry.block_layer import BlockLayer
from mcmc.warmup.geometry.conditional_forms import Rows
from mcmc.warmup.geometry.noncentring import find_laws
from mcmc.warmup.geometry.triangular_map import from_arrays, to_arrays

CASES = {"nested": (nested, 28), "noisy walk": (noisy_walk, 10)}


@functools.cache
def _case(name):
    """Rows of another law, the layer that they give, and the program's positions, gradients and Jacobians there."""
    log_density, dim = CASES[name]
    y = np.random.default_rng(0).uniform(-2.5, 2.5, (1200, dim))
    with jax.enable_x64(True):
        g = np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))
        rows = Rows.of(y, g)
        layer, block = find_block(rows, find_laws(rows, np.arange(dim)), np.arange(dim))
        z, pulled = layer.whiten(y[:20], g[:20])

        def pull(layer, z):
            def whole(z):
                there, log_jacobian = layer.forward(z)
                return log_density(there) + log_jacobian, (there, log_jacobian)

            gradient, (there, log_jacobian) = jax.grad(whole, has_aux=True)(z)
            return gradient, there, log_jacobian, jax.jacobian(lambda z: layer.forward(z)[0])(z)

        made = [np.asarray(a) for a in jax.jit(jax.vmap(pull, (None, 0)))(layer, z)]
    return layer, block, (y[:20], g[:20]), (z, pulled), made


@pytest.mark.parametrize("name", CASES)
def test_the_block_is_standard_normal_given_its_scales(name):
    _, block, _, (z, pulled), _ = _case(name)
    np.testing.assert_allclose(pulled[:, block], -z[:, block], atol=1e-6 * np.abs(z[:, block]).max())


@pytest.mark.parametrize("name", CASES)
def test_whitened_rows_are_the_programs_inverse_and_pulled_back_gradients(name):
    layer, _, (y, g), (z, pulled), (gradient, there, log_jacobian, jacobian) = _case(name)
    np.testing.assert_allclose(there, y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradient, pulled, rtol=1e-5, atol=1e-6 * np.abs(pulled).max())
    sign, exact = np.linalg.slogdet(jacobian)
    assert (sign > 0).all()
    np.testing.assert_allclose(log_jacobian - exact, np.full(len(exact), log_jacobian[0] - exact[0]), atol=1e-8)
    back, gradients = layer.unwhiten(z, pulled)
    np.testing.assert_allclose(back, y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(gradients, g, rtol=1e-7, atol=1e-8 * np.abs(g).max())


def test_a_small_scale_costs_no_digits():
    """Deep in the neck θ = μ + τz for τ = 1e-6, where what is left for μ cancels if it is computed by subtraction."""
    layer, _, _, (z, _), _ = _case("nested")
    z = z.copy()
    z[:, 1:3] = -13.8
    y, _ = layer.unwhiten(z, np.zeros_like(z))
    assert np.isfinite(y).all()
    np.testing.assert_allclose(layer.whiten(y, np.zeros_like(y))[0], z, atol=1e-7)


def test_a_layer_survives_being_saved():
    layer = _case("nested")[0]
    (again,) = from_arrays(to_arrays((layer,)))
    assert isinstance(again, BlockLayer)
    jax.tree.map(np.testing.assert_array_equal, again, layer)


def test_a_layer_without_a_rest_needs_no_root():
    layer = BlockLayer(
        np.array([0]),
        np.zeros(1),
        np.array([1, 2]),
        np.array([], int),
        np.array([], int),
        np.zeros(3),
        np.ones(3),
        np.array([[0.0], [-2.0]]),
        np.log(np.array([[1.0, 2.0], [1.0, 1.0]])),
        np.array([[[0.5], [0.0]], [[1.0], [2.0]]]),
        np.zeros((2, 0, 1)),
    )
    z = np.random.default_rng(0).normal(size=(4, 3))
    y, g = layer.unwhiten(z, -z)
    with jax.enable_x64(True):
        there = jax.jit(jax.vmap(lambda z: jax.tree.map(jnp.asarray, layer).forward(z)[0]))(z)
    np.testing.assert_allclose(there, y, rtol=1e-12)
    np.testing.assert_allclose(layer.whiten(y, g)[0], z, rtol=1e-12)


def test_rows_far_out_do_not_spoil_the_others():
    layer = _case("nested")[0]
    y = np.random.default_rng(1).normal(size=(3, 28))
    y[0, 1:3] = 500.0
    with np.errstate(all="ignore"):
        z, _ = layer.whiten(y, np.zeros_like(y))
    assert np.isfinite(z[1:]).all()
