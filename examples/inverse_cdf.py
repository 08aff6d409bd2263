r"""Draws from a curve: the inverse-CDF construction, step by step, on a density with two humps and a kink.

    f(x) = exp(-2 |x + 1.5|) + 0.6 exp(-(x - 1.5)^2 / 0.98)        unnormalised, on the real line
    F(x) = share of the area under f to the left of x              rises from 0 to 1
    Q(u) = the x with F(x) = u                                     its inverse
    X = Q(U), U uniform on (0, 1):   P(X <= x) = P(U <= F(x)) = F(x)

Equal steps of u are equal areas under f, so where f is high, Q is flat and many draws land. The draws come back as
chains of a direct sampler, with a verdict, and are compared with mean and standard deviation by closed form.

    python examples/inverse_cdf.py --out pictures
"""

import argparse
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure

import mcmc

NAME = "inverse_cdf"
BLUE, RED = "#1f6fb4", "#c8501e"


def log_density(x):
    """Log f(x): a Laplace hump and a normal one."""
    return jnp.logaddexp(-2 * jnp.abs(x + 1.5), math.log(0.6) - (x - 1.5) ** 2 / 0.98)


def fit():
    """The sampler."""
    return mcmc.InverseCDF.fit(log_density, support=(-math.inf, math.inf), breaks=(-1.5,))


def exact():
    """Mean and standard deviation by closed form: the areas of the humps are 1 and 0.6 · 0.7 √2π."""
    areas = np.array([1.0, 0.6 * 0.7 * math.sqrt(2 * math.pi)])
    weights, means, variances = areas / areas.sum(), np.array([-1.5, 1.5]), np.array([0.5, 0.49])
    mean = weights @ means
    return mean, math.sqrt(weights @ (variances + means**2) - mean**2)


def picture(s, draws):
    """The density over its draws, F with a ladder of uniforms, and Q."""
    x = np.linspace(-5, 5, 801)
    f, cdf = np.exp(s.log_prob(x)), np.asarray(s.cdf(x))
    u = (np.arange(20) + 0.5) / 20
    at = np.asarray(s.icdf(u))
    fig = Figure(figsize=(11, 4), layout="constrained")
    left, middle, right = fig.subplots(1, 3)
    left.hist(draws, bins=120, range=(-5, 5), density=True, color="#8fb8d8", label="draws")
    left.plot(x, f, color=BLUE, lw=2, label="f, normalised")
    left.plot(at, np.zeros(20), "|", color=RED, ms=12, clip_on=False, label="Q of 20 equal steps")
    left.set(title="density", xlabel="x", xlim=(-5, 5), ylim=(0, None))
    left.legend(frameon=False, fontsize=9)
    middle.plot(x, cdf, color=BLUE, lw=2)
    for a, b in zip(at, u, strict=True):
        middle.plot([-5, a, a], [b, b, 0], color=RED, lw=0.8, alpha=0.7)
    middle.set(title="CDF: from u across, down to x", xlabel="x", ylabel="u", xlim=(-5, 5), ylim=(0, 1))
    fine = np.linspace(0.0005, 0.9995, 1500)
    right.plot(fine, s.icdf(fine), color=BLUE, lw=2)
    right.plot(u, at, ".", color=RED)
    right.set(title="inverse CDF", xlabel="u", ylabel="x = Q(u)", xlim=(0, 1))
    for ax in (left, middle, right):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    s = fit()
    draws = mcmc.sample(s, seed=seed, **settings)
    summary = mcmc.summary(draws)
    mean, sd = exact()
    table = summary.loc[["x"], ["mean", "sd"]].assign(**{"exact mean": mean, "exact sd": sd})
    print(table.round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    checks = {"area under f": math.exp(s.log_normalizer), "largest |F(Q(u)) - u|": s.u_error}
    print("\nThe setup:", pandas.Series(checks).to_string(float_format=lambda v: f"{v:.6g}"), sep="\n")
    Path(out).mkdir(parents=True, exist_ok=True)
    many = np.asarray(s.sample(jax.random.key(seed), (200_000,)))
    picture(s, many).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draws through an inverse CDF")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
