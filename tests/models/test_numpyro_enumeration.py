"""Discrete sites that are summed out: the density as by hand, and the sites drawn back with their joint law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw
from scipy import stats
from scipy.special import logsumexp

import mcmc
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


def parts(target, p):
    """Log prior and log likelihood, each by name, and the log density, by one program."""
    functions = target.log_prior, target.log_likelihood, target.log_density
    found = jax.jit(lambda p, data: [f(p, data) for f in functions])(p, target.data)
    return jax.tree.map(np.asarray, found)


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
    p = {"w": jnp.array([0.3, 0.7]), "mu": jnp.array([-1.0, 2.0])}
    terms = np.log([0.3, 0.7]) + stats.norm([-1.0, 2.0]).logpdf(Y[:, None])
    with jax.enable_x64(True):
        prior, likelihood, got = parts(target, p)
        keys = jax.random.split(jax.random.key(0), 4000)
        z = np.asarray(jax.jit(jax.vmap(lambda k: target.predictive(k, p, target.data)["z"]))(keys))
    np.testing.assert_allclose(got, stats.norm(0, 2).logpdf([-1, 2]).sum() + logsumexp(terms, 1).sum(), rtol=1e-6)
    np.testing.assert_allclose(likelihood["y"], logsumexp(terms, 1), rtol=1e-6)
    np.testing.assert_allclose(prior["mu"], stats.norm(0, 2).logpdf([-1, 2]).sum(), rtol=1e-6)
    assert set(prior) == {"w", "mu"}
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


# --- prior and likelihood, told apart --------------------------------------------------------------------------


def switch(y):
    """A discrete site of all rows."""
    k = numpyro.sample("k", dist.Bernoulli(0.3), infer=PARALLEL)
    m = numpyro.sample("m", dist.Normal(0, 1))
    with numpyro.plate("row", len(y)):
        numpyro.sample("y", dist.Normal(m + 2 * k, 1), obs=y)


def hanging(y):
    """A parameter that hangs on a discrete site, two outcomes that share others, and one by itself."""
    k = numpyro.sample("k", dist.Bernoulli(0.3), infer=PARALLEL)
    m = numpyro.sample("m", dist.Normal(3.0 * k, 1))
    s = numpyro.sample("s", dist.HalfNormal(1.0))
    with numpyro.plate("row", len(y)):
        z = numpyro.sample("z", dist.Bernoulli(0.5), infer=PARALLEL)
        numpyro.sample("y", dist.Normal(m + z, s), obs=y)
        numpyro.sample("v", dist.Normal(z, 1), obs=y + 1)
    numpyro.sample("u", dist.Normal(m, 1.0), obs=0.3)


def plates(y):
    """A discrete site for every cell that hangs on one for every column."""
    mu = numpyro.sample("mu", dist.Normal(0, 2).expand([2]).to_event(1))
    with numpyro.plate("column", 2, dim=-1):
        b = numpyro.sample("b", dist.Normal(0, 1))
        k = numpyro.sample("k", dist.Bernoulli(0.4), infer=PARALLEL)
        with numpyro.plate("row", 2, dim=-2):
            z = numpyro.sample("z", dist.Bernoulli(0.2 + 0.5 * k), infer=PARALLEL)
            numpyro.sample("y", dist.Normal(mu[z] + b, 1), obs=y)


PARTS = [
    (switch, Y, {"m": ()}, {"y": ()}),
    (hanging, Y, {"m": (), "s": ()}, {"y": (4,), "v": (4,), "u": ()}),
    (plates, Y.reshape(2, 2), {"mu": (), "b": (2,)}, {"y": (2,)}),
    (chain, Y, {"a": ()}, {"y": ()}),
]


@pytest.mark.parametrize(("model", "y", "prior", "likelihood"), PARTS, ids=lambda x: getattr(x, "__name__", ""))
def test_prior_and_likelihood_add_up_to_the_density(model, y, prior, likelihood):
    target = from_numpyro(model, y)
    with jax.enable_x64(True):
        p, _ = jax.jit(target.constrain)(jnp.linspace(-1.0, 0.7, target.dim))
        *made, density = parts(target, p)
    assert [{n: x.shape for n, x in part.items()} for part in made] == [prior, likelihood]
    np.testing.assert_allclose(sum(float(x.sum()) for part in made for x in part.values()), density, rtol=1e-9)


def test_a_parameter_that_hangs_on_a_discrete_site_has_a_mixture_as_its_prior():
    target = from_numpyro(hanging, Y)
    with jax.enable_x64(True):
        p = {"m": jnp.array(2.5), "s": jnp.array(0.7)}
        prior, likelihood, _ = parts(target, p)
    mixture = np.log(0.7 * stats.norm(0, 1).pdf(2.5) + 0.3 * stats.norm(3, 1).pdf(2.5))
    np.testing.assert_allclose(prior["m"], mixture, rtol=1e-6)
    z = np.array([[0.0], [1.0]])
    y = stats.norm(2.5 + z, 0.7).logpdf(Y) + np.log(0.5)
    v = stats.norm(z, 1.0).logpdf(Y + 1)
    np.testing.assert_allclose(likelihood["y"], logsumexp(y, 0), rtol=1e-6)
    np.testing.assert_allclose(likelihood["v"], logsumexp(y + v, 0) - logsumexp(y, 0), rtol=1e-6)


def test_the_evidence_and_the_prior_predictive_of_a_model_with_summed_sites():
    target = from_numpyro(switch, Y)
    law = [stats.multivariate_normal(np.full(4, 2.0 * k), np.eye(4) + 1.0) for k in (0, 1)]
    exact = np.log(0.7 * law[0].pdf(Y) + 0.3 * law[1].pdf(Y))
    found = mcmc.evidence(target, chains=128, steps=16, progress=False)
    assert abs(found.log_evidence - exact) < 4 * found.error
    made = mcmc.predict_prior(target, draws=2000)
    k = made["prior_predictive"]["k"].values
    assert abs(k.mean() - 0.3) < 5 * np.sqrt(0.21 / 2000)  # of the prior, whatever the outcomes say
    y = made["prior_predictive"]["y"].values
    assert abs(y.mean() - 0.6) < 5 * np.sqrt((1 + 4 * 0.21 + 0.25) / 2000)
    assert made.attrs["drawn"].startswith("independent")


def test_an_argument_may_have_the_name_of_a_plate():
    def model(row):
        mu = numpyro.sample("mu", dist.Normal(0, 2))
        with numpyro.plate("row", len(row)):
            z = numpyro.sample("z", dist.Bernoulli(0.3), infer=PARALLEL)
            numpyro.sample("y", dist.Normal(mu + z, 1), obs=row - jnp.mean(row))

    tree = draw(from_numpyro(model, Y), mcmc.RandomWalk(), chains=4, draws=20, warmup=50)
    assert tree["observed_data"]["y"].dims == ("row",)
