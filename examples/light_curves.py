"""2,000 stars at once: the period, the amplitude and the jitter of each, from one model (`mcmc.sample_each`).

Light curves are simulated from the model's own prior: a sine whose period is known to 0.5 %, with errors that are too
small. Each star gets a posterior of its own; over all of them the true values must lie among the draws like one more
draw, which the rank histograms show.

    python examples/light_curves.py --out pictures
"""

import argparse
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas
from jax.scipy.stats import norm
from matplotlib.figure import Figure

import mcmc
from mcmc.calibration.sbc import rank_p_value

NAME = "light_curves"
POINTS, ERROR = 40, 0.3
PRIORS = {"level": 1.0, "a": 1.0, "b": 1.0, "stretch": 0.005}  # standard deviations of normals about 0
JITTER = (-1.5, 0.7)  # of log jitter
EVERY = 50  # draws apart that are independent
NAMES = (*PRIORS, "jitter")


def flux(p, data):
    """A sine about a level, whose period is the catalogue's times 1 + stretch."""
    phase = 2 * jnp.pi * data["t"] / (data["period"] * (1 + p["stretch"]))
    return p["level"] + p["a"] * jnp.sin(phase) + p["b"] * jnp.cos(phase)


def log_density(p, data):
    """Normal priors, a lognormal jitter that adds to the stated errors, normal data."""
    lp = sum(-0.5 * (p[name] / sd) ** 2 for name, sd in PRIORS.items())
    lp += norm.logpdf(jnp.log(p["jitter"]), *JITTER) - jnp.log(p["jitter"])
    variance = ERROR**2 + p["jitter"] ** 2
    return lp - 0.5 * (((data["flux"] - flux(p, data)) ** 2).sum() / variance + POINTS * jnp.log(variance))


def simulate(stars, seed):
    """True values of each star from the prior, and its light curve at 40 times of 8 periods or so."""
    rng = np.random.default_rng(seed)
    true = {name: sd * rng.normal(size=stars) for name, sd in PRIORS.items()}
    true["jitter"] = np.exp(rng.normal(*JITTER, size=stars))
    period = rng.uniform(2.0, 5.0, size=stars)
    t = np.sort(rng.uniform(-12.0, 12.0, size=(stars, POINTS)), axis=1)
    columns = {name: value[:, None] for name, value in true.items()}
    mean = np.asarray(flux(columns, {"t": t, "period": period[:, None]}))
    noise = np.hypot(ERROR, columns["jitter"]) * rng.normal(size=t.shape)
    return true, {"t": t, "flux": mean + noise, "period": period}


target = mcmc.Target(
    log_density,
    {name: mcmc.real(scale=sd) for name, sd in PRIORS.items()} | {"jitter": mcmc.positive()},
    data={"t": np.zeros(POINTS), "flux": np.zeros(POINTS), "period": 3.0},
)


def ranks(true, draws):
    """How many of some independent draws lie below the true value, for each star; and of how many."""
    some = draws.posterior.isel(draw=slice(EVERY - 1, None, EVERY))
    of = some.sizes["chain"] * some.sizes["draw"]
    below = [(some[name] < true[name][:, None, None]).sum(("chain", "draw")).values for name in NAMES]
    return np.stack(below, 1), of


def compare(true, draws):
    """By parameter: how often the 90 % interval holds the true value, and how likely ranks like these are."""
    found, of = ranks(true, draws)
    low, high = (draws.posterior.to_dataset().quantile(q, dim=("chain", "draw")) for q in (0.05, 0.95))
    rows = {}
    for i, name in enumerate(NAMES):
        inside = (low[name].values < true[name]) & (true[name] < high[name].values)
        rows[name] = [inside.mean(), np.sqrt(0.09 / inside.size), rank_p_value(found[:, i], of)]
    return pandas.DataFrame(rows, index=["in the 90 % interval", "its error", "p of the ranks"]).T


def picture(true, data, draws):
    """Six light curves with the posterior of each, and the rank histograms of all stars."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    for i, ax in enumerate(above.subplots(2, 3, sharex=True).ravel()):
        one = draws.posterior.isel(dataset=i, draw=slice(9, None, 10))
        p = {name: one[name].values.reshape(-1, 1) for name in NAMES}
        t = np.linspace(-12.5, 12.5, 300)
        curves = np.asarray(flux(p, {"t": t, "period": data["period"][i]}))
        low, high = np.quantile(curves, (0.05, 0.95), axis=0)
        ax.plot(data["t"][i], data["flux"][i], ".", color="0.5", markersize=4)
        ax.fill_between(t, low, high, color="C0", alpha=0.5, linewidth=0)
        ax.set_title(f"star {i}: jitter {p['jitter'].mean():.2f} ± {p['jitter'].std():.2f}", fontsize=9)
    found, of = ranks(true, draws)
    stars, bins = len(found), 16
    for i, ax in enumerate(below.subplots(1, len(NAMES), sharey=True)):
        ax.axhspan(*(stars / bins + 2.6 * np.array([-1, 1]) * np.sqrt(stars / bins)), color="0.85")
        ax.hist(found[:, i], bins=np.linspace(-0.5, of + 0.5, bins + 1), color="C0")
        ax.set_title(f"ranks of {NAMES[i]}", fontsize=9)
    return figure


def run(out=".", seed=1, stars=2000, **settings):
    """Simulate, draw, judge, save the picture; returns the draws and the table of coverage."""
    true, data = simulate(stars, seed)
    began = time.perf_counter()
    draws = mcmc.sample_each(target, data, **{"seed": seed, **settings})
    seconds = time.perf_counter() - began
    table = compare(true, draws)
    print(f"{stars:,} light curves, {draws.posterior.sizes['chain']} chains each")
    print(mcmc.diagnose(draws).verdict)
    print("drawn", ", ".join(f"{n}: {k}" for n, k in pandas.Series(draws.run_state["stage"]).value_counts().items()))
    print(table.round(3).to_string())
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(true, data, draws).savefig(Path(out) / f"{NAME}.png", dpi=80)
    draws.attrs["seconds"] = seconds
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Posteriors of 2,000 light curves")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stars", type=int, default=2000)
    run(**vars(parser.parse_args()))
