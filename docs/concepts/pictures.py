"""The pictures of the pages on concepts: `python docs/concepts/pictures.py [name ...]`. Each is made by the package."""

import sys
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

import mcmc

IMAGES = Path(__file__).parent / "images"
GREY = "0.75"


def axes(n=2, width=7.2, height=2.7):
    """A figure with n plain axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    found = np.atleast_1d(figure.subplots(1, n))
    for ax in found:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, found


def normal(dim=1):
    """N(0, 1)."""
    return mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(dim)})


def funnel():
    """log tau ~ N(0, 1.5), theta ~ N(0, tau), 9 of them: as in Neal's funnel."""

    def log_density(p):
        scale = -0.5 * (p["log_tau"] / 1.5) ** 2
        return scale + jnp.sum(-0.5 * (p["theta"] * jnp.exp(-p["log_tau"])) ** 2 - p["log_tau"])

    return mcmc.Target(log_density, {"log_tau": mcmc.real(), "theta": mcmc.real(9)})


def run(target, kernel=None, **settings):
    """Draws, whatever the verdict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mcmc.sample(target, kernel, **{"seed": 1, "progress": False, **settings})


def chain():
    figure, (left, right) = axes()
    start = {"x": np.array([[-8.0], [0.0], [8.0]])}
    kernel = mcmc.RandomWalk(step_size=1.0, metric=[1.0])
    x = run(normal(), kernel, chains=3, warmup=0, draws=150, init=start, superchains=0).posterior["x"].values[..., 0]
    left.plot(x.T, lw=0.8)
    left.set(xlabel="draw", ylabel="x")
    right.hist(run(normal(), chains=4).posterior["x"].values.ravel(), 40, density=True, color=GREY)
    grid = np.linspace(-8, 8, 400)
    right.plot(grid, stats.norm.pdf(grid), "k", lw=1)
    right.set(xlabel="x", title="where chains spend their time")
    return figure


def warmup():
    figure, (ax,) = axes(1)
    scale = jnp.array([0.01, 1.0, 100.0])
    target = mcmc.Target(lambda p: -0.5 * jnp.sum((p["x"] / scale) ** 2), {"x": mcmc.real(3)})
    draws = run(target, chains=8, draws=100, warmup=120, save_warmup=True, superchains=0)
    early = draws["warmup_sample_stats"]["lp"].values
    ax.plot(np.arange(early.shape[1]), -early.T + 1, lw=0.7)
    ax.plot(early.shape[1] + np.arange(100), -draws.sample_stats["lp"].values.T + 1, lw=0.7, color="k", alpha=0.3)
    ax.axvline(early.shape[1], color="k", ls=":")
    ax.set(yscale="log", xlabel="iteration: warmup, then draws", ylabel="1 - log density")
    return figure


def rhat():
    figure, panels = axes()
    good = run(normal(), chains=4, draws=200).posterior["x"].values[..., 0]
    apart = good + np.array([0.0, 0.0, 2.5, 2.5])[:, None]
    for ax, x in zip(panels, (good, apart), strict=True):
        ax.plot(x.T, lw=0.6)
        ax.set(title=f"R-hat {float(mcmc.rhat(x)):.2f}", xlabel="draw", ylim=(-4, 6))
    return figure


def ess():
    figure, (ax,) = axes(1)
    kernels = {"RandomWalk": mcmc.RandomWalk(), "HMC": mcmc.HMC()}
    for name, kernel in kernels.items():
        x = run(normal(5), kernel, chains=16, draws=1000).posterior["x"].values[..., 0]
        centred = x - x.mean()
        acf = [np.mean(centred[:, : 1000 - k] * centred[:, k:]) / x.var() for k in range(40)]
        ax.plot(acf, "o-", ms=3, lw=1, label=f"{name}: 16,000 draws are worth {float(mcmc.ess(x)):,.0f}")
    ax.axhline(0, color="k", lw=0.5)
    ax.legend(fontsize=8, frameon=False)
    ax.set(xlabel="draws apart", ylabel="autocorrelation")
    return figure


def mcse():
    figure, (ax,) = axes(1)
    one = None
    for seed in range(40):
        x = run(normal(), chains=16, draws=50, seed=seed).posterior["x"].values[..., 0]
        one = x if one is None else one
        ax.plot(seed, x.mean(), "ko", ms=3)
    error = float(mcmc.mcse(one))
    ax.axhspan(-2 * error, 2 * error, color=GREY, alpha=0.6, lw=0)
    ax.axhline(0, color="k", lw=0.5)
    ax.set(xlabel="seed", ylabel="mean by one run", title="exact mean 0 ± 2 MCSE, as the first run states it")
    return figure


def divergence():
    figure, (ax,) = axes(1, 4.4, 3.2)
    draws = run(funnel(), mcmc.HMC(target_acceptance=0.7), chains=32, draws=200, geometry="affine")
    x, y = draws.posterior["theta"].values[..., 0], draws.posterior["log_tau"].values
    bad = draws.sample_stats["diverging"].values
    ax.plot(x[~bad][::3], y[~bad][::3], ".", ms=2, color=GREY)
    ax.plot(x[bad], y[bad], ".", ms=4, color="tab:red", label="diverging")
    ax.set(xlim=(-15, 15), xlabel="theta[0]", ylabel="log tau")
    ax.legend(fontsize=8, frameon=False)
    return figure


def energy():
    figure, panels = axes()
    student = mcmc.Target(lambda p: -16 * jnp.log1p(jnp.sum(p["x"] ** 2) / 2), {"x": mcmc.real(30)})
    for ax, target, name in zip(panels, (normal(30), student), ("normal", "Student t, 2 degrees"), strict=True):
        e = run(target, mcmc.HMC(), chains=16, draws=1000).sample_stats["energy"].values
        change = np.diff(e, axis=1)
        edges = np.linspace(-25, 45, 71)
        ax.hist((e - e.mean()).ravel(), edges, density=True, color=GREY, label="energy")
        ax.hist(change.ravel(), edges, density=True, histtype="step", color="k", label="its change")
        ax.set(title=f"{name}: E-BFMI {np.mean(change**2) / e.var():.2f}", yticks=[])
        ax.legend(fontsize=8, frameon=False)
    return figure


def metric():
    figure, panels = axes(2, 6.4, 3)
    precision = np.linalg.inv(np.array([[4.0, 1.9], [1.9, 1.0]]))
    target = mcmc.Target(lambda p: -0.5 * p["x"] @ precision @ p["x"], {"x": mcmc.real(2)})
    x = run(target, chains=32, draws=60).posterior["x"].values.reshape(-1, 2)
    seen = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    for ax, points, name in zip(panels, (x, seen), ("as it is", "behind the metric"), strict=True):
        ax.plot(*points.T, ".", ms=2, color="k", alpha=0.5)
        ax.set(title=name, xlim=(-6, 6), ylim=(-6, 6), aspect="equal")
    return figure


def noncentring():
    figure, (left, right) = axes(2, 6.4, 3)
    draws = run(funnel(), chains=64, draws=60)
    theta, log_tau = draws.posterior["theta"].values[..., 0].ravel(), draws.posterior["log_tau"].values.ravel()
    left.plot(theta, log_tau, ".", ms=2, color="k", alpha=0.5)
    left.set(title="centred", xlabel="theta", ylabel="log tau", xlim=(-15, 15))
    right.plot(theta * np.exp(-log_tau), log_tau, ".", ms=2, color="k", alpha=0.5)
    right.set(title="non-centred", xlabel="z = theta / tau", xlim=(-5, 5))
    return figure


def temperature():
    figure, (ax,) = axes(1)
    grid = np.linspace(-12, 12, 600)
    log_p = np.logaddexp(np.log(0.7) - 0.5 * (grid - 5) ** 2, np.log(0.3) - 0.5 * (grid + 5) ** 2)
    reference = -0.5 * (grid / 5) ** 2
    for beta in (1.0, 0.4, 0.15, 0.05, 0.0):
        p = np.exp(beta * log_p + (1 - beta) * reference)
        ax.plot(grid, p / p.sum() / (grid[1] - grid[0]), lw=1.2, color=str(0.8 * (1 - beta)), label=f"β = {beta:g}")

    def two(p):
        x = p["x"]
        return jnp.logaddexp(jnp.log(0.7) - 0.5 * (x - 5) ** 2, jnp.log(0.3) - 0.5 * (x + 5) ** 2)

    kernel = mcmc.Tempered(mcmc.HMC(), temperatures=8, reference_scale=5.0)
    x = run(mcmc.Target(two, {"x": mcmc.real()}), kernel, draws=500).posterior["x"].values
    ax.hist(x.ravel(), 80, density=True, color="tab:blue", alpha=0.3, label="draws of mcmc.Tempered")
    ax.legend(fontsize=8, frameon=False)
    ax.set(xlabel="x", yticks=[])
    return figure


def evidence():
    figure, (ax,) = axes(1)
    y = np.linspace(-12, 12, 25)
    for name, scale in (("simple: prior sd 1", 1.0), ("flexible: prior sd 5", 5.0)):
        log_prior = lambda p, d, s=scale: -0.5 * (p["mu"] / s) ** 2 - jnp.log(s) - 0.9189385  # noqa: E731
        likelihood = lambda p, d: {"y": -0.5 * (d["y"] - p["mu"]) ** 2 - 0.9189385}  # noqa: E731
        target = mcmc.Target(
            None, {"mu": mcmc.real()}, data={"y": np.zeros(1)}, log_prior=log_prior, log_likelihood=likelihood
        )
        found = []
        for value in y:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                one = mcmc.evidence(target.with_data({"y": np.array([value])}), chains=64, seed=1, progress=False)
            found.append(np.exp(one.log_evidence))
        (line,) = ax.plot(y, found, "o", ms=3, label=name)
        ax.plot(grid := np.linspace(-12, 12, 200), stats.norm.pdf(grid, 0, np.hypot(1, scale)), color=line.get_color())
    ax.legend(fontsize=8, frameon=False)
    ax.set(xlabel="the one observation", ylabel="evidence (dots: mcmc.evidence)")
    return figure


NAMES = "chain warmup rhat ess mcse divergence energy metric noncentring temperature evidence"

if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NAMES.split():
        globals()[name]().savefig(IMAGES / f"{name}.png", dpi=75)
        print(name, (IMAGES / f"{name}.png").stat().st_size)
