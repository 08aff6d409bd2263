"""Integers of 32 bits, as in NumPyro's own runs, in runs of 64 bits; programs that differ in such widths alone."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcmc
from mcmc.models import from_numpyro
from mcmc.models.same_program import is_one_program

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
dist = numpyro.distributions
Y = np.array([1.0, 2.0, 4.0])


def density(target, **p):
    with jax.enable_x64(True):
        return float(target.log_density({n: jnp.asarray(x) for n, x in p.items()}, target.data))


def test_integers_of_arguments_have_the_types_of_numpyros_own_runs():
    def model(steps, y):
        m = numpyro.sample("m", dist.Normal(0, 1))
        count, _ = jax.lax.scan(lambda c, s: (c + s, None), jnp.zeros((), jnp.int32), steps)
        numpyro.sample("y", dist.Normal(m * count, 1), obs=y)

    target = from_numpyro(model, np.array([1, 2, 3]), Y)
    expected = stats.norm.logpdf(0.5) + stats.norm(3.0).logpdf(Y).sum()
    np.testing.assert_allclose(density(target, m=0.5), expected)
    other = target.with_data({**target.data, "steps": np.array([1, 1, 2])})
    expected = stats.norm.logpdf(0.5) + stats.norm(2.0).logpdf(Y).sum()
    np.testing.assert_allclose(density(other, m=0.5), expected)


def counted(y, start=None):
    m = numpyro.sample("m", dist.Normal(0, 1))
    sums, _ = jax.lax.scan(lambda c, x: (0.5 * c + m * x, None), m if start is None else jnp.zeros(start), y)
    count, _ = jax.lax.scan(lambda c, x: (c + jnp.sum(x > 1), None), jnp.zeros((), jnp.int32), y)
    best, _ = jax.lax.scan(lambda c, x: (jnp.argmax(jnp.stack([x, c])), None), jnp.int32(0), y)
    numpyro.sample("y", dist.Normal(sums + m * count + best, 1), obs=y)


def of_counted(m, start):
    mean = ((0.5 * (m if start is None else 0.0) + m) * 0.5 + 2 * m) * 0.5 + 4 * m + 2 * m
    return stats.norm.logpdf(m) + stats.norm(mean).logpdf(Y).sum()


@pytest.mark.parametrize(("start", "digits"), [(None, 1e-7), ((), 1e-5)])
def test_carries_of_32_bits_that_grow_by_64(start, digits, caplog):
    target = from_numpyro(counted, Y, start)
    found = density(target, m=0.3), density(target, m=0.7)
    np.testing.assert_allclose(found, [of_counted(m, start) for m in (0.3, 0.7)], rtol=digits)
    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda m: target.log_density({"m": m}, target.data)))(jnp.asarray(0.3))
        drawn = target.predictive(jax.random.key(0), {"m": jnp.asarray(0.3)}, target.data)["y"]
    by_differences = (of_counted(0.3 + 1e-5, start) - of_counted(0.3 - 1e-5, start)) / 2e-5
    np.testing.assert_allclose(slope, by_differences, rtol=1e-4)
    assert np.isfinite(drawn)
    assert bool([r for r in caplog.records if "32 bits only" in r.message and r.levelno == logging.WARNING]) == (
        start is not None
    )


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_binomial_outcomes_of_whole_numbers(kind):
    trials, hits = np.array([45, 40], kind), np.array([18, 10], kind)

    def model(trials, hits=None):
        with numpyro.plate("player", len(trials)):
            p = numpyro.sample("p", dist.Beta(2, 2))
            numpyro.sample("hits", dist.Binomial(trials, p), obs=hits)

    target = from_numpyro(model, trials, hits)
    expected = stats.beta(2, 2).logpdf([0.4, 0.3]).sum() + stats.binom(trials, [0.4, 0.3]).logpmf(hits).sum()
    np.testing.assert_allclose(density(target, p=[0.4, 0.3]), expected)
    with jax.enable_x64(True):
        keys, p = jax.random.split(jax.random.key(1), 500), {"p": jnp.array([0.4, 0.3])}
        drawn = jax.jit(jax.vmap(lambda k: target.predictive(k, p, target.data)["hits"]))(keys)
    error = np.sqrt(trials * [0.24, 0.21] / 500)
    assert (np.abs(np.asarray(drawn).mean(0) - trials * [0.4, 0.3]) < 5 * error).all()


def test_an_error_of_the_model_stays_as_it_is():
    def model():
        numpyro.sample("m", dist.Normal(0, 1))
        raise TypeError("mine, about int32")

    with pytest.raises(TypeError, match="mine, about int32"):
        from_numpyro(model)


def test_programs_that_differ_in_the_width_of_integers_alone():
    def traced(f, *captured):
        return jax.make_jaxpr(lambda x: f(x, *captured))(1.0)

    def sums(x, a, b):
        return jnp.sum(x * a[b])

    def other_order(x, a, b):
        b = b + jnp.zeros((), b.dtype) if b.dtype == bool else b
        unused = jnp.cos(x)
        return jnp.sum(x * a[b]) if unused is not None else x

    with jax.enable_x64(True):
        a, short, long = jnp.asarray(Y), jnp.array([0, 2], jnp.int32), jnp.array([0, 2], jnp.int64)
        one = traced(sums, a, short)
        assert is_one_program(one, traced(sums, a, long))
        assert is_one_program(one, traced(other_order, a, long))
        assert not is_one_program(one, traced(sums, a, jnp.array([0, 1])))
        assert not is_one_program(one, traced(sums, a + 1, short))
        assert not is_one_program(one, traced(sums, a.astype(jnp.float32), short))
        assert not is_one_program(one, traced(lambda x, a, b: jnp.sum(x + a[b]), a, short))


@pytest.mark.parametrize("history", [1, 2])
def test_a_hidden_markov_model_is_read_without_compiling(history):
    pytest.importorskip("funsor", reason="funsor is not installed: nothing is summed out")
    from numpyro.contrib.control_flow import scan
    from runs import compilations

    def model(y, lengths):
        to = numpyro.sample("to", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))

        def step(carry, now):
            *before, t = carry
            with numpyro.plate("series", len(lengths)), numpyro.handlers.mask(mask=t < lengths):
                z = numpyro.sample("z", dist.Categorical(to[before[-1]]), infer={"enumerate": "parallel"})
                numpyro.sample("y", dist.Normal(2.0 * z, 1), obs=now)
            return (*before[1:], z, t + 1), None

        scan(step, (*[jnp.zeros(2, jnp.int32)] * history, 0), y, history=history)

    with compilations() as names:
        target = from_numpyro(model, np.stack([Y, Y], 1), np.array([3, 2]))
    assert target.names == ("to",)
    assert len(names) < 5, names
    assert isinstance(target, mcmc.Target)
