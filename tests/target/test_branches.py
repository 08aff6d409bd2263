"""Branches of log densities on their parameters: walls and jumps, and what looks like them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import special, stats

import mcmc
from mcmc.target.branches import NO_BRANCHES, Branches

ENDS, JUMPS = Branches(guards=True), Branches(others=True)
CASES = {
    "where": (ENDS, lambda x: jnp.where(x > 0, -0.5 * x**2, -jnp.inf)),
    "where and": (ENDS, lambda x: jnp.where((x > 0) & (x < 1), 0.0, -jnp.inf)),
    "a library's support": (ENDS, stats.expon.logpdf),
    "of an expression": (ENDS, lambda x: jnp.where(jnp.exp(x) < 1e-3, -jnp.inf, -(x**2))),
    "jump": (JUMPS, lambda x: -0.5 * x**2 - 5 * (x > 0)),
    "soft wall": (JUMPS, lambda x: jnp.where(x > 0, -0.5 * x**2, -1e10)),
    "cond": (JUMPS, lambda x: jax.lax.cond(x > 0, lambda: -x, lambda: -2.0)),
    "in a loop": (JUMPS, lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c + jnp.where(x > i, 0.0, 3.0), -(x**2))),
    "smooth": (NO_BRANCHES, lambda x: -jax.nn.softplus(x) - jnp.logaddexp(x, -x) + stats.t.logpdf(x, 4)),
    "kinks": (NO_BRANCHES, lambda x: -jnp.abs(x) - jnp.maximum(x, 0) - jnp.clip(x, -1, 1) ** 2),
    "sums of exponentials": (NO_BRANCHES, lambda x: -special.logsumexp(jnp.stack([x, -x])) + special.xlogy(2.0, x**2)),
    "of data": (NO_BRANCHES, lambda x: -jnp.sum(jnp.where(np.arange(3.0) > 1, x, 2 * x) ** 2)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_walls_and_jumps_are_seen_in_the_traced_density(case):
    expected, density = CASES[case]
    target = mcmc.Target(lambda p: density(p["x"]), {"x": mcmc.real()})
    assert target.trace(np.dtype("float32")).branches == expected


@pytest.mark.parametrize(
    "support", [mcmc.interval(0.0, 2.0), mcmc.circular(), mcmc.positive(), mcmc.simplex(3), mcmc.unit_vector(3)]
)
def test_supports_have_none(support):
    target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": support})
    assert target.trace(np.dtype("float32")).branches == NO_BRANCHES


def test_random_keys_in_a_density_are_no_branches():
    def density(p):
        noise = jax.random.normal(jax.random.wrap_key_data(jnp.array([0, 1], jnp.uint32)), (3,))
        return -0.5 * jnp.sum((p["x"] - noise) ** 2)

    assert mcmc.Target(density, {"x": mcmc.real(3)}).trace(np.dtype("float32")).branches == NO_BRANCHES
