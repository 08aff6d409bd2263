"""Simulation-based calibration of a centred hierarchy under the maps that warmup finds."""

import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw

import mcmc
from mcmc.calibration.sbc import rank_p_value

GROUPS, DATA_SETS, CHAINS, DRAWS, KEPT = 5, 48, 16, 60, 31


def log_density(p, data):
    tau = jnp.exp(p["log_tau"])
    prior = -0.5 * (p["mu"] ** 2 + p["log_tau"] ** 2) - jnp.sum(
        0.5 * ((p["theta"] - p["mu"]) / tau) ** 2 + p["log_tau"]
    )
    return prior - 0.5 * jnp.sum((data["y"] - p["theta"]) ** 2)


def simulate(rng):
    """Parameters from the prior, and data from them."""
    mu, log_tau = rng.normal(size=2)
    theta = mu + np.exp(log_tau) * rng.normal(size=GROUPS)
    return {"mu": mu, "log_tau": log_tau, "theta": theta}, {"y": theta + rng.normal(size=GROUPS)}


def rank_of(draws, true):
    """How many of some draws that lie far apart are below the true value: 0 to `KEPT`."""
    pooled = draws.reshape(-1)
    return int(np.sum(pooled[np.linspace(0, pooled.size - 1, KEPT).astype(int)] < true))


@pytest.mark.slow
def test_ranks_are_uniform_under_the_maps_that_are_found():
    rng = np.random.default_rng(0)
    parameters = {"mu": mcmc.real(), "log_tau": mcmc.real(), "theta": mcmc.real(GROUPS)}
    target = mcmc.Target(log_density, parameters, data=simulate(rng)[1])
    ranks, found = {"mu": [], "log_tau": [], "theta": []}, 0
    for seed in range(DATA_SETS):
        true, data = simulate(rng)
        draws = draw(target.with_data(data), mcmc.HMC(), chains=CHAINS, draws=DRAWS, warmup=200, seed=seed)
        found += "log_tau scales theta" in draws.attrs["geometry"]
        ranks["mu"].append(rank_of(draws["posterior"]["mu"].values, true["mu"]))
        ranks["log_tau"].append(rank_of(draws["posterior"]["log_tau"].values, true["log_tau"]))
        ranks["theta"].append(rank_of(draws["posterior"]["theta"].values[..., 0], true["theta"][0]))
    assert found > DATA_SETS / 2
    for name, values in ranks.items():
        assert rank_p_value(np.array(values), KEPT) > 0.01, name
