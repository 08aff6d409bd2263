"""Models whose evidence is known: closed forms and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import integrate, special, stats

import mcmc

normal = jax.scipy.stats.norm.logpdf
RNG = np.random.default_rng(11)


def target_of(parameters, data, log_prior, log_likelihood, prior):
    return mcmc.Target(None, parameters, data, log_prior=log_prior, log_likelihood=log_likelihood, prior=prior)


def normal_normal():
    y = np.array([0.4, 1.3, 2.0, -0.5])
    target = target_of(
        {"mu": mcmc.real()},
        {"y": y},
        lambda p, d: normal(p["mu"], 0.0, 2.0),
        lambda p, d: {"y": normal(d["y"], p["mu"], 1.0)},
        lambda key, d: {"mu": 2.0 * jax.random.normal(key)},
    )
    return target, stats.multivariate_normal.logpdf(y, np.zeros(4), np.eye(4) + 4.0)


def beta_binomial():
    k, n, a, b = 8, 20, 2.0, 3.0
    target = target_of(
        {"p": mcmc.interval(0.0, 1.0)},
        {"k": np.array(k)},
        lambda p, d: jax.scipy.stats.beta.logpdf(p["p"], a, b),
        lambda p, d: {"k": np.log(special.comb(n, k)) + d["k"] * jnp.log(p["p"]) + (n - d["k"]) * jnp.log1p(-p["p"])},
        lambda key, d: {"p": jax.random.beta(key, a, b)},
    )
    return target, stats.betabinom.logpmf(k, n, a, b)


def regression(dim=20, n=60):
    x = RNG.normal(size=(n, dim))
    y = x @ RNG.normal(size=dim) * 0.5 + RNG.normal(size=n)
    target = target_of(
        {"b": mcmc.real(dim)},
        {"x": x, "y": y},
        lambda p, d: normal(p["b"]).sum(),
        lambda p, d: {"y": normal(d["y"], d["x"] @ p["b"], 1.0)},
        lambda key, d: {"b": jax.random.normal(key, (dim,))},
    )
    return target, stats.multivariate_normal.logpdf(y, np.zeros(n), np.eye(n) + x @ x.T)


def two_modes(dim=3):
    """Uniform on a cube of side 20, two normal modes of shares 0.2 and 0.8 that no chain goes between."""

    def log_likelihood(p):
        one, two = normal(p["x"], -4.0, 0.5).sum(), normal(p["x"], 4.0, 0.7).sum()
        return {"y": jnp.logaddexp(np.log(0.2) + one, np.log(0.8) + two)}

    target = target_of(
        {"x": mcmc.interval(-10.0, 10.0, dim)},
        None,
        lambda p: jnp.full((), -dim * np.log(20.0)),
        log_likelihood,
        lambda key: {"x": jax.random.uniform(key, (dim,), minval=-10.0, maxval=10.0)},
    )
    return target, -dim * np.log(20.0)


RADIUS, WIDTH, SIDE = 2.0, 0.1, 12.0
CENTRES = 3.5 * np.array([[np.cos(t), np.sin(t)] for t in 2 * np.pi * np.arange(8) / 8])


def eight_shells():
    """Eight gaussian shells (rings) on a circle, uniform prior on a square (after Feroz & Hobson 2008)."""

    def shells(x, xp=jnp):
        r = xp.sqrt(((x - CENTRES) ** 2).sum(-1) + 1e-12)
        return -0.5 * ((r - RADIUS) / WIDTH) ** 2 - 0.5 * np.log(2 * np.pi * WIDTH**2)

    def log_likelihood(p):
        return {"y": jax.scipy.special.logsumexp(shells(p["x"]))}

    target = target_of(
        {"x": mcmc.interval(-SIDE / 2, SIDE / 2, 2)},
        None,
        lambda p: jnp.full((), -2 * np.log(SIDE)),
        log_likelihood,
        lambda key: {"x": jax.random.uniform(key, (2,), minval=-SIDE / 2, maxval=SIDE / 2)},
    )
    ring = integrate.quad(lambda r: 2 * np.pi * r * stats.norm.pdf(r, RADIUS, WIDTH), 0, RADIUS + 9 * WIDTH, limit=200)
    return target, np.log(8 * ring[0]) - 2 * np.log(SIDE)


def spike_and_slab(dim=20, spike=0.01, slab=0.1):
    """Skilling 2006: a spike of 100 times the slab's mass inside it, uniform on a cube of side 1."""

    def log_likelihood(p):
        one, two = normal(p["x"], 0.0, spike).sum(), normal(p["x"], 0.0, slab).sum()
        return {"y": jnp.logaddexp(np.log(100.0) + one, two)}

    target = target_of(
        {"x": mcmc.interval(-0.5, 0.5, dim)},
        None,
        lambda p: jnp.zeros(()),
        log_likelihood,
        lambda key: {"x": jax.random.uniform(key, (dim,), minval=-0.5, maxval=0.5)},
    )
    return target, np.log(100.0 + (1 - 2 * stats.norm.sf(0.5, scale=slab)) ** dim)


Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def eight_schools():
    def log_prior(p, d):
        return {
            "mu": normal(p["mu"], 0.0, 5.0),
            "tau": jnp.log(2.0) + jax.scipy.stats.cauchy.logpdf(p["tau"], 0.0, 5.0),
            "z": normal(p["z"]),
        }

    def prior(key, d):
        a, b, c = jax.random.split(key, 3)
        tau = 5.0 * jnp.abs(jax.random.cauchy(b))
        return {"mu": 5.0 * jax.random.normal(a), "tau": tau, "z": jax.random.normal(c, (8,))}

    target = target_of(
        {"mu": mcmc.real(), "tau": mcmc.positive(), "z": mcmc.real(8)},
        {"y": Y},
        log_prior,
        lambda p, d: {"y": normal(d["y"], p["mu"] + p["tau"] * p["z"], SIGMA)},
        prior,
    )

    def given(tau):  # mu and theta integrated out
        covariance = np.diag(SIGMA**2 + tau**2) + 25.0
        return stats.multivariate_normal.pdf(Y, np.zeros(8), covariance) * stats.halfcauchy.pdf(tau, scale=5.0) * 1e13

    total = integrate.quad(given, 0, 100, limit=500)[0] + integrate.quad(given, 100, np.inf)[0]
    return target, np.log(total) - np.log(1e13)


LAWS = {f.__name__: f for f in (normal_normal, beta_binomial, regression, two_modes, eight_shells, eight_schools)}
