"""Models of NumPyro and PyMC know their priors: the terms add up to the density, and the prior is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import GROUP, OUTCOME, SIGMA, X, Y
from scipy import stats

import mcmc
from mcmc.target.prior import parts_at

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
dist = numpyro.distributions


def schools(sigma, y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfNormal(5))
    with numpyro.plate("school", len(sigma)):
        theta = numpyro.sample("theta", dist.Normal(mu, tau))
        numpyro.sample("effect", dist.Normal(theta, sigma), obs=y)


def with_a_factor(x, group, y):
    a = numpyro.sample("a", dist.Normal(0, 1))
    numpyro.factor("bent", -jnp.abs(a))
    w = numpyro.sample("w", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
    with numpyro.plate("group", 4), numpyro.handlers.scale(scale=0.5):
        scale = numpyro.sample("scale", dist.Exponential(1))
    with numpyro.plate("row", len(x)):
        numpyro.sample("y", dist.Normal(a + w[0] * x, scale[group]), obs=y)


@pytest.fixture(scope="module")
def of_schools():
    return mcmc.from_numpyro(schools, SIGMA, y=Y)


def adds_up(target, n=3):
    """The terms of the prior and the likelihood are the density, at random points."""
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        for _ in range(n):
            p = target.constrain(jnp.asarray(rng.normal(size=target.dim)))[0]
            data = jax.tree.map(jnp.asarray, target.data)
            whole = float(target.log_density(p, data))
            assert float(sum(parts_at(target, p, data))) == pytest.approx(whole, rel=1e-10)


def test_numpyro_terms_add_up(of_schools):
    adds_up(of_schools)
    adds_up(mcmc.from_numpyro(with_a_factor, X, GROUP, y=OUTCOME))


def test_numpyro_draws_its_prior_and_data_from_it(of_schools):
    made = mcmc.predict_prior(of_schools, draws=2000, seed=1)
    assert made["prior"]["theta"].dims == ("chain", "draw", "school")
    assert stats.kstest(made["prior"]["mu"].values.ravel(), stats.norm(0, 5).cdf).pvalue > 1e-3
    assert stats.kstest(made["prior"]["tau"].values.ravel(), stats.halfnorm(0, 5).cdf).pvalue > 1e-3
    simulated = made["prior_predictive"]["effect"].values
    np.testing.assert_allclose(simulated.std((0, 1)), np.sqrt(25 + 25 + SIGMA**2), rtol=0.15)
    assert "independent" in made.attrs["drawn"]


def test_a_factor_leaves_the_prior_to_chains():
    """Running the model would ignore the factor: a is Normal(0, 1) times exp(−|a|)."""

    def bent(y):
        a = numpyro.sample("a", dist.Normal(0, 1))
        numpyro.factor("bent", -jnp.abs(a))
        numpyro.sample("y", dist.Normal(a, 1), obs=y)

    target = mcmc.from_numpyro(bent, Y)
    assert target.prior is None
    made = mcmc.predict_prior(target, draws=4000, seed=2)
    grid = np.linspace(-8, 8, 20001)
    weight = np.exp(-0.5 * grid**2 - np.abs(grid))
    assert "MCMC" in made.attrs["drawn"]
    assert made["prior"]["a"].values.std() == pytest.approx(np.sqrt((grid**2 * weight).sum() / weight.sum()), rel=0.1)


def test_terms_are_recorded_with_the_plates(of_schools):
    posterior = {"mu": (("chain", "draw"), np.zeros((1, 2))), "tau": (("chain", "draw"), np.ones((1, 2)))}
    posterior["theta"] = (("chain", "draw", "school"), np.ones((1, 2, 8)))
    xarray = pytest.importorskip("xarray")
    draws = xarray.DataTree.from_dict({"posterior": xarray.Dataset(posterior)})
    made = mcmc.predict(of_schools, draws)
    assert made["log_prior"]["theta"].dims == ("chain", "draw", "school")
    np.testing.assert_allclose(made["log_prior"]["theta"], stats.norm.logpdf(1.0), rtol=1e-6)


def test_pymc_terms_add_up():
    pm = pytest.importorskip("pymc", reason="PyMC is not installed: its models are not tested")
    with pm.Model(coords={"school": range(8)}) as model:
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfNormal("tau", 5)
        theta = pm.Normal("theta", mu, tau, dims="school")
        pm.Potential("bent", -abs(mu))
        pm.Normal("effect", theta, SIGMA, observed=Y)
    target = mcmc.from_pymc(model)
    adds_up(target)
    with jax.enable_x64(True):
        p = {"mu": jnp.array(1.0), "tau": jnp.array(2.0), "theta": jnp.zeros(8)}
        terms = target.log_prior(p, target.data)
    assert set(terms) == {"mu", "tau", "theta", "bent"}
    np.testing.assert_allclose(terms["theta"], stats.norm.logpdf(0, 1, 2), rtol=1e-10)
