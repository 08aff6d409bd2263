r"""Eight schools written as one thinks of them: theta_i ~ N(mu, tau), with no trick (Rubin 1981).

    y_i ~ N(theta_i, sigma_i)   theta_i ~ N(mu, tau)   mu ~ N(0, 5)   tau ~ HalfCauchy(0, 5)

Where tau is small all theta_i must be close to mu: in (log tau, theta_i) the posterior is a funnel, whose neck a
sampler with one scale for all places does not enter. The default finds in warmup that log tau scales the theta_i and
moves them on that scale. Compared with sums over a grid of log tau, given which mu and the theta_i are normal, and
with the same run without it (`geometry="affine"`).

    python examples/centred_hierarchy.py --out pictures
"""

import argparse
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import cauchy, norm
from matplotlib.figure import Figure

import mcmc

NAME = "centred_hierarchy"
SCHOOLS = ["Choate", "Deerfield", "Exeter", "Hotchkiss", "Lawrenceville", "St. Paul's", "Andover", "Mt. Hermon"]
Y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
SIGMA = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def log_density(p, data):
    """The priors, the schools given their population, the measured effects given the schools."""
    prior = norm.logpdf(p["mu"], 0, 5) + cauchy.logpdf(p["tau"], 0, 5)
    schools = norm.logpdf(p["theta"], p["mu"], p["tau"])
    return prior + jnp.sum(schools) + jnp.sum(norm.logpdf(data["y"], p["theta"], data["sigma"]))


target = mcmc.Target(
    log_density,
    {"mu": mcmc.real(), "tau": mcmc.positive(), "theta": mcmc.real(8)},
    data={"y": Y, "sigma": SIGMA},
    derived=lambda p, data: {"log_tau": jnp.log(p["tau"])},
    dims={"theta": ["school"], "y": ["school"], "sigma": ["school"]},
    coords={"school": SCHOOLS},
)


def exact(log_tau):
    """On an even grid of log tau: its weights, and means and variances (grid, 9) of mu and the schools given it."""
    variance = np.exp(2 * log_tau)[:, None] + SIGMA**2
    precision = 1 / 25 + np.sum(1 / variance, 1)
    mu = np.sum(Y / variance, 1) / precision
    log_weight = log_tau - np.log1p((np.exp(log_tau) / 5) ** 2) - 0.5 * np.log(precision)
    log_weight += 0.5 * precision * mu**2 - 0.5 * np.sum(np.log(variance) + Y**2 / variance, 1)
    weight = np.exp(log_weight - log_weight.max())
    share = SIGMA**2 / variance  # of mu in a school's mean
    mean = share * mu[:, None] + (1 - share) * Y
    spread = np.exp(2 * log_tau)[:, None] * share + share**2 / precision[:, None]
    return weight / weight.sum(), np.c_[mu, mean], np.c_[1 / precision, spread]


def compare(summary):
    """Our means and standard deviations beside the exact ones."""
    grid = np.linspace(-16, 7, 4001)
    weight, mean, variance = exact(grid)
    first = np.r_[weight @ grid, weight @ mean]
    second = np.r_[weight @ grid**2, weight @ (mean**2 + variance)]
    names = ["log_tau", "mu", *(f"theta[{school}]" for school in SCHOOLS)]
    found = summary.loc[names, ["mean", "mcse_mean", "sd"]].rename(columns={"mcse_mean": "mcse"})
    found.insert(2, "exact mean", first)
    return found.assign(**{"exact sd": np.sqrt(second - first**2)})


def _funnel(ax, posterior, exact_mean, exact_sd, grid):
    log_tau, theta = posterior["log_tau"].values.ravel(), posterior["theta"][..., 0].values.ravel()
    ax.plot(log_tau, theta, ".", ms=1.6, alpha=0.35, color="#1f6fb4", rasterized=True)
    ax.plot(grid, exact_mean, color="0.15", lw=1.1, label="exact mean given tau")
    for sides in (-2, 2):
        label = "2 sds from it" if sides > 0 else None
        ax.plot(grid, exact_mean + sides * exact_sd, "--", color="0.15", lw=1.1, label=label)
    ax.set(xlabel="log tau", ylabel=f"effect in {SCHOOLS[0]}", xlim=(-6, 4), ylim=(-25, 45))
    ax.legend(frameon=False, loc="upper left", fontsize=9)
    ax.set_title("the funnel, and where it should be", fontsize=11)


def _marginal(ax, posterior, plain, grid, weight):
    bins = np.linspace(-6, 4, 51)
    for draws, colour, label in ((plain, "#c8501e", 'geometry="affine"'), (posterior, "#1f6fb4", "default")):
        values = draws["log_tau"].values.ravel()
        heights = np.histogram(values, bins)[0] / len(values) / (bins[1] - bins[0])
        ax.stairs(heights, bins, color=colour, lw=1.8, label=label)
    ax.plot(grid, weight / (grid[1] - grid[0]), color="0.15", lw=1.1, label="exact")
    ax.set(xlabel="log tau", ylabel="density", xlim=(-6, 4), ylim=(1e-4, 1), yscale="log")
    ax.legend(frameon=False, loc="upper left", fontsize=9)
    ax.set_title("how often each log tau is visited", fontsize=11)


def picture(draws, plain):
    """Left the draws of log tau and one school, with its exact mean and 2 sds; right the density of log tau."""
    fig = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = fig.subplots(1, 2)
    grid = np.linspace(-8, 5, 1301)
    weight, mean, variance = exact(grid)
    _funnel(left, draws["posterior"], mean[:, 1], np.sqrt(variance[:, 1]), grid)
    _marginal(right, draws["posterior"], plain["posterior"], grid, weight)
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle("Eight schools as one writes them (Rubin 1981)", fontsize=13)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, seed=seed, **settings)
    print("geometry:", draws.attrs["geometry"])
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    table = compare(summary)
    print("\nAgainst sums over a grid:", table.round(4).to_string(), sep="\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)  # the verdict is printed
        plain = mcmc.sample(target, seed=seed, **{**settings, "geometry": "affine", "progress": False})
    print('\nWith geometry="affine":', mcmc.diagnose(plain).verdict)
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(draws, plain).savefig(Path(out) / f"{NAME}.png", dpi=90)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Eight schools, centred")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
