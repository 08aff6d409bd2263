"""Sums kept as a tree, and going down it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.direct.categorical import tree


@pytest.mark.parametrize("size", [1, 2, 8, 9, 64, 100, 513, 4096])
def test_sums_and_extremes(size):
    x = np.random.default_rng(0).normal(size=(3, size))
    with jax.enable_x64(True):
        np.testing.assert_allclose(tree.total(jnp.asarray(x)), x.sum(1), rtol=1e-12, atol=1e-12)
    x = x.astype(np.float32)
    np.testing.assert_array_equal(tree.maximum(jnp.asarray(x)), x.max(1))
    np.testing.assert_array_equal(tree.minimum(jnp.asarray(x), np.inf), x.min(1))


def test_sums_do_not_depend_on_what_is_beside_them():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(9, 5000)), jnp.float32)
    together = jax.jit(tree.total)(x)
    one = jax.jit(tree.total)
    np.testing.assert_array_equal(together, [one(row) for row in x])


@pytest.mark.parametrize("size", [1, 3, 8, 70, 600])
def test_descending_inverts_the_running_sum(size):
    w = np.random.default_rng(1).exponential(size=size)
    w[::5] = 0 if size > 1 else 1
    u = (np.arange(2000) + 0.5) / 2000
    with jax.enable_x64(True):
        sums = tree.levels(jnp.asarray(w))
        found = np.asarray(tree.descend(sums, jnp.asarray(u), jnp.asarray(np.random.default_rng(2).random(2000))))
    assert np.all(w[found] > 0)
    assert found.max() < size
    blocks = np.bincount(found % max(1, -(-size // 8)))  # a node of the first level below the root
    share = np.array([w[i :: len(blocks)].sum() for i in range(len(blocks))]) / w.sum()
    if size <= 64:
        np.testing.assert_allclose(blocks / 2000, share, atol=5 * np.sqrt(0.25 / 2000))


@pytest.mark.parametrize("u", [2.0**-53, 0.5, 1 - 2.0**-53, 1.0, 1.5])
def test_a_weight_of_0_is_never_reached(u):
    """Also where rounding takes the target past the end: u above 1 stands for that."""
    w = np.zeros(1000)
    w[[3, 130, 700]] = 1e-30, 1.0, 1e-30
    with jax.enable_x64(True):
        found = tree.descend(tree.levels(jnp.asarray(w)), jnp.full(3, u), jnp.asarray([2.0**-53, 0.5, 1.5]))
    assert set(np.asarray(found).tolist()) <= {3, 130, 700}
