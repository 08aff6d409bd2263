"""Posteriors written by hand, which the same models in NumPyro and PyMC must equal, and how they are compared."""

import jax
import jax.numpy as jnp
import numpy as np

import mcmc

Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def normal(x, loc, scale):
    return -0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale)


def _schools(p):
    prior = normal(p["mu"], 0, 5.0) - jnp.log1p((p["tau"] / 5) ** 2) + jnp.sum(normal(p["z"], 0, 1.0))
    return prior + jnp.sum(normal(Y, p["mu"] + p["tau"] * p["z"], SIGMA))


schools = mcmc.Target(_schools, {"mu": mcmc.real(), "tau": mcmc.positive(), "z": mcmc.real(8)})

RNG = np.random.default_rng(5)
GROUP = np.repeat(np.arange(4), 5)
X = RNG.normal(size=20)
OUTCOME = 0.5 + 1.5 * X + RNG.normal(size=20) * np.array([0.3, 0.5, 1.0, 0.7])[GROUP]


def _mixed(p):
    a, b, w, cuts, scale = (p[n] for n in ("a", "b", "w", "cuts", "scale"))
    prior = -jnp.log(3 - a) + jnp.log(w[1]) + 2 * jnp.log(w[2]) - jnp.sum(scale)  # w ~ Dirichlet(1, 2, 3)
    prior += jnp.sum(normal(cuts, 0, 1.0))
    return prior + jnp.sum(normal(OUTCOME, a + b * X + w @ cuts, scale[GROUP]))


mixed = mcmc.Target(
    _mixed,
    {
        "a": mcmc.interval(-1.0, 2.0),
        "b": mcmc.interval(lambda p: p["a"], 3.0),
        "w": mcmc.simplex(3),
        "cuts": mcmc.ordered(3),
        "scale": mcmc.positive(4),
    },
)


def same_density(target, hand, n=10):
    """Assert equal log densities up to a constant, and equal gradients, at random positions of the hand-written one."""
    assert target.names == hand.names
    assert target.dim == hand.dim
    with jax.enable_x64(True):
        positions = jnp.asarray(np.random.default_rng(1).normal(size=(n, hand.dim)))
        data = jax.tree.map(jnp.asarray, target.data)
        theirs, ours = (jax.jit(jax.vmap(jax.value_and_grad(t.value), (0, None))) for t in (target, hand))
        theirs, ours = theirs(positions, data), ours(positions, None)
    difference = np.asarray(theirs[0] - ours[0])
    assert np.isfinite(difference).all()
    np.testing.assert_allclose(difference, difference[0], atol=1e-8 * np.abs(ours[0]).max())
    np.testing.assert_allclose(theirs[1], ours[1], rtol=1e-6, atol=1e-8 * np.abs(ours[1]).max())


def same_moments(draws, peer, names, errors=5.0):
    """Assert means and sds of our draws equal to those of a peer's (chain, draw, ...) within Monte Carlo error."""
    for name in names:
        x, y = draws["posterior"][name].values, np.asarray(peer[name])
        assert np.max(mcmc.rhat(x)) < 1.02
        assert np.max(mcmc.rhat(y)) < 1.02
        for statistic in ("mean", "sd"):
            of = np.mean if statistic == "mean" else np.std
            error = np.hypot(mcmc.mcse(x, method=statistic), mcmc.mcse(y, method=statistic))
            assert np.all(error < 0.1 * np.std(y, (0, 1))), f"{name}: the runs say nothing"
            off = np.abs(of(x, (0, 1)) - of(y, (0, 1))) / error
            assert np.all(off < errors), f"{statistic} of {name}: {off} errors off"
