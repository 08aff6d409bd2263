"""Bends found from draws and gradients: exact where a mean is quadratic, and runs that are right behind them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw, resume, same

import mcmc
from mcmc.warmup.geometry.conditional_forms import Rows
from mcmc.warmup.geometry.curves import find_curves
from mcmc.warmup.geometry.layers import divergence, find_layers
from mcmc.warmup.geometry.text import describe

ROWS = 1200


def banana(x):
    return -0.5 * (x[0] / 10) ** 2 - 0.5 * (x[1] - 0.03 * (x[0] ** 2 - 100)) ** 2


def twisted(x):
    """Haario's twisted normal: two of eight coordinates are bent."""
    return -0.5 * (x[0] ** 2 / 100 + (x[1] + 0.1 * x[0] ** 2 - 10) ** 2 + jnp.sum(x[2:] ** 2))


def chained(x):
    """A hybrid Rosenbrock law: each coordinate is bent by the one before."""
    return -0.5 * (x[0] - 1) ** 2 - 2 * jnp.sum((x[1:] - x[:-1] ** 2) ** 2)


def product(x):
    """A mean with a product of two others and a square."""
    return -0.5 * jnp.sum(x[:3] ** 2) - 2 * (x[3] - x[0] * x[1] + 0.5 * x[2] ** 2 - x[2]) ** 2


def many(x):
    """Of twenty coordinates the last five are bent by the first five."""
    return -0.5 * jnp.sum(x[:15] ** 2) - 5 * jnp.sum((x[15:] - x[:5] ** 2) ** 2)


LAWS = {
    "banana": (banana, [10, 4]),
    "twisted": (twisted, [10, 4, *[1] * 6]),
    "chained": (chained, [1.5] * 4),
    "product": (product, [1.5] * 4),
    "many": (many, [1.5] * 20),
}


def rows_of(name):
    """Positions of another law, of these deviations, and gradients of this one."""
    log_density, sd = LAWS[name]
    y = np.random.default_rng(0).normal(size=(ROWS, len(sd))) * sd
    with jax.enable_x64(True):
        return y, np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(y))


@pytest.mark.parametrize("name", LAWS)
def test_bends_are_found_exactly_from_rows_of_another_law(name):
    layers, history = find_layers(*rows_of(name))
    assert history[0] > 0.1
    assert history[-1] < 1e-12
    assert {type(layer).__name__ for layer in layers} == {"CurveLayer"}


def test_the_bend_is_the_second_derivative_of_the_mean():
    (layer,), _ = find_layers(*rows_of("banana"))
    assert layer.mapped.tolist() == [1]
    assert layer.parents.tolist() == [0]
    np.testing.assert_allclose(layer.bends[1], [0.03], rtol=1e-9)
    np.testing.assert_allclose(layer.slopes[1], 2 * 0.03 * layer.centre, rtol=1e-6)


def test_a_bend_that_is_only_about_quadratic_does_not_go_on_beyond_its_rows():
    """A mean of log(1 + exp(x)): a quadratic through it grows where the mean itself is flat."""
    y = np.random.default_rng(0).normal(size=(ROWS, 2)) * 1.5
    left = y[:, 1] - np.logaddexp(0, 2 * y[:, 0])
    g = np.stack([-y[:, 0] + 50 * left * 2 / (1 + np.exp(-2 * y[:, 0])), -50 * left], 1)
    layer = find_curves(Rows.of(y, g), np.arange(2))
    assert layer is not None
    far = np.stack([np.array([-10.0, -100.0, -1e6]), np.zeros(3)], 1)
    z, _ = layer.whiten(far, np.zeros_like(far))
    assert np.abs(z[1:, 1] - z[0, 1]).max() < 1
    exact = find_curves(Rows.of(*rows_of("banana")), np.arange(2))
    assert exact is not None
    assert not np.isfinite(exact.limit).any()


@pytest.mark.parametrize("tails", [3.0, 1e9], ids=["Student", "normal"])
def test_no_bends_where_there_are_none(tails):
    """Neither in a normal law nor in one that only has longer tails."""
    y = 1.5 * np.random.default_rng(3).normal(size=(ROWS, 6))
    g = -(tails + 6) * y / (tails + np.sum(y**2, 1, keepdims=True))
    assert find_curves(Rows.of(y, g), np.arange(6)) is None


def test_too_few_rows_are_not_fitted():
    y, g = rows_of("many")
    assert find_curves(Rows.of(y[:60], g[:60]), np.arange(20)) is None


def test_noise_in_the_gradients_leaves_the_bend_and_what_noise_leaves():
    y, g = rows_of("banana")
    g = g + 0.05 * np.random.default_rng(1).normal(size=g.shape)
    layer = find_curves(Rows.of(y, g), np.arange(2))
    np.testing.assert_allclose(layer.bends[1], [0.03], rtol=0.05)
    assert divergence(*layer.whiten(y, g)) < 0.05 * divergence(y, g)


SETTINGS = {"chains": 16, "warmup": 200, "draws": 400, "seed": 1, "superchains": 0}


@pytest.fixture(scope="module")
def bent_target():
    return mcmc.Target(lambda p: banana(p["x"]), {"x": mcmc.real(2)})


def test_a_banana_is_right_at_the_default_and_its_bend_is_told(bent_target):
    """E x = (0, 0), sd (10, √(1 + 2 · 0.03² · 10⁴)); without a map it takes 150 to 330 gradients per effective draw."""
    draws = draw(bent_target, mcmc.HMC(), **SETTINGS, save_warmup=True)
    assert draws.attrs["geometry"] == "x[0] bends x[1]"
    assert mcmc.diagnose(draws).ok
    x, sd = draws["posterior"]["x"].values, np.array([10.0, np.sqrt(19.0)])
    error = np.asarray(mcmc.mcse(x))
    assert (np.abs(x.mean((0, 1))) < 4 * error).all()
    assert (np.abs(x.std((0, 1)) / sd - 1) < 4 * np.sqrt(2 / mcmc.ess(x**2, "mean"))).all()
    steps = sum(int(draws[group]["n_steps"].sum()) for group in ("sample_stats", "warmup_sample_stats"))
    assert steps < 30 * min(mcmc.ess(x, "mean").min(), mcmc.ess(x**2, "mean").min())


def test_a_resumed_run_keeps_the_bend(bent_target):
    whole = draw(bent_target, mcmc.HMC(), **SETTINGS | {"draws": 20})
    same(whole, resume(bent_target, draw(bent_target, mcmc.HMC(), **SETTINGS | {"draws": 12}), 8))


def test_the_text_names_what_bends_what():
    layers, _ = find_layers(*rows_of("twisted"))
    assert describe(tuple(layers), mcmc.Target(lambda p: 0.0, {"x": mcmc.real(8)})) == "x[0] bends x[1]"


def test_rows_that_a_map_has_sent_to_infinity_have_no_bends():
    y, g = rows_of("banana")
    far = y.copy()
    far[3, 0] = np.inf
    with np.errstate(invalid="ignore"):
        assert find_curves(Rows.of(far, g), np.arange(2)) is None
    assert find_curves(Rows.of(y, np.where(far == np.inf, np.nan, g)), np.arange(2)) is None
