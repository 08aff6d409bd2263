"""Discrete sites that are summed out: the density as by hand, and the sites drawn back with their joint law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from mcmc.models import from_numpyro

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
pytest.importorskip("funsor", reason="funsor is not installed: nothing is summed out")
dist = numpyro.distributions
Y = np.array([-2.0, 2.0, 1.8, 0.0])
PARALLEL = {"enumerate": "parallel"}


def mixture(y):
    w = numpyro.sample("w", dist.Dirichlet(jnp.ones(2)))
    mu = numpyro.sample("mu", dist.Normal(0, 2).expand([2]).to_event(1))
    with numpyro.plate("row", len(y)):
        z = numpyro.sample("z", dist.Categorical(w), infer=PARALLEL)
        numpyro.sample("y", dist.Normal(mu[z], 1), obs=y)


def chain(y, history=1):
    from numpyro.contrib.control_flow import scan

    a = numpyro.sample("a", dist.Beta(1, 1))

    def step(before, now):
        z = numpyro.sample("z", dist.Bernoulli(jnp.where(sum(before) > 0, a, 0.3)), infer=PARALLEL)
        numpyro.sample("y", dist.Normal(2.0 * z, 1), obs=now)
        return (*before[1:], z), None

    scan(step, (jnp.zeros((), jnp.int32),) * history, y, history=history)


def of_chain(a, y, history):
    """The log of the joint probability of every path."""
    log = {}
    for path in itertools.product([0, 1], repeat=len(y)):
        before = [sum(path[max(0, t - history) : t]) for t in range(len(y))]
        p = np.where(np.array(before) > 0, a, 0.3)
        log[path] = (stats.bernoulli(p).logpmf(path) + stats.norm(2.0 * np.array(path)).logpdf(y)).sum()
    return log


def test_a_mixture_without_its_components():
    target = from_numpyro(mixture, Y)
    assert target.names == ("w", "mu")
    assert target.log_likelihood is None
    p = {"w": jnp.array([0.3, 0.7]), "mu": jnp.array([-1.0, 2.0])}
    terms = np.log([0.3, 0.7]) + stats.norm([-1.0, 2.0]).logpdf(Y[:, None])
    with jax.enable_x64(True):
        got = float(jax.jit(target.log_density)(p, target.data))
        keys = jax.random.split(jax.random.key(0), 4000)
        z = np.asarray(jax.jit(jax.vmap(lambda k: target.predictive(k, p, target.data)["z"]))(keys))
    np.testing.assert_allclose(got, stats.norm(0, 2).logpdf([-1, 2]).sum() + logsumexp(terms, 1).sum(), rtol=1e-6)
    share = np.exp(terms[:, 1] - logsumexp(terms, 1))
    assert np.all(np.abs(z.mean(0) - share) < 5 * np.sqrt(share * (1 - share) / 4000))


@pytest.mark.parametrize("history", [1, 2])
def test_a_markov_chain_without_its_states(history):
    target = from_numpyro(chain, Y, history=history)
    assert target.names == ("a",)
    p, n = {"a": jnp.array(0.8)}, 20_000
    log = of_chain(0.8, Y, history)
    total = logsumexp(list(log.values()))
    with jax.enable_x64(True):
        np.testing.assert_allclose(float(jax.jit(target.log_density)(p, target.data)), total, rtol=1e-6)
        simulate = jax.jit(jax.vmap(lambda k: target.predictive(k, p, target.data)))
        drawn = simulate(jax.random.split(jax.random.key(0), n))
        z, y = np.asarray(drawn["z"]), np.asarray(drawn["y"])
    paths, counts = np.unique(z.reshape(n, -1), axis=0, return_counts=True)
    seen = dict(zip(map(tuple, paths.tolist()), counts, strict=True))
    expected = {path: n * np.exp(x - total) for path, x in log.items()}
    chi2 = sum((seen.get(path, 0) - e) ** 2 / e for path, e in expected.items() if e > 5)
    assert stats.chi2(sum(e > 5 for e in expected.values())).sf(chi2) > 1e-4
    assert abs((y.reshape(n, -1) - 2 * z.reshape(n, -1)).mean()) < 5 / np.sqrt(4 * n)
