"""Eight schools with mcmc, as the README shows it: 64 chains of the kernel that it chooses."""

from schools import SIGMA, Clock, Y, finish, settings

options = settings(chains=64, draws=0, warmup=-1)
clock = Clock()

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import mcmc  # noqa: E402

clock.lap("import")


def log_density(p, data):
    theta = p["mu"] + p["tau"] * p["theta_trans"]
    prior = -0.5 * (p["mu"] / 5) ** 2 - jnp.log1p((p["tau"] / 5) ** 2) - 0.5 * jnp.sum(p["theta_trans"] ** 2)
    return prior - 0.5 * jnp.sum(((data["y"] - theta) / data["sigma"]) ** 2)


target = mcmc.Target(
    log_density,
    {"mu": mcmc.real(), "tau": mcmc.positive(), "theta_trans": mcmc.real(8)},
    data={"y": np.array(Y), "sigma": np.array(SIGMA)},
)
draws = mcmc.sample(
    target,
    chains=options.chains,
    draws=options.draws or None,
    warmup=None if options.warmup < 0 else options.warmup,
    seed=options.seed,
    progress=False,
)
clock.lap("around")
for part in ("compile", "warmup", "sampling", "diagnosis"):
    clock.seconds[part] = draws.attrs[f"{part}_time"]
    clock.seconds["around"] -= clock.seconds[part]

posterior = draws["posterior"]
smallest = min(float(np.min(mcmc.ess(posterior[name].values))) for name in posterior.data_vars)
clock.lap("summary")

finish(
    "mcmc",
    clock,
    [posterior[name].values.mean() for name in ("mu", "tau")],
    [posterior[name].values.std() for name in ("mu", "tau")],
    smallest,
    lambda: np.concatenate(
        [
            posterior["mu"].values[..., None],
            np.log(posterior["tau"].values)[..., None],
            posterior["theta_trans"].values,
        ],
        -1,
    ),
    options,
)
