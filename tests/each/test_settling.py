"""Starts that are far out come into the bulk before warmup, and not to the mode."""

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.each.settling import settling
from mcmc.warmup.pathfinder import reach

SETS, CHAINS = 3, 128


def log_density(arrays, y):
    """Independent normals of very different widths, about a centre that each data set has."""
    centre, sd = arrays
    return -0.5 * (((y - centre) / sd) ** 2).sum()


def test_chains_come_from_far_to_the_law_and_those_of_one_number_together():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        centre, sd = rng.normal(size=(SETS, 3)), np.array([0.02, 0.1, 0.5])
        words = np.arange(2 * SETS, dtype=np.uint32).reshape(SETS, 2)
        starts = rng.uniform(-2, 2, (SETS, CHAINS, 3))
        starts[:, 1] = starts[:, 0]
        numbers = np.array([0, 0, *range(2, CHAINS)], np.uint32)
        settle = jax.jit(settling(log_density, (0, None)))
        found = np.asarray(settle((centre, sd), words, numbers, starts))
        z = (found - centre[:, None]) / sd
        began = (starts - centre[:, None]) / sd
        assert np.mean(0.5 * (began**2).sum(-1) > reach(3)) > 0.9  # they were far
        assert (0.5 * (z**2).sum(-1)).max() < reach(3)
        assert 0.6 < z[..., :2].std() < 1.4
        np.testing.assert_array_equal(found[:, 0], found[:, 1])
        alone = np.asarray(settle((centre[[1]], sd), words[[1]], numbers, starts[[1]]))
        np.testing.assert_allclose(alone[0], found[1], rtol=1e-6)


def test_a_chain_without_a_finite_density_stays():
    with jax.enable_x64(True):
        start = np.ones((1, 1, 2))
        settle = jax.jit(settling(lambda arrays, y: jnp.nan * y.sum(), ()))
        found = settle((), np.zeros((1, 2), np.uint32), np.zeros(1, np.uint32), start)
        np.testing.assert_array_equal(found, start)
