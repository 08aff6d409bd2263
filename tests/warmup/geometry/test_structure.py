"""When a map is searched for, when it is taken, and which form coordinates of one prior get."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hierarchies import funnel, normal

import mcmc
from mcmc.warmup.geometry import refit
from mcmc.warmup.geometry.conditional_forms import Form, Rows, placed
from mcmc.warmup.geometry.noncentring import find_laws
from mcmc.warmup.geometry.nonlinearity import nonlinearity
from mcmc.warmup.geometry.tail_layer import TailLayer
from mcmc.warmup.pooled import Pooled

COUNTS = np.random.default_rng(22).binomial(8, 0.3, 20)


def trials(q):
    """mu, log tau, and twenty log odds of eight trials each."""
    mu, log_tau, theta = q[0], q[1], q[2:]
    data = jnp.sum(COUNTS * theta - 8 * jax.nn.softplus(theta))
    return -0.5 * (mu / 3) ** 2 - 0.5 * jnp.exp(2 * log_tau) + log_tau + jnp.sum(normal(theta, mu, log_tau)) + data


def many_groups(q):
    """mu, log tau and two hundred groups with a datum of sd 0.6 each, at 0."""
    mu, log_tau, theta = q[0], q[1], q[2:]
    return -0.5 * mu**2 - 0.5 * log_tau**2 + jnp.sum(normal(theta, mu, log_tau)) - 0.5 * jnp.sum((theta / 0.6) ** 2)


def rows_of(log_density, y):
    return y, np.asarray(jax.vmap(jax.grad(log_density))(jnp.asarray(y, jnp.float32)), np.float64)


def hierarchy_rows(log_density, members, spread, seed=0, count=1200):
    """Positions about those of the posterior, whatever its data, and gradients."""
    rng = np.random.default_rng(seed)
    mu, log_tau = rng.normal(0, 0.2, (count, 1)), rng.normal(-0.1, spread, (count, 1))
    scale = 1 / np.sqrt(np.exp(-2 * log_tau) + 1.4)
    return rows_of(log_density, np.concatenate([mu, log_tau, scale * rng.normal(size=(count, members))], 1))


def correlated(dim, count, seed=1):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dim, dim))
    y = rng.normal(size=(count, dim)) @ factor.T
    return y, -np.linalg.solve(factor @ factor.T, y.T).T


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_gradients_of_a_normal_law_are_linear_however_correlated(scale):
    y, g = correlated(60, 400)
    assert nonlinearity(scale * y, g / scale).max() < 1e-6


def test_gradients_of_a_funnel_are_not():
    y, g = rows_of(funnel(0.5), np.random.default_rng(0).normal(size=(400, 9)))
    assert nonlinearity(y, g)[0] > 0.5
    assert nonlinearity(y, g).mean() > 0.12


def test_nothing_is_searched_on_a_correlated_normal_law(monkeypatch):
    """A search takes seconds in a hundred dimensions: with fewer rows than a dense metric wants, too."""
    monkeypatch.setattr(refit, "_better_layers", None)
    assert refit._proposed((), *correlated(100, 450)) == ()


def test_one_scale_of_many_groups_is_found_though_each_of_them_loses_little():
    y, g = hierarchy_rows(many_groups, 200, 0.12)
    layers: tuple[Any, ...] = refit._proposed((), y, g)
    assert layers
    assert set(range(2, 202)) <= set(layers[0].mapped.tolist())
    assert 1 in layers[0].parents


@pytest.mark.parametrize("seed", range(3))
def test_coordinates_of_one_prior_have_one_form(seed):
    """No law is exact, as the data are not normal: each coordinate alone would prefer another form."""
    y, g = hierarchy_rows(trials, 20, 0.45, seed)
    with np.errstate(all="ignore"):
        laws = find_laws(Rows.of(y, g), np.arange(22))
    assert laws is not None
    forms = dict(zip(laws.which.tolist(), laws.forms, strict=True))
    assert {forms.get(i) for i in range(2, 22)} == {Form((((1, -2.0),),), (0,))}


def test_a_form_is_not_placed_where_it_has_a_term_or_a_parent_twice():
    form = Form((((1, -2.0),), ((-1, -2.0),)), (0,))
    assert placed(form, {-1: -3}, 5, 9) == Form((((1, -2.0),), ((2, -2.0),)), (0,))
    assert placed(form, {-1: -3}, 4, 9) is None
    assert placed(Form((((1, -2.0),),), (-1, 0)), {-1: -5}, 5, 9) is None


def test_layers_that_map_more_are_taken_where_they_are_no_worse(monkeypatch):
    """A funnel that is left to one coordinate hardly shows in the mean over all."""
    y, g = hierarchy_rows(trials, 20, 0.45)
    whole = refit._proposed((), y, g)
    part = tuple(layer for layer in refit._proposed((), y[:, :12], g[:, :12]) if not isinstance(layer, TailLayer))
    assert refit._completes(whole, part)
    assert not refit._completes(part, whole)
    assert not refit._completes(whole, whole)
    now = refit.divergence(y, g)
    for after, taken in ((0.95 * now, True), (1.05 * now, False)):
        monkeypatch.setattr(refit, "_better_layers", lambda *_, after=after: (whole, after))
        monkeypatch.setattr(refit, "backward", lambda _, *rows: rows)
        assert bool(refit._proposed(part, y, g)) == taken


@pytest.mark.parametrize(("left", "taken"), [(0.25, True), (0.35, False)])
def test_a_first_map_must_leave_little(left, taken, monkeypatch):
    y, g = rows_of(funnel(0.5), 2 * np.random.default_rng(0).normal(size=(1200, 9)))
    assert refit.divergence(y, g) > 0.6  # so that either is much better than no map
    layer = refit._proposed((), y, g)
    monkeypatch.setattr(refit, "_better_layers", lambda *_: (layer, left))
    assert bool(refit._proposed((), y, g)) == taken


@pytest.mark.parametrize(("uneven", "tuned", "rate"), [(True, True, 0.95), (True, False, 0.8), (False, True, 0.8)])
def test_behind_a_map_that_leaves_much_uneven_more_proposals_are_accepted(uneven, tuned, rate):
    """Unless the rate is the user's."""
    z = np.random.default_rng(0).normal(size=(400, 9))
    rows = rows_of(funnel(0.5), z) if uneven else correlated(9, 400)
    tuner = Pooled(True, True, strict=(("target_acceptance", 0.97),) if tuned else ())
    kernel: Any = refit._careful(tuner, mcmc.HMC(target_acceptance=np.float64(0.8)), *rows)
    assert kernel.target_acceptance == rate
