"""Predictions on other arguments of a model, of any shapes."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from runs import draw

import mcmc
from mcmc.models import from_numpyro

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
dist = numpyro.distributions
RNG = np.random.default_rng(3)
GROUP = np.repeat(np.arange(4), 10)
X = RNG.normal(size=(40, 2))
LEVEL = np.array([-10.0, 0.0, 10.0, 20.0])
Y = LEVEL[GROUP] + X @ [1.0, -1.0] + 0.1 * RNG.normal(size=40)


def model(group, x, y=None):
    b = numpyro.sample("b", dist.Normal(0, 2).expand([x.shape[1]]).to_event(1))
    with numpyro.plate("level", len(np.unique(group))):
        a = numpyro.sample("a", dist.Normal(0, 20))
    with numpyro.plate("row", len(x)):
        mean = numpyro.deterministic("mean", a[group] + x @ b)
        y = numpyro.sample("y", dist.Normal(mean, 0.1), obs=y)
    numpyro.deterministic("largest", jnp.max(y))


@functools.cache
def fitted():
    rng = np.random.default_rng(4)
    a, b = LEVEL + 0.1 * rng.normal(size=(2, 50, 4)), [1.0, -1.0] + 0.1 * rng.normal(size=(2, 50, 2))
    posterior = {"a": (("chain", "draw", "level"), a), "b": (("chain", "draw", "slope"), b)}
    return from_numpyro(model, GROUP, X, Y), xarray.DataTree.from_dict({"posterior": xarray.Dataset(posterior)})


def test_new_rows_of_known_groups():
    target, draws = fitted()
    assert list(target.data) == ["y", "group", "x"]
    group, x = np.array([3, 0, 3]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    new = mcmc.predict(target, draws, args=(group, x))["predictions"]
    assert set(new.data_vars) == {"y", "mean", "largest"}
    assert new["y"].dims == ("chain", "draw", "row")
    np.testing.assert_allclose(new["mean"].mean(("chain", "draw")), [21, -11, 20], atol=0.3)
    np.testing.assert_array_equal(new["largest"], new["y"].max("row"))  # of the same simulation
    named = mcmc.predict(target, draws, args={"group": group, "x": x})["predictions"]
    np.testing.assert_array_equal(named["y"], new["y"])


def test_arguments_that_ask_for_more_than_was_drawn():
    target, draws = fitted()
    for group, text in [
        (np.arange(5), r"shape \(5,\) of 'a'"),
        (np.array([0, 9, 9, 9, 9]), "out-of-bounds|out of bounds"),
    ]:
        with pytest.raises(ValueError, match=text):
            mcmc.predict(target, draws, args=(group, X[:5]))
    with pytest.raises(ValueError, match=r"a target from mcmc.from_numpyro"):
        mcmc.predict(mcmc.Target(lambda p: 0.0, {"x": mcmc.real()}), draws, args=(1,))


def test_a_target_on_other_arguments():
    target, _ = fitted()
    other = target.with_arguments(GROUP[:20], X[:20], Y[:20])
    assert other.parameters["a"].shape == (2,)
    assert other.names == target.names


def test_values_made_from_an_argument_are_observed_data():
    def series(y):
        phi = numpyro.sample("phi", dist.Normal(0, 1))
        numpyro.sample("next", dist.Normal(phi * y[:-1], 1), obs=y[1:])

    draws = draw(from_numpyro(series, Y), mcmc.RandomWalk(), chains=4, draws=20, warmup=50)
    np.testing.assert_array_equal(draws["observed_data"]["next"], Y[1:])
    np.testing.assert_array_equal(draws["constant_data"]["y"], Y)


def test_an_argument_has_one_name_whatever_is_made_of_it():
    def series(y):
        phi = numpyro.sample("phi", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(phi * y[:-1], 1), obs=y[1:])

    target = from_numpyro(series, Y)
    assert list(target.data) == ["y"]
    draws = draw(target, mcmc.RandomWalk(), chains=4, draws=20, warmup=50)
    np.testing.assert_array_equal(draws["observed_data"]["y"], Y[1:])
    np.testing.assert_array_equal(draws["constant_data"]["y_argument"], Y)
    new = mcmc.predict(target, draws, data={"y": np.zeros_like(Y)})
    zeros = -0.5 * np.log(2 * np.pi) * np.ones((4, 20, len(Y) - 1))
    np.testing.assert_allclose(new["log_likelihood"]["y"], zeros)
