"""The pictures of the tutorial, one function a page: it is given the names of the page's program."""

import numpy as np
from drawing import GREY, axes, flat, legend


def page_01_posterior(names):
    figure, ax = axes()
    mu = names["mu"]
    for log_density, label in (
        ("log_prior", "prior"),
        ("log_likelihood", "likelihood"),
        ("log_posterior", "posterior"),
    ):
        p = np.exp(names[log_density] - names[log_density].max())
        ax.plot(mu, p / p.sum() / (mu[1] - mu[0]), label=label, lw=2 if label == "posterior" else 1)
    ax.plot(names["y"], np.zeros(15), "k|", ms=12)
    ax.set(xlabel="mean difference mu, eighths of an inch", yticks=[], xlim=(-70, 90))
    legend(ax)
    return figure


def page_02_log_density(names):
    import jax

    figure, ax = axes(1, 5, 3.2)
    mu, sigma = np.linspace(-10, 50, 80), np.linspace(20, 75, 80)
    of_grid = jax.vmap(
        jax.vmap(lambda m, s: names["log_density"]({"mu": m, "sigma": s}, {"y": names["y"]}), (0, None)), (None, 0)
    )
    values = np.asarray(of_grid(mu, sigma))
    ax.contourf(mu, sigma, values, values.max() - np.array([20, 8, 5, 3, 2, 1, 0.5, 0]), cmap="Blues")
    ax.set(xlabel="mu", ylabel="sigma")
    return figure


def page_03_supports(names):
    figure, (left, right) = axes(2)
    sigma = flat(names, "sigma")
    left.hist(sigma, 60, density=True, color=GREY)
    left.set(xlabel="sigma, as you see it", yticks=[])
    right.hist(np.log(sigma), 60, density=True, color=GREY)
    right.set(xlabel="log sigma, as the sampler moves", yticks=[])
    return figure


def page_04_sample(names):
    figure, panels = axes(2)
    for ax, name in zip(panels, ("mu", "sigma"), strict=True):
        ax.plot(names["draws"].posterior[name].values[:4, :60].T, lw=0.6)
        ax.set(xlabel="draw", title=f"{name}: 4 chains of 64")
    return figure


def page_05_predictive_checks(names):
    figure, (left, right) = axes(2)
    left.hist(names["least"].values.ravel(), np.linspace(-160, 40, 50), color=GREY)
    left.axvline(names["y"].min(), color="tab:red")
    left.set(xlabel="least of 15, simulated; red: seen", yticks=[])
    right.hist(names["skew"].values.ravel(), 50, color=GREY)
    right.axvline(names["seen"], color="tab:red")
    right.set(xlabel="skewness", yticks=[])
    return figure


def page_06_something_goes_wrong(names):
    figure, (left, right) = axes(2)
    for run, color, label in (("good", GREY, "default"), ("bad", "tab:red", "plain geometry")):
        theta, tau = flat(names, "theta", run)[::4, 0], flat(names, "tau", run)[::4]
        left.plot(theta, tau, ".", ms=1.5, color=color, label=label)
    left.set(yscale="log", ylim=(0.05, 200), xlim=(-60, 90), xlabel="theta of pot I", ylabel="tau")
    legend(left)
    right.plot(*flat(names, "mean", "run")[::5].T, ".", ms=2, color="tab:red", label="unordered: two modes")
    right.plot(*flat(names, "mean", "ordered")[::5].T, ".", ms=2, color=GREY, label="ordered")
    right.set(xlabel="mean[0]", ylabel="mean[1]")
    legend(right)
    return figure


def page_07_compare(names):
    figure, ax = axes()
    for name, one in names["found"].items():
        ax.hist(one.draws.posterior["mu"].values.ravel(), 60, density=True, histtype="step", lw=1.5, label=name)
    ax.set(xlabel="mean difference mu", yticks=[])
    legend(ax)
    return figure
