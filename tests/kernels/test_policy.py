"""NaN is rejected and counted, minus infinity rejected, plus infinity an error: the same for every kernel."""

import jax.numpy as jnp
import numpy as np
import pytest
from proposals import Drift, Normal
from runs import draw

import mcmc


def _walled(p, data):
    x = p["x"]
    return jnp.where(x[0] > 1.0, data["beyond"], -0.5 * jnp.sum(x**2))


WALLED = mcmc.Target(_walled, {"x": mcmc.real(2)}, data={"beyond": np.array(0.0)})


def walled(value):
    """A standard normal in two dimensions, where a first coordinate above 1 meets the value."""
    return WALLED.with_data({"beyond": np.array(value)})


POLICY = {
    "random_walk": mcmc.RandomWalk(step_size=1.0, metric=1.0),
    "independent": mcmc.IndependentMetropolis(Normal(np.zeros(2), np.eye(2))),
    "metropolis_hastings": mcmc.MetropolisHastings(Drift(np.zeros(2), np.float64(0.5), 0.8 * np.eye(2))),
    "hmc": mcmc.HMC(step_size=0.5, metric=1.0, num_steps=3),
    "mala": mcmc.MALA(step_size=1.0, metric=1.0),
    "barker": mcmc.Barker(step_size=1.0, metric=1.0),
    "mams": mcmc.MAMS(step_size=0.5, metric=1.0),
    "slice": mcmc.Slice(metric=1.0),
    "elliptical_slice": mcmc.EllipticalSlice(metric=1.0),
    "nuts": mcmc.NUTS(step_size=0.5, metric=1.0),
    "stretch": mcmc.Stretch(),
    "differential_evolution": mcmc.DifferentialEvolution(),
    "walk": mcmc.Walk(step_size=1.0),
    "kde": mcmc.KDE(metric=1.0),
    "mixture": mcmc.Mixture([mcmc.HMC(step_size=0.5, metric=1.0, num_steps=3), mcmc.RandomWalk(1.0, 1.0)]),
    "mixture_ensemble": mcmc.Mixture([mcmc.Stretch(), mcmc.RandomWalk(1.0, 1.0)]),
}
SLOW = {"differential_evolution": pytest.mark.slow}  # to compile
each = pytest.mark.parametrize("name", [pytest.param(n, marks=SLOW.get(n, ())) for n in POLICY])
SHORT = {"chains": 16, "draws": 200, "warmup": 0, "superchains": 0, "init": {"x": np.zeros(2)}}


@each
@pytest.mark.parametrize("value", [np.nan, -np.inf], ids=["nan", "-inf"])
def test_a_proposal_without_a_density_is_rejected_and_a_nan_is_counted(name, value):
    draws = draw(walled(value), POLICY[name], **SHORT)
    x = draws["posterior"]["x"].values
    assert np.isfinite(x).all()
    assert np.isfinite(draws["sample_stats"]["lp"].values).all()
    assert x[..., 0].max() <= 1.0
    assert x[..., 0].std() > 0.3
    counted = draws["run_state"]["nonfinite_proposals"].values
    assert counted.shape == (16,)
    assert counted.sum() > 50 if np.isnan(value) else counted.sum() == 0
    rates = draws["sample_stats"]["acceptance_rate"].values
    assert np.all((rates >= 0) & (rates <= 1))


@each
def test_an_infinite_log_density_is_an_error_with_chain_and_parameter(name):
    with pytest.raises(mcmc.SamplingError, match="inf") as raised:
        draw(walled(np.inf), POLICY[name], **SHORT)
    text, chain = str(raised.value), raised.value.chain
    assert f"chain {chain} " in text
    assert "x = [" in text
    assert "log_density" in text
    assert raised.value.position["x"][0] > 1.0
