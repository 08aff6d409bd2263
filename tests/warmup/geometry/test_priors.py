"""Priors are found apart from what data say of the coordinate itself, and hold in the neck."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hierarchies import noisy_walk, normal

from mcmc.warmup.geometry.block_layer import BlockLayer
from mcmc.warmup.geometry.conditional_forms import Rows, own_functions
from mcmc.warmup.geometry.layers import find_layers, layer_of
from mcmc.warmup.geometry.noncentring import find_laws

GROUPS = 24
RNG = np.random.default_rng(7)
X, COUNTS, SQUARES = np.linspace(-1.5, 1.5, GROUPS), RNG.poisson(2.0, GROUPS), RNG.chisquare(4, GROUPS) / 2
LIKELIHOODS = {
    "Poisson": lambda e: COUNTS * e - jnp.exp(e),
    "binomial": lambda e: COUNTS * e - 9 * jax.nn.softplus(e),
    "log variance": lambda e: -0.5 * SQUARES * jnp.exp(-2 * e) - 2 * e,
    "probit": lambda e: jax.scipy.stats.norm.logcdf(jnp.where(COUNTS > 1, e, -e)),
}


def regression(likelihood):
    """Intercept, slope, log sd, and a linear predictor for every group, about a line in x, with any likelihood."""

    def log_density(q):
        a, b, log_sd, e = q[0], q[1], q[2], q[3:]
        prior = -0.02 * (a**2 + b**2) - 0.5 * jnp.exp(2 * log_sd) + log_sd
        return prior + jnp.sum(normal(e, a + b * X, log_sd) + LIKELIHOODS[likelihood](e))

    return log_density


@pytest.fixture(autouse=True)
def as_in_warmup():
    """Laws that overflow are dropped by their divergence."""
    with np.errstate(all="ignore"):
        yield


def rows_about(log_density, seed=0, count=900):
    """Positions about those that a warmup sees, and gradients."""
    rng = np.random.default_rng(seed)
    a, b, log_sd = (rng.normal(at, sd, (count, 1)) for at, sd in ((0.5, 0.2), (0.0, 0.2), (-1.0, 0.3)))
    y = np.concatenate([a, b, log_sd, a + b * X + np.exp(log_sd) * rng.normal(size=(count, GROUPS))], 1)
    with jax.enable_x64(True):
        return y, np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_prior_of_groups_is_found_whatever_their_likelihood(likelihood):
    y, g = rows_about(regression(likelihood))
    laws = find_laws(Rows.of(y, g), np.arange(y.shape[1]))
    assert laws is not None
    forms = {int(i): form for i, form in zip(laws.which, laws.forms, strict=True)}
    assert all(forms[i].terms == (((2, -2.0),),) and set(forms[i].parents) == {0, 1} for i in range(3, 3 + GROUPS))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_in_the_neck_groups_are_standard_normal_behind_the_map(likelihood):
    """sd e^-9: a mean that is off by 0.001, or a precision by a tenth, would be many deviations off."""
    log_density = regression(likelihood)
    y, g = rows_about(log_density)
    layers, history = find_layers(y, g)
    assert history[-1] < 0.5 * history[0]
    rng = np.random.default_rng(1)
    deep = y[:200].copy()
    deep[:, 2] = -9.0
    deep[:, 3:] = deep[:, :1] + deep[:, 1:2] * X + np.exp(-9.0) * rng.normal(size=(200, GROUPS))
    with jax.enable_x64(True):
        slopes = np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(deep))
    z, pulled = layers[0].whiten(deep, slopes)
    np.testing.assert_allclose(pulled[:, 3:], -z[:, 3:], atol=0.05)


def test_a_block_of_few_does_not_take_the_place_of_the_laws_of_many():
    """Intercept and slope are jointly normal given the groups, which no block of theirs takes out of their funnel."""
    y, g = rows_about(regression("Poisson"))
    layers, _ = find_layers(y, g)
    assert not isinstance(layers[0], BlockLayer)
    assert set(range(3, 3 + GROUPS)) <= set(layers[0].mapped.tolist())


def test_exact_laws_need_no_function_set_aside():
    rng = np.random.default_rng(3)
    y = rng.uniform(-2, 2, (600, 10))
    with jax.enable_x64(True):
        g = np.asarray(jax.jit(jax.vmap(jax.grad(noisy_walk)))(y))
    rows = Rows.of(y, g)
    laws = find_laws(rows, np.arange(10))
    assert laws is not None
    layer, mapped = layer_of(laws, rows)
    z, pulled = layer.whiten(y, g)
    np.testing.assert_allclose(pulled[:, mapped], -z[:, mapped], atol=1e-6 * np.abs(z).max())


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
def test_own_functions_are_orthogonal_to_a_line_and_to_each_other(scale):
    y = scale * np.random.default_rng(0).normal(size=(300, 4)) + scale
    rows = Rows.of(y, -y)
    own = own_functions(rows)
    line = np.stack([np.ones((300, 4)), rows.x], 2)
    every = np.concatenate([line.transpose(1, 0, 2), own], 2)
    gram = every.transpose(0, 2, 1) @ every / 300
    there = np.diagonal(gram, 0, 1, 2) > 0.5
    assert there[:, :3].all()
    np.testing.assert_allclose(gram, np.eye(gram.shape[1]) * there[:, None], atol=1e-6)
