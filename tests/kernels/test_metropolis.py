"""The accept step, and proposals of a user's own: asymmetric, constrained, discrete, incomplete."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME
from proposals import DirichletNear, Flip, GammaWide, LogNormalWalk, Normal, Uneven
from runs import draw, follows, target_of

import mcmc
from mcmc.kernels.metropolis import accept

INF, NAN = np.inf, np.nan

accept_each = jax.jit(jax.vmap(accept, (0, None, None, None)))

# --- the accept step ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lp", "proposed", "correction", "rate", "nonfinite"),
    [
        (0.0, 0.0, 0.0, 1.0, False),
        (0.0, 5.0, 0.0, 1.0, False),
        (5.0, 0.0, 5.0, 1.0, False),
        (0.0, -2.0, 0.0, np.exp(-2.0), False),
        (0.0, 0.0, -2.0, np.exp(-2.0), False),
        (0.0, 3.0, -4.0, np.exp(-1.0), False),
        (0.0, -1e6, 0.0, 0.0, False),
        (1e300, -1e300, 0.0, 0.0, False),
        (0.0, -INF, 0.0, 0.0, False),
        (0.0, 0.0, -INF, 0.0, False),
        (0.0, NAN, 0.0, 0.0, True),
        (0.0, 0.0, NAN, 0.0, True),
        (-INF, 0.0, 0.0, 1.0, False),
        (0.0, INF, 0.0, 1.0, False),
        (0.0, INF, -INF, 1.0, False),  # swallowed: the engine makes it an error with the place
        (-INF, INF, 0.0, 1.0, False),
        (INF, 0.0, 0.0, 0.0, False),
        (INF, INF, 0.0, 0.0, False),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_truth_table(lp, proposed, correction, rate, nonfinite, dtype):
    with jax.enable_x64(dtype == np.float64), np.errstate(over="ignore"):
        keys = jax.random.split(jax.random.key(0), 2000)
        args = [dtype(x) for x in (lp, proposed, correction)]
        found = accept_each(keys, *args)
    assert found.acceptance_rate.dtype == dtype
    np.testing.assert_allclose(found.acceptance_rate, rate, rtol=1e-6)
    assert np.all(np.asarray(found.nonfinite) == nonfinite)
    accepted = np.asarray(found.accepted)
    if rate in (0.0, 1.0):
        assert np.all(accepted == bool(rate))


def test_both_minus_infinity_is_no_move():
    found = accept_each(jax.random.split(jax.random.key(0), 2000), *np.float32([-INF, -INF, 0.0]))
    assert not np.asarray(found.accepted).any()
    assert np.all(np.asarray(found.acceptance_rate) == 0)


@pytest.mark.parametrize("log_ratio", [-0.01, -0.5, -3.0, -7.0])
def test_the_acceptance_probability_is_exact(log_ratio):
    n, p = 400_000, np.exp(log_ratio)
    keys = jax.random.split(jax.random.key(7), n)
    count = int(accept_each(keys, 1.5, 1.5 + log_ratio, 0.0).accepted.sum())
    assert abs(count - n * p) < 5 * np.sqrt(n * p * (1 - p)) + 1


def test_accept_goes_element_by_element():
    found = accept(jax.random.key(0), jnp.zeros(4), jnp.asarray([0.0, -jnp.inf, jnp.nan, 1.0]))
    assert np.asarray(found.accepted).tolist() == [True, False, False, True]
    assert np.asarray(found.nonfinite).tolist() == [False, False, True, False]


# --- proposals on constrained and discrete parameters --------------------------------------------------

LONG = {"chains": 16, "draws": 4000, "warmup": 200, "superchains": 0, "seed": 5}


@pytest.mark.parametrize(
    ("law", "kernel"),
    [
        ("gamma", mcmc.MetropolisHastings(LogNormalWalk())),
        ("gamma", mcmc.IndependentMetropolis({"x": GammaWide()})),
        ("dirichlet", mcmc.MetropolisHastings(DirichletNear())),
        ("binomial", mcmc.MetropolisHastings(Uneven())),
        ("ising", mcmc.MetropolisHastings(Flip())),
    ],
    ids=["positive", "by parameter", "simplex", "integer", "ising"],
)
def test_the_law_of(law, kernel):
    settings = {**LONG, "draws": 20_000} if law == "ising" else LONG
    draws = draw(target_of(law), kernel, **settings)
    follows(draws, BY_NAME[law])
    if law == "binomial":
        n = draws["posterior"]["n"].values
        assert (n.dtype, n.min(), n.max() <= 10) == (np.int32, 0, True)
    if law == "ising":
        assert draws["posterior"]["up"].dtype == np.bool_


def test_a_wrong_ratio_is_found_by_these_tests():
    class Careless(LogNormalWalk):
        def log_prob(self, to, given):
            return jnp.zeros(())

    draws = draw(target_of("gamma"), mcmc.MetropolisHastings(Careless()), **LONG)
    with pytest.raises(AssertionError, match="errors off"):
        follows(draws, BY_NAME["gamma"])


def test_a_proposal_for_several_parameters_gets_and_gives_their_dict():
    class Both:
        def sample(self, key, given):
            a, b = jax.random.split(key)
            return {
                "x": given["x"] + 0.9 * jax.random.normal(a, (2,), given["x"].dtype),
                "n": {"k": given["n"]["k"] + jax.random.randint(b, (), -1, 2, given["n"]["k"].dtype)},
            }

        def log_prob(self, to, given):
            return jnp.zeros(())

    def log_density(p):
        return -0.5 * jnp.sum(p["x"] ** 2) + p["n"]["k"] * jnp.log(0.5)

    target = mcmc.Target(log_density, {"x": mcmc.real(2), "n": {"k": mcmc.integer(0, 5)}})
    draws = draw(target, mcmc.MetropolisHastings(Both()), **LONG)
    k = draws["posterior"]["n.k"].values.astype(float)
    weights = 0.5 ** np.arange(6)
    assert abs(k.mean() - weights @ np.arange(6) / weights.sum()) < 5 * mcmc.mcse(k)


# --- proposals that lack something ---------------------------------------------------------------------


class SampleOnly:
    def sample(self, key, shape=()):
        return jax.random.normal(key, shape)


class WrongShape(Normal):
    def sample(self, key, shape=()):
        return jnp.zeros(3)


@pytest.mark.parametrize("kind", [mcmc.MetropolisHastings, mcmc.IndependentMetropolis])
def test_a_proposal_without_its_own_density_is_refused(kind):
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    with pytest.raises(TypeError, match="log_prob"):
        draw(target, kind(SampleOnly()))


@pytest.mark.parametrize(
    ("proposal", "names"),
    [
        ({"y": GammaWide()}, "y"),
        ({}, "x"),
        ({"x": GammaWide(), "z": GammaWide()}, "z"),
    ],
)
def test_a_proposal_by_parameter_names_every_one(proposal, names):
    with pytest.raises(ValueError, match=names):
        draw(target_of("gamma"), mcmc.IndependentMetropolis(proposal))


def test_a_proposal_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="proposal"):
        draw(target_of("gamma"), mcmc.IndependentMetropolis(WrongShape(np.zeros(3), np.eye(3))))
