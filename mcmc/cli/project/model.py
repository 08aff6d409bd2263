"""How fast do nebulae recede, by their distance? A straight line through Hubble's 24 (1929).

    mcmc sample model.py        the table and the verdict; draws go to posterior.nc
    python model.py             the same, with predictions and pictures

Put your data into data.csv, and your model into the four functions below.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

import mcmc

table = np.genfromtxt(Path(__file__).with_name("data.csv"), delimiter=",", names=True)
data = {"distance": table["distance"], "velocity": table["velocity"]}  # megaparsecs, km/s

parameters = {
    "slope": mcmc.real(),  # km/s by megaparsec
    "intercept": mcmc.real(),  # km/s
    "sigma": mcmc.positive(),  # spread around the line, km/s
}


def mean(p, data):
    """What is expected: change this line, and the parameters, to change the model."""
    return p["intercept"] + p["slope"] * data["distance"]


def log_prior(p, data):
    """What is known before: slope ~ N(0, 1000), intercept ~ N(0, 500), sigma ~ half-normal(500)."""
    return {
        "slope": norm.logpdf(p["slope"], 0, 1000),
        "intercept": norm.logpdf(p["intercept"], 0, 500),
        "sigma": norm.logpdf(p["sigma"], 0, 500) + jnp.log(2.0),
    }


def log_likelihood(p, data):
    """How probable each observation is, given the parameters."""
    return {"velocity": norm.logpdf(data["velocity"], mean(p, data), p["sigma"])}


def predictive(key, p, data):
    """Data as the model would make them: compared with the real ones, they show whether it fits."""
    return {"velocity": mean(p, data) + p["sigma"] * jax.random.normal(key, data["distance"].shape)}


target = mcmc.Target(
    None, parameters, data=data, log_prior=log_prior, log_likelihood=log_likelihood, predictive=predictive
)

if __name__ == "__main__":
    draws = mcmc.sample(target, seed=1)
    print(mcmc.summary(draws)[["mean", "sd", "mcse_mean", "ess_bulk", "ess_tail"]].round(2))
    print(mcmc.diagnose(draws))
    inside = np.abs(draws["posterior_predictive"]["velocity"] - data["velocity"]) < 300
    print(f"predictions within 300 km/s of what was seen: {float(inside.mean()):.0%}")
    draws.to_netcdf("posterior.nc", engine="h5netcdf")
    mcmc.plot(draws).savefig("posterior.png")
    print("draws: posterior.nc, picture: posterior.png, a page to read: mcmc report posterior.nc")
