"""What `mcmc.predict` makes of draws is what ArviZ's LOO and predictive plots read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import mcmc

arviz = pytest.importorskip("arviz")
Y = np.random.default_rng(0).normal(1.0, 2.0, 60)


def log_likelihood(p, data):
    return {"y": -0.5 * ((data["y"] - p["mu"]) / p["sd"]) ** 2 - jnp.log(p["sd"]) - 0.5 * jnp.log(2 * jnp.pi)}


def log_density(p, data):
    return log_likelihood(p, data)["y"].sum() - 0.5 * (p["mu"] / 5) ** 2 - 0.5 * (p["sd"] / 5) ** 2


def predictive(key, p, data):
    return {"y": p["mu"] + p["sd"] * jax.random.normal(key, data["y"].shape)}


@pytest.fixture(scope="module")
def target():
    supports = {"mu": mcmc.real(), "sd": mcmc.positive()}
    return mcmc.Target(log_density, supports, {"y": Y}, log_likelihood=log_likelihood, predictive=predictive)


@pytest.fixture(scope="module")
def predicted(target):
    """Draws from elsewhere, with what `predict` makes of them."""
    rng = np.random.default_rng(1)
    mu = rng.normal(Y.mean(), Y.std() / 60**0.5, (4, 500))
    sd = Y.std() * (60 / rng.chisquare(59, (4, 500))) ** 0.5
    posterior = xarray.Dataset({"mu": (("chain", "draw"), mu), "sd": (("chain", "draw"), sd)})
    draws = xarray.DataTree.from_dict({"posterior": posterior.assign_coords(chain=range(4), draw=range(500))})
    made = mcmc.predict(target, draws, seed=3)
    groups = {name: group.to_dataset() for name, group in (*draws.children.items(), *made.children.items())}
    return xarray.DataTree.from_dict(groups | {"observed_data": xarray.Dataset({"y": ("y_dim_0", Y)})})


def test_loo_is_that_of_the_likelihood(predicted):
    p = predicted["posterior"]
    by_hand = -0.5 * ((Y - p["mu"].values[..., None]) / p["sd"].values[..., None]) ** 2
    by_hand -= np.log(p["sd"].values)[..., None] + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(predicted["log_likelihood"]["y"], by_hand, atol=1e-10)
    weights = np.exp(-by_hand - (-by_hand).max((0, 1)))
    importance = np.log((weights * np.exp(by_hand)).sum((0, 1)) / weights.sum((0, 1))).sum()
    found = arviz.loo(predicted)
    assert found.elpd == pytest.approx(importance, abs=0.3)  # smoothed weights (PSIS) against plain ones
    assert not found.warning


@pytest.mark.filterwarnings("ignore")  # of ArviZ and matplotlib
@pytest.mark.parametrize("plot", ["plot_ppc_dist", "plot_ppc_pit", "plot_loo_pit", "plot_ppc_tstat"])
def test_arviz_draws_it(predicted, plot):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    try:
        assert getattr(arviz, plot)(predicted, backend="matplotlib") is not None
        assert pyplot.get_fignums()
    finally:
        pyplot.close("all")


def test_new_data_give_predictions(target, predicted):
    made = mcmc.predict(target, predicted, data={"y": np.zeros(3)}, seed=3)
    assert set(made.children) == {"log_likelihood", "predictions"}
    assert made["predictions"]["y"].shape == (4, 500, 3)
    assert float(made["predictions"]["y"].mean()) == pytest.approx(Y.mean(), abs=0.2)
