r"""Predator and prey: what drove the lynx and the hares of the Hudson Bay?

The Hudson's Bay Company bought pelts; how many of each kind, in thousands a year, follows how many animals there were.
Model (Lotka 1925, Volterra 1926), u hares and v lynx:

    du/dt = (alpha - beta v) u,     dv/dt = (-gamma + delta u) v,     (u, v) at 1900 = initial
    log catch ~ N(log (u, v), sigma),   sigma one for each kind

    alpha, gamma ~ N(1, 0.5) above 0        beta, delta ~ N(0.05, 0.05) above 0
    log initial ~ N(log 10, 1)              log sigma ~ N(-1, 1)

Data and priors as in Carpenter's case study for Stan (2018), after Howard (2009) and Hewitt (1921); compared with the
10,000 reference draws that posteriordb publishes for that model. Needs diffrax.

    python examples/predator_prey.py --out pictures
"""

import argparse
from pathlib import Path

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure

import mcmc

NAME = "predator_prey"
HARES = [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1, 40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6]
HARES += [16.2, 24.7]
LYNX = [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4, 8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6]
YEARS = np.arange(1900, 1921)
STEP = 0.25  # of the solver, in years
START = {  # read off the counts: the period, 10 years, is 2 pi / sqrt(alpha gamma); means, gamma/delta and alpha/beta
    "alpha": 0.63,
    "beta": 0.63 / np.mean(LYNX),
    "gamma": 0.63,
    "delta": 0.63 / np.mean(HARES),
    "initial": np.array([HARES[0], LYNX[0]]),
    "sigma": np.array([1.0, 1.0]),  # large: while the fit is poor, no chain is caught in a mode with a wrong period
}

REFERENCE = {  # posteriordb, hudson_lynx_hare-lotka_volterra: mean and standard deviation
    "alpha": (0.5469, 0.0631),
    "beta": (0.02775, 0.00415),
    "gamma": (0.8001, 0.0894),
    "delta": (0.02409, 0.00353),
    "initial[hares]": (34.04, 2.917),
    "initial[lynx]": (5.936, 0.531),
    "sigma[hares]": (0.2481, 0.0433),
    "sigma[lynx]": (0.2510, 0.0436),
}


def growth(t, log_populations, p):
    """The rates of log u and log v: in logarithms no population falls below 0, and the rates are smooth."""
    log_u, log_v = log_populations
    return jnp.stack([p["alpha"] - p["beta"] * jnp.exp(log_v), -p["gamma"] + p["delta"] * jnp.exp(log_u)])


def log_populations(p, times):
    """Log u and log v at times after 1900, (time, 2), by Tsit5 with fixed steps: every chain does the same work."""
    steps = int(20 / STEP)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(growth),
        diffrax.Tsit5(),
        t0=0.0,
        t1=20.0,
        dt0=STEP,
        y0=jnp.log(p["initial"]),
        args=p,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.ConstantStepSize(),
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=steps),  # keep all of so few steps: no second solve
        max_steps=steps,
    )
    return jnp.asarray(solution.ys)


def log_density(p, data):
    """The priors, and the catches given the populations."""
    prior = -0.5 * (((p["alpha"] - 1) / 0.5) ** 2 + ((p["gamma"] - 1) / 0.5) ** 2)
    prior += -0.5 * (((p["beta"] - 0.05) / 0.05) ** 2 + ((p["delta"] - 0.05) / 0.05) ** 2)
    for x, centre in ((p["initial"], jnp.log(10.0)), (p["sigma"], -1.0)):
        prior += jnp.sum(-0.5 * (jnp.log(x) - centre) ** 2 - jnp.log(x))
    z = (jnp.log(data["catch"]) - log_populations(p, jnp.arange(21.0))) / p["sigma"]
    return prior - 0.5 * jnp.sum(z**2) - 21 * jnp.sum(jnp.log(p["sigma"]))


target = mcmc.Target(
    log_density,
    {
        "alpha": mcmc.positive(),
        "beta": mcmc.positive(),
        "gamma": mcmc.positive(),
        "delta": mcmc.positive(),
        "initial": mcmc.positive(2),
        "sigma": mcmc.positive(2),
    },
    data={"catch": np.stack([HARES, LYNX], axis=1)},
    dims={"initial": ["animal"], "sigma": ["animal"], "catch": ["year", "animal"]},
    coords={"animal": ["hares", "lynx"], "year": YEARS},
)


def curves(draws, n=2000, seed=0):
    """Populations and simulated catches every quarter of a year, for n draws: (n, 81, 2) each."""
    posterior = draws["posterior"]
    total = posterior.sizes["chain"] * posterior.sizes["draw"]
    at = np.linspace(0, total - 1, n).astype(int)
    p = {k: v.values.reshape(total, *v.shape[2:])[at] for k, v in posterior.data_vars.items()}
    with jax.enable_x64(True):
        solve = jax.jit(jax.vmap(log_populations, in_axes=(0, None)))
        logs = np.asarray(solve(p, jnp.linspace(0.0, 20.0, 81)))
    noise = np.random.default_rng(seed).normal(size=logs.shape)
    return np.exp(logs), np.exp(logs + p["sigma"][:, None] * noise)


def compare(summary):
    """Our means and standard deviations beside the published ones."""
    rows = {
        name: {
            "mean": summary.loc[name, "mean"],
            "mcse": summary.loc[name, "mcse_mean"],
            "reference mean": mean,
            "sd": summary.loc[name, "sd"],
            "reference sd": sd,
        }
        for name, (mean, sd) in REFERENCE.items()
    }
    return pandas.DataFrame(rows).T


def picture(populations, catches):
    """The counts over the median curve, its 90 % band, and the 90 % band of what would be caught."""
    fig = Figure(figsize=(9, 5.4), layout="constrained")
    years = np.linspace(1900, 1920, populations.shape[1])
    for k, (ax, animal, colour, seen) in enumerate(
        zip(fig.subplots(2, sharex=True), ("hare", "lynx"), ("#1f6fb4", "#c8501e"), (HARES, LYNX), strict=True)
    ):
        low, high = np.quantile(catches[..., k], (0.05, 0.95), axis=0)
        ax.fill_between(years, low, high, color=colour, alpha=0.15, lw=0, label="90 % of simulated catches")
        low, middle, high = np.quantile(populations[..., k], (0.05, 0.5, 0.95), axis=0)
        ax.fill_between(years, low, high, color=colour, alpha=0.35, lw=0, label="population, 90 %")
        ax.plot(years, middle, color=colour, lw=2, label="population, median")
        ax.plot(YEARS, seen, "o", color="black", ms=5, label="pelts counted")
        ax.set(ylabel=f"{animal} pelts, thousands", ylim=(0, None), xlim=(1899.5, 1920.5))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.axes[0].legend(ncols=2, frameon=False, loc="upper right", fontsize=9)
    fig.axes[0].set_ylim(0, 150)
    fig.axes[1].set(xlabel="year", xticks=range(1900, 1921, 2))
    fig.suptitle("Hares and lynx of the Hudson Bay, and the Lotka–Volterra model", fontsize=13)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, **{"seed": seed, "init": START, **settings})
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    table = compare(summary)
    print("\nAgainst the reference draws of posteriordb:", table.round(4).to_string(), sep="\n")
    populations, catches = curves(draws)
    low, high = np.quantile(catches[:, ::4], (0.05, 0.95), axis=0)
    inside = int(np.sum((low <= target.data["catch"]) & (target.data["catch"] <= high)))
    print(f"\n{inside} of 42 counts lie in their 90 % band of simulated catches.")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(populations, catches).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The lynx and hares of the Hudson Bay")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
