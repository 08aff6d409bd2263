"""Eight schools: how much does coaching for a test help? (Rubin 1981)

Run it with `python examples/eight_schools.py`, or `mcmc sample examples/eight_schools.py`.
"""

import jax.numpy as jnp
import numpy as np

import mcmc

schools = [
    "Choate",
    "Deerfield",
    "Exeter",
    "Hotchkiss",
    "Lawrenceville",
    "St. Paul's",
    "Andover",
    "Mt. Hermon",
]
data = {
    "y": np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),  # measured effect
    "sigma": np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),  # its standard error
}


def effects(p, data):
    """The effect of each school: non-centred, so that a small tau makes no funnel."""
    return {"theta": p["mu"] + p["tau"] * p["theta_trans"]}


def log_density(p, data):
    """mu ~ N(0, 5), tau ~ HalfCauchy(0, 5), theta ~ N(mu, tau), y ~ N(theta, sigma)."""
    prior = -0.5 * (p["mu"] / 5) ** 2 - jnp.log1p((p["tau"] / 5) ** 2) - 0.5 * jnp.sum(p["theta_trans"] ** 2)
    z = (data["y"] - effects(p, data)["theta"]) / data["sigma"]
    return prior - 0.5 * jnp.sum(z**2)


target = mcmc.Target(
    log_density,
    {"mu": mcmc.real(), "tau": mcmc.positive(), "theta_trans": mcmc.real(8)},
    data=data,
    derived=effects,
    dims={"theta": ["school"], "theta_trans": ["school"], "y": ["school"], "sigma": ["school"]},
    coords={"school": schools},
)

if __name__ == "__main__":
    draws = mcmc.sample(target, seed=1)
    print(mcmc.summary(draws))
    print(mcmc.diagnose(draws))
    mcmc.plot(draws, ["mu", "tau", "theta"]).savefig("eight_schools.png")
    draws.to_netcdf("eight_schools.nc", engine="h5netcdf")
