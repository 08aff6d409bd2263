"""Layers of a map: the host's rows and the program's positions agree, whatever the numbers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_layers import conditional, curve, joint, tails

from mcmc.warmup.geometry import triangular_map
from mcmc.warmup.geometry.tail_layer import TailLayer, derivatives, invert, standard
from mcmc.warmup.geometry.triangular_map import TriangularMap, from_arrays, to_arrays

DIM = 5
SEEDS = st.tuples(st.sampled_from(["curve", "conditional", "joint"]), *[st.integers(0, 2**31)] * 3)


@functools.cache
def _program():
    """Gradients and Jacobian of a map of layers: one program for all numbers of some kinds of layers."""

    def whole(layers, z, g):
        (y, log_jacobian), pull = jax.vjp(TriangularMap(layers).forward, z)
        rows = jax.vmap(pull)((jnp.eye(DIM), jnp.zeros(DIM)))[0]
        return y, pull((g, jnp.ones(())))[0], log_jacobian, rows

    return jax.jit(jax.vmap(whole, (None, 0, 0)))


def _made(seeds):
    kind, *seeds = seeds
    make = {"curve": curve, "conditional": conditional, "joint": joint}[kind]
    makes = (make, tails, make)
    layers = tuple(make(seed, DIM) for make, seed in zip(makes, seeds, strict=True))
    z, g = np.random.default_rng(seeds[0]).uniform(-2, 2, (2, 12, DIM))
    with jax.enable_x64(True):
        return layers, z, g, *(np.asarray(a) for a in _program()(layers, z, g))


def _close(a, b, tolerance=1e-9):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, float(np.abs(b).max())))


@given(SEEDS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_whitened_rows_are_the_programs_inverse_and_pulled_back_gradients(seeds):
    layers, z, g, y, pulled, _, _ = _made(seeds)
    back, new = triangular_map.forward(layers, y, g)
    _close(back, z)
    _close(new, pulled)


@given(SEEDS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_unwhitened_rows_are_the_way_back(seeds):
    layers, z, g, y, pulled, _, _ = _made(seeds)
    there, gradients = triangular_map.backward(layers, z, pulled)
    _close(there, y)
    _close(gradients, g)
    _close(triangular_map.forward(layers, *triangular_map.backward(layers, z, g))[1], g)


@given(SEEDS)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_log_jacobian_is_that_of_the_map_up_to_a_constant(seeds):
    *_, log_jacobian, jacobian = _made(seeds)
    sign, exact = np.linalg.slogdet(jacobian)
    assert (sign > 0).all()
    off = log_jacobian - exact
    _close(off, off[0] * np.ones_like(off))


@pytest.mark.parametrize("seed", range(4))
def test_positions_move_from_one_map_to_another(seed):
    old, new = (conditional(seed, DIM), tails(seed, DIM)), (conditional(seed + 9, DIM),)
    y = np.random.default_rng(seed).normal(size=(5, DIM))
    z = triangular_map.forward(old, y, np.zeros_like(y))[0]
    there = triangular_map.moved(old, new, z)
    _close(triangular_map.backward(new, there, np.zeros_like(y))[0], y)
    _close(triangular_map.moved(old, (), z), y)


def test_a_map_is_the_same_from_its_arrays():
    layers = tuple(
        make(seed, DIM) for seed, make in enumerate([conditional, tails, joint] * 4)
    )  # more than ten: in order
    arrays = to_arrays(layers)
    again = from_arrays({**arrays, "position": np.zeros(3)})
    assert [type(layer) for layer in again] == [type(layer) for layer in layers]
    same = jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), again, layers)
    assert all(jax.tree.leaves(same))
    assert from_arrays({"position": np.zeros(3)}) == ()


def test_a_coordinate_that_only_changes_units_is_mapped_on_the_host_too():
    layer, nothing = conditional(0, DIM), np.zeros((DIM, 3, 2))
    layer = dataclasses.replace(layer, exponents=nothing, slopes=nothing)
    z = np.random.default_rng(0).normal(size=(4, DIM))
    with jax.enable_x64(True):
        y = jax.vmap(lambda z: layer.forward(z)[0])(z)
    assert (np.asarray(y) != z).any()
    _close(layer.unwhiten(z, z)[0], np.asarray(y))


# --- tails --------------------------------------------------------------------------------------------

POWERS = st.floats(0.2, 3.0)


@given(POWERS, POWERS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_tails_are_increasing_and_invert_accurately(right, left):
    t = np.concatenate([-np.logspace(8, -8, 200), [0.0], np.logspace(-8, 8, 200)])
    z = invert(t, np.full_like(t, right), np.full_like(t, left))
    assert (np.diff(z) > 0).all()
    _close_each(standard(z, np.float64(right), np.float64(left)), t)
    slope, _ = derivatives(z, np.float64(right), np.float64(left))
    assert (slope > 0).all()


def _close_each(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-14)


@given(st.floats(0.2, 3.0), st.floats(0.2, 3.0), st.floats(-30, 30))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_slopes_of_tails_are_their_derivatives(right, left, z):
    h = 1e-5 * (1 + abs(z))
    slope, bend = derivatives(np.float64(z), np.float64(right), np.float64(left))
    above, below = (standard(np.float64(z + s * h), np.float64(right), np.float64(left)) for s in (1, -1))
    np.testing.assert_allclose((above - below) / (2 * h), slope, rtol=1e-5)
    above, below = (np.log(derivatives(np.float64(z + s * h), right, left)[0]) for s in (1, -1))
    np.testing.assert_allclose((above - below) / (2 * h), bend, rtol=1e-5, atol=1e-8)


def test_powers_of_one_are_the_identity():
    one = np.ones(3)
    layer = TailLayer(np.zeros(3), one, one, one)
    z = np.array([-1e6, 0.3, 1e5])
    with jax.enable_x64(True):
        y, log_jacobian = layer.forward(jnp.asarray(z))
    np.testing.assert_allclose(y, z, rtol=1e-10)
    assert abs(float(log_jacobian)) < 1e-9
    np.testing.assert_allclose(invert(z, one, one), z, rtol=1e-12)
    rows = np.random.default_rng(0).normal(size=(2, 4, 3))
    for out, given_ in zip((*layer.whiten(*rows), *layer.unwhiten(*rows)), (*rows, *rows), strict=True):
        np.testing.assert_array_equal(out, given_)
