"""When did coal mines become safer? A rate that changes in an unknown year (Carlin, Gelfand & Smith 1992).

Disasters with ten or more deaths in British coal mines (Jarrett 1979), by year. The year of the change is an integer:
`mcmc.sample` sees that, and moves it by Gibbs sampling and the two rates by HMC.

Run it with `python examples/change_point.py`, or `mcmc sample examples/change_point.py`.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure
from scipy.special import gammaln

import mcmc

NAME = "change_point"
YEARS = np.arange(1851, 1963)
COUNTS = """
    4 5 4 1 0 4 3 4 0 6 3 3 4 0 2 6 3 3 5 4 5 3 1 4 4 1 5 5 3 4 2 5 2 2 3 4 2 1 3 2 2 1 1 1 1 3 0 0 1 0 1 1 0 0 3 1
    0 3 2 2 0 1 1 1 0 1 0 1 0 0 0 2 1 0 0 0 1 1 0 2 3 3 1 1 2 1 1 1 1 2 4 2 0 0 0 1 4 0 0 0 1 0 0 0 0 0 1 0 0 1 0 1
"""
data = {"disasters": np.array(COUNTS.split(), float), "year": YEARS.astype(float)}
SHAPE, RATE = 2.0, 1.0  # of the Gamma prior of both rates


def log_density(p, data):
    """early, late ~ Gamma(2, 1); switch uniform over 1852 ... 1962; disasters ~ Poisson(early or late)."""
    prior = sum((SHAPE - 1) * jnp.log(p[name]) - RATE * p[name] for name in ("early", "late"))
    rate = jnp.where(data["year"] < p["switch"], p["early"], p["late"])
    return prior + jnp.sum(data["disasters"] * jnp.log(rate) - rate)


def exact():
    """The switch's probabilities without sampling: with the rates integrated out there are 111 numbers to add up."""
    total = np.cumsum(data["disasters"])[:-1], np.cumsum(data["disasters"][::-1])[-2::-1]
    years = np.arange(1, len(YEARS)), np.arange(len(YEARS) - 1, 0, -1)
    parts = [gammaln(SHAPE + s) - (SHAPE + s) * np.log(RATE + n) for s, n in zip(total, years, strict=True)]
    weights = np.exp(sum(parts) - max(sum(parts)))
    return YEARS[1:], weights / weights.sum()


def exact_moments():
    """Means and standard deviations of the year and of both rates: given the year a rate is a Gamma."""
    years, weights = exact()
    seen = np.cumsum(data["disasters"])[:-1]
    n = np.arange(1, len(YEARS))
    gammas = {
        "early": (SHAPE + seen, RATE + n),
        "late": (SHAPE + seen[-1] + data["disasters"][-1] - seen, RATE + 112 - n),
    }
    given = {"switch": (years, 0.0 * years)} | {name: (a / b, a / b**2) for name, (a, b) in gammas.items()}
    means = {name: np.sum(weights * mean) for name, (mean, _) in given.items()}
    return {
        name: (means[name], np.sqrt(np.sum(weights * (variance + (mean - means[name]) ** 2))))
        for name, (mean, variance) in given.items()
    }


target = mcmc.Target(
    log_density,
    {"switch": mcmc.integer(1852, 1962), "early": mcmc.positive(), "late": mcmc.positive()},
    data=data,
    derived=lambda p, data: {"ratio": p["early"] / p["late"]},
    dims={"disasters": ["t"], "year": ["t"]},
)


def compare(summary):
    """Our means and standard deviations beside the exact ones."""
    rows = {}
    for name, (mean, sd) in exact_moments().items():
        ours = summary.loc[name]
        rows[name] = [ours["mean"], ours["mcse_mean"], mean, ours["sd"], sd]
    return pandas.DataFrame(rows, index=["mean", "mcse", "exact mean", "sd", "exact sd"]).T


def picture(draws):
    """The counts under the rate of each year, and the year of the change beside its exact probabilities."""
    switch, early, late = (draws.posterior[name].values.reshape(-1, 1) for name in ("switch", "early", "late"))
    rate = np.where(switch > YEARS, early, late)
    low, high = np.quantile(rate, [0.05, 0.95], axis=0)
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    left.bar(YEARS, data["disasters"], color="0.8", label="disasters")
    left.fill_between(YEARS, low, high, color="C0", alpha=0.3, label="rate, 90 % interval")
    left.plot(YEARS, rate.mean(0), color="C0", label="rate, mean")
    left.set(xlabel="year", ylabel="a year", title="Disasters in British coal mines")
    left.legend(frameon=False)
    years, probabilities = exact()
    shown = (years >= 1880) & (years <= 1905)
    drawn = [(switch == year).mean() for year in years[shown]]
    right.bar(years[shown], drawn, color="C0", alpha=0.4, label="draws")
    right.plot(years[shown], probabilities[shown], "k_", markersize=9, label="exact")
    right.set(xlabel="first year of the late rate", ylabel="probability", title="When it changed")
    right.legend(frameon=False)
    return figure


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, **{"seed": seed, **settings})
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    table = compare(summary)
    print("\nAgainst sums over the years:", table.round(4).to_string(), sep="\n")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(draws).savefig(Path(out) / f"{NAME}.png", dpi=90)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="When coal mines became safer")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
