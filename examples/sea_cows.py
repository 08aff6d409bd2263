"""How sea cows grow: is the prior sensible, does the model fit, which of two models, and what if the prior were wider?

Lengths (m) and ages (years) of 27 dugongs (Ratkowsky 1983, Nonlinear Regression Modeling). Two models of the mean
length: growth that levels off, limit - gap gamma^age, and growth by the logarithm of the age, a + b log(age).

    python examples/sea_cows.py --out pictures
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import mcmc

SEA_COWS = """
1.0 1.80, 1.5 1.85, 1.5 1.87, 1.5 1.77, 2.5 2.02, 4.0 2.27, 5.0 2.15, 5.0 2.26, 7.0 2.47, 8.0 2.19, 8.5 2.26,
9.0 2.40, 9.5 2.39, 9.5 2.41, 10.0 2.50, 12.0 2.32, 12.0 2.32, 13.0 2.43, 13.0 2.47, 14.5 2.56, 15.5 2.65, 15.5 2.47,
16.5 2.64, 17.0 2.56, 22.5 2.70, 29.0 2.72, 31.5 2.57
"""
AGE, LENGTH = np.array([pair.split() for pair in SEA_COWS.split(",")], float).T
normal, DATA = jax.scipy.stats.norm.logpdf, {"age": AGE, "length": LENGTH, "scale": np.array(1.0)}


def levelling(p, age):
    """The mean length under growth that levels off."""
    return p["limit"] - p["gap"] * p["gamma"] ** age


def logarithmic(p, age):
    """The mean length under growth by the logarithm of the age."""
    return p["a"] + p["b"] * jnp.log(age)


CENTRES = {"limit": (2.5, 0.5), "gap": (1.0, 0.5), "a": (1.8, 0.5), "b": (0.3, 0.15)}  # mean and sd, in m


def model(mean, names, shape=None):
    """A model of the mean length as a target that knows its prior; `scale` in the data widens the prior."""

    def log_prior(p, d):
        terms = {n: normal(p[n], CENTRES[n][0], d["scale"] * CENTRES[n][1]) for n in names}
        return terms | {"sd": jnp.log(10.0 / d["scale"]) - 10.0 * p["sd"] / d["scale"]}  # and gamma is uniform

    def log_likelihood(p, d):
        return {"length": normal(d["length"], mean(p, d["age"]), p["sd"])}

    def predictive(key, p, d):
        return {"length": mean(p, d["age"]) + p["sd"] * jax.random.normal(key, d["age"].shape)}

    def prior(key, d):
        keys = jax.random.split(key, len(names) + 2)
        drawn = {
            n: CENTRES[n][0] + d["scale"] * CENTRES[n][1] * jax.random.normal(k)
            for n, k in zip(names, keys, strict=False)
        }
        drawn |= {"sd": 0.1 * d["scale"] * jax.random.exponential(keys[-1])}
        return drawn | ({shape: jax.random.uniform(keys[-2])} if shape else {})

    parameters = {n: mcmc.real() for n in names} | {"sd": mcmc.positive()}
    parameters |= {shape: mcmc.interval(0.0, 1.0)} if shape else {}
    functions = {"log_prior": log_prior, "log_likelihood": log_likelihood, "predictive": predictive, "prior": prior}
    return mcmc.Target(None, parameters, DATA, **functions)


def models():
    """Both models by name."""
    return {
        "levelling off": model(levelling, ("limit", "gap"), "gamma"),
        "logarithm": model(logarithmic, ("a", "b")),
    }


def is_the_prior_sensible(target, scales=(1.0, 20.0)):
    """The share of simulated lengths that no sea cow has, below 0 or above 5 m, by how wide the prior is."""
    shares, simulated = {}, {}
    for scale in scales:
        made = mcmc.predict_prior(target.with_data({**DATA, "scale": np.array(scale)}), draws=1000, seed=1)
        lengths = made["prior_predictive"]["length"].values[0]
        shares[scale], simulated[scale] = float(((lengths < 0) | (lengths > 5)).mean()), lengths
    return shares, simulated


def does_it_fit(draws):
    """LOO-PIT values, the p-value of their uniformity, and the Pareto k of leaving each animal out."""
    import arviz
    from scipy import stats

    pit = arviz.loo_pit(draws)["length"].values.ravel()
    k = np.asarray(arviz.loo(draws, pointwise=True).pareto_k)
    return pit, float(stats.kstest(pit, "uniform").pvalue), k


def what_if_wider(target, draws, scales=(1.0, 2.0, 4.0), **settings):
    """ArviZ's power-scaling sensitivity, and means and log evidence as the prior widens; nothing is compiled again."""
    import arviz

    rows, limits = {}, {}
    for scale in scales:
        found = mcmc.evidence(target.with_data({**DATA, "scale": np.array(scale)}), seed=3, progress=False, **settings)
        means = {n: float(x.mean()) for n, x in found.draws["posterior"].data_vars.items()}
        rows[scale] = {"log evidence": found.log_evidence, "error": found.error, **means}
        limits[scale] = found.draws["posterior"]["limit"].values.ravel()
    return arviz.psense_summary(draws), rows, limits


def pictures(out, simulated, draws, found):
    """One picture: the priors' lengths, and both models' predictions beside the data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (scale, lengths), colour in zip(simulated.items(), ("#1b4f7f", "#c58b2a"), strict=True):
        low, high = np.quantile(lengths, [0.05, 0.95], 0)
        left.fill_between(AGE, low, high, alpha=0.3, color=colour, label=f"prior, {scale:g} times as wide")
    left.axhspan(0, 5, color="#999999", alpha=0.15)
    left.set(ylim=(-20, 25), xlabel="age (years)", ylabel="length (m)", title="simulated from the prior, 90 %")
    for (name, tree), colour in zip(draws.items(), ("#1b4f7f", "#b3261e"), strict=True):
        low, high = np.quantile(tree["posterior_predictive"]["length"].values, [0.05, 0.95], (0, 1))
        label = f"{name}: elpd {found.table.loc[name, 'elpd']:.1f}"
        right.fill_between(AGE, low, high, alpha=0.3, color=colour, label=label)
    right.plot(AGE, LENGTH, "k.", label="27 sea cows")
    right.set(xlabel="age (years)", title="simulated from the posteriors, 90 %")
    for axis in (left, right):
        axis.legend(fontsize=7, frameon=False)
    figure.savefig(out / "sea_cows.png", dpi=120)


def picture_of_the_fit(out, fits):
    """LOO-PIT values beside uniform ones, and Pareto k by age."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    n = len(AGE)
    left.plot([0, 1], [0, 1], color="#999999", lw=1)
    for (name, (pit, p, k)), colour in zip(fits.items(), ("#1b4f7f", "#b3261e"), strict=True):
        left.step(np.sort(pit), np.arange(1, n + 1) / n, color=colour, where="post", label=f"{name}: p = {p:.2f}")
        right.plot(AGE, k, ".", color=colour, label=name)
    left.set(xlabel="LOO-PIT", ylabel="share of animals below", title="each animal, predicted from the others")
    right.axhline(0.7, color="#999999", lw=1)
    right.set(xlabel="age (years)", ylabel="Pareto k", title="above 0.7 it can't be left out by weights")
    for axis in (left, right):
        axis.legend(fontsize=7, frameon=False)
    figure.savefig(out / "sea_cows_fit.png", dpi=120)


def picture_of_the_width(out, limits):
    """The prior and the posterior of the largest length as the prior widens."""
    from matplotlib.figure import Figure
    from scipy import stats

    figure = Figure(figsize=(9, 2.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    (centre, sd), x = CENTRES["limit"], np.linspace(0.5, 4.5, 300)
    for (scale, values), colour in zip(limits.items(), ("#1b4f7f", "#3f8f5f", "#c58b2a"), strict=True):
        left.plot(x, stats.norm.pdf(x, centre, scale * sd), color=colour, label=f"{scale:g} times as wide")
        right.hist(values, 60, range=(2.3, 3.3), density=True, histtype="step", color=colour)
    left.set(xlabel="limit (m)", title="prior")
    right.set(xlabel="limit (m)", title="posterior")
    left.legend(fontsize=7, frameon=False)
    figure.savefig(out / "sea_cows_wider.png", dpi=120)


def main(out, **settings):
    """Answer the four questions, print the answers, save the picture; the answers by name."""
    out.mkdir(parents=True, exist_ok=True)
    targets = models()
    shares, simulated = is_the_prior_sensible(targets["levelling off"])
    for scale, share in shares.items():
        print(f"Prior {scale:g} times as wide: {100 * share:.1f} % of simulated lengths are impossible.")
    evidences = {n: mcmc.evidence(t, seed=2, progress=False, **settings) for n, t in targets.items()}
    draws = {n: e.draws for n, e in evidences.items()}
    fits = {name: does_it_fit(tree) for name, tree in draws.items()}
    for name, (_, p, k) in fits.items():
        print(f"{name}: LOO-PIT is uniform with p = {p:.2f}, largest Pareto k {k.max():.2f}.")
    found = mcmc.compare_models(evidences)
    print(found)
    sensitivity, rows, limits = what_if_wider(targets["levelling off"], draws["levelling off"], **settings)
    print(sensitivity.to_string())
    for scale, row in rows.items():
        print(f"Prior {scale:g} times as wide: " + ", ".join(f"{n} {x:.3g}" for n, x in row.items()))
    pictures(out, simulated, draws, found)
    picture_of_the_fit(out, fits)
    picture_of_the_width(out, limits)
    return {"shares": shares, "evidences": evidences, "found": found, "sensitivity": sensitivity, "wider": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("."))
    main(parser.parse_args().out)
