"""Data simulated at the steps of a scan: of every law, in the shape of the data, independent from step to step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.models import from_numpyro

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
dist = numpyro.distributions
STEPS, MANY = 4, 2000


def laws(m):
    """Laws made of others, and expanded ones: NumPyro gives the axis of steps not to all their parts."""
    return {
        "student": dist.StudentT(9.0, m, 0.5),
        "negative_binomial": dist.NegativeBinomial2(jnp.exp(m), 5.0),
        "lognormal": dist.LogNormal(m, 0.2),
        "mixture": dist.MixtureSameFamily(
            dist.Categorical(jnp.array([0.3, 0.7])), dist.Normal(jnp.stack([m, m + 3], -1), 1.0)
        ),
        "expanded": dist.Normal(m, 1.0).expand([3]),
        "event": dist.StudentT(9.0, m, 0.5).expand([3]).to_event(1),
    }


def model(y):
    from numpyro.contrib.control_flow import scan

    r = numpyro.sample("r", dist.Normal(0, 1))

    def step(m, now):
        for name, law in laws(m).items():
            numpyro.sample(name, law, obs=now[name])
        return 0.8 * m + r, None

    scan(step, r, y)


def test_simulated_steps_are_independent_and_have_their_laws():
    means, m = [], 0.3
    for _ in range(STEPS):
        means.append(m)
        m = 0.8 * m + 0.3

    def at_one_step(m, key):
        return {n: law.sample(key, (MANY,)) for n, law in laws(m).items()}

    keys = jax.random.split(jax.random.key(9), STEPS)
    by_hand = {n: np.asarray(x, float) for n, x in jax.jit(jax.vmap(at_one_step))(jnp.asarray(means), keys).items()}
    y = {n: x[:, 0] for n, x in by_hand.items()}
    target = from_numpyro(model, y)
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1), MANY)
        simulate = jax.jit(jax.vmap(lambda k: target.predictive(k, {"r": jnp.asarray(0.3)}, target.data)))
        drawn = {n: np.asarray(x, float) for n, x in simulate(keys).items()}
    for name, x in drawn.items():
        assert x.shape == (MANY, *y[name].shape), name
        other = np.moveaxis(by_hand[name], 0, 1)
        error = np.sqrt((x.var(0) + other.var(0)) / MANY)
        assert (np.abs(x.mean(0) - other.mean(0)) < 5 * error).all(), name
        between = np.corrcoef(x.reshape(MANY, -1).T)
        assert np.abs(between - np.eye(len(between))).max() < 5 / np.sqrt(MANY), name


def test_a_law_that_cannot_be_drawn_is_read_and_said(caplog):
    class Odd(dist.Normal):
        def sample(self, key, sample_shape=()):
            raise AttributeError("no sampler here")

    def of_odd(y):
        m = numpyro.sample("m", dist.Normal(0, 1))
        numpyro.sample("y", Odd(m, 1.0), obs=y)

    target = from_numpyro(of_odd, np.ones(3))
    assert target.predictive is None
    assert "AttributeError: no sampler here" in caplog.text
