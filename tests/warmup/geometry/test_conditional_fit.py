"""Conditional laws found from gradients: exact where the form is right, whatever law the rows have."""

import functools

import hierarchies
import jax
import numpy as np
import pytest
from hierarchies import EXACT

from mcmc.warmup.geometry.layers import divergence, find_layers
from mcmc.warmup.geometry.refit import usable
from mcmc.warmup.geometry.tail_layer import TailLayer
from mcmc.warmup.geometry.triangular_map import forward

ROWS, HELD = 2000, 500


@functools.cache
def rows(log_density, dim, how):
    """Positions from a law that isn't the target's, and the target's gradients."""
    rng = np.random.default_rng(1)
    shape = (ROWS + HELD, dim)
    y = rng.normal(size=shape) if how == "normal" else rng.uniform(-2.5, 2.5, shape)
    with jax.enable_x64(True):
        return y, np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))


@functools.cache
def found(log_density, dim, how):
    """The layers of the first rows, and what they leave of z + ∂ log π/∂z = 0 of the held-out rows, by coordinate."""
    y, g = rows(log_density, dim, how)
    layers, history = find_layers(y[:ROWS], g[:ROWS])
    z, pulled = forward(tuple(layers), y[ROWS:], g[ROWS:])
    return [layer for layer in layers if not isinstance(layer, TailLayer)], np.mean((z + pulled) ** 2, 0), history


@pytest.mark.parametrize("how", ["normal", "box"])
@pytest.mark.parametrize("name", EXACT)
def test_laws_are_found_exactly_from_rows_of_another_law(name, how):
    log_density, dim, normal = EXACT[name]
    layers, left, _ = found(log_density, dim, how)
    assert left[list(normal)].max() < 1e-6
    if name != "nested":
        assert [layer.mapped.tolist() for layer in layers] == [list(normal)]


@pytest.mark.parametrize("name", [name for name in EXACT if "schools" in name])
def test_the_scale_and_the_mean_of_a_hierarchy_are_its_parents(name):
    log_density, dim, _ = EXACT[name]
    (layer,), *_ = found(log_density, dim, "normal")
    assert layer.parents.tolist() == [1]
    assert layer.first.tolist() == list(range(2, 10))
    assert layer.rest.tolist() == [0]


def test_each_weight_of_a_horseshoe_has_its_own_scale_and_that_of_all():
    (layer,), *_ = found(*EXACT["horseshoe"][:2], "normal")
    for k, i in enumerate(range(7, 13)):
        scaling = (layer.exponents[i] != 0).any(0)
        assert layer.parents[scaling].tolist() == [0, 1 + k]


@pytest.mark.parametrize("how", ["normal", "box"])
@pytest.mark.parametrize("name", ["random_walk", "noisy_walk"])
def test_a_random_walk_of_unknown_scale_gains_by_its_layers(name, how):
    layers, left, history = found(getattr(hierarchies, name), 10, how)
    assert len(layers) >= 1
    assert left[layers[0].mapped].max() < 1e-6
    assert history[-1] < 0.5 * history[0]
    assert (np.diff(history) < 0).all()


@pytest.mark.parametrize("how", ["normal", "box"])
@pytest.mark.parametrize(("name", "dim"), [("correlated", 5), ("logistic", 6)])
def test_no_layers_where_there_is_no_structure(name, dim, how):
    layers, _, history = found(getattr(hierarchies, name), dim, how)
    assert layers == []
    y, g = rows(getattr(hierarchies, name), dim, how)
    assert abs(divergence(y[:ROWS], g[:ROWS]) - history[0]) < 0.02


@pytest.mark.parametrize("how", ["normal", "box"])
def test_two_nested_levels_leave_nothing(how):
    layers, left, _ = found(*EXACT["nested"][:2], how)
    assert 1 <= len(layers) <= 2
    assert {i for layer in layers for i in layer.mapped.tolist()} >= {0, *range(3, 28)}
    assert left[[0, *range(3, 28)]].max() < 1e-9


def test_equal_rows_give_equal_layers():
    y, g = rows(*EXACT["schools, half-normal tau"][:2], "normal")
    one, other = (find_layers(y[:ROWS].copy(), g[:ROWS].copy())[0] for _ in range(2))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, one, other)))


@pytest.mark.parametrize("spread", [1e-5, 1e5])
def test_units_do_not_enter(spread):
    log_density, dim, normal = EXACT["schools, half-normal tau"]
    y, g = rows(log_density, dim, "normal")
    unit = np.ones(dim)
    unit[[0, *normal]] = spread
    layers = find_layers(y[:ROWS] * unit, g[:ROWS] / unit)[0]
    z, pulled = forward(tuple(layers), y[ROWS:] * unit, g[ROWS:] / unit)
    assert layers[0].mapped.tolist() == list(normal)
    assert np.mean((z + pulled) ** 2, 0)[list(normal)].max() < 1e-6


def test_rows_count_once_where_proposals_were_rejected():
    y, g = rows(*EXACT["nested"][:2], "normal")
    again = np.random.default_rng(0).integers(0, 30, 500)
    z, gz = y[again].copy(), g[again].copy()
    z[3, 1], gz[5, 2] = np.nan, np.inf
    kept, gradients = usable(z, gz)
    assert len(kept) == 30
    assert np.isfinite(kept).all()
    assert np.isfinite(gradients).all()
    where = {row.tobytes(): i for i, row in enumerate(y[:30])}
    np.testing.assert_array_equal(gradients, g[[where[row.tobytes()] for row in kept]])
