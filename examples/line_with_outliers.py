r"""A straight line through points of which some are wrong, and whose error bars may be misjudged.

The 20 points of Hogg, Bovy & Lang (2010), table 1, with their errors in y (those in x are left out, as in their
exercise 6). A point comes from the line with probability 1 - P, else from a broad background; the errors of the good
points are stated wrong by a common factor s:

    y ~ (1 - P) N(m x + b, s sigma) + P N(Y, sqrt(V + sigma^2))

    angle = atan m ~ U(-pi/2, pi/2)    b cos(angle) ~ N(0, 500)    P ~ U(0, 1/2)
    log s ~ N(0, 0.5)                  Y ~ N(400, 200)             sqrt(V) ~ N(0, 200) above 0

A uniform angle prefers no direction; a uniform slope would prefer steep lines. The 20 labels are summed out; they come
back as `wrong`, the probability that a point belongs to the background. Compared with weighted least squares over all
points and over points 5 to 20, the paper's exercises 2 and 1.

    python examples/line_with_outliers.py --out pictures
"""

import argparse
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from jax.scipy.stats import norm
from matplotlib.figure import Figure

import mcmc

NAME = "line_with_outliers"
POINTS = np.array(  # x, y, sigma of y
    [
        [201, 592, 61],
        [244, 401, 25],
        [47, 583, 38],
        [287, 402, 15],
        [203, 495, 21],
        [58, 173, 15],
        [210, 479, 27],
        [202, 504, 14],
        [198, 510, 30],
        [158, 416, 16],
        [165, 393, 14],
        [201, 442, 25],
        [157, 317, 52],
        [131, 311, 16],
        [166, 400, 34],
        [160, 337, 31],
        [186, 423, 42],
        [125, 334, 26],
        [218, 533, 16],
        [146, 344, 22],
    ],
    dtype=float,
)


def line(p):
    """Slope m and intercept b of the line with this angle and distance from the origin."""
    return jnp.tan(p["angle"]), p["distance"] / jnp.cos(p["angle"])


def parts(p, data):
    """Log densities of each point as a good one and as a wrong one, weights included: two arrays (point,)."""
    m, b = line(p)
    good = norm.logpdf(data["y"], m * data["x"] + b, p["s"] * data["sigma"])
    wrong = norm.logpdf(data["y"], p["Y"], jnp.hypot(p["spread"], data["sigma"]))
    return jnp.log1p(-p["P"]) + good, jnp.log(p["P"]) + wrong


def log_density(p, data):
    """The priors, and each point from either part."""
    prior = norm.logpdf(p["distance"], 0, 500) + norm.logpdf(p["Y"], 400, 200) + norm.logpdf(p["spread"], 0, 200)
    prior += norm.logpdf(jnp.log(p["s"]), 0, 0.5) - jnp.log(p["s"])
    return prior + jnp.sum(jnp.logaddexp(*parts(p, data)))


def derived(p, data):
    """Slope, intercept, and the probability of each point that it is wrong."""
    m, b = line(p)
    good, wrong = parts(p, data)
    return {"m": m, "b": b, "wrong": jax.nn.sigmoid(wrong - good)}


target = mcmc.Target(
    log_density,
    {
        "angle": mcmc.interval(-math.pi / 2, math.pi / 2),
        "distance": mcmc.real(),
        "s": mcmc.positive(),
        "P": mcmc.interval(0.0, 0.5),
        "Y": mcmc.real(),
        "spread": mcmc.positive(),
    },
    data={"x": POINTS[:, 0], "y": POINTS[:, 1], "sigma": POINTS[:, 2]},
    derived=derived,
    dims={"wrong": ["point"]},
    coords={"point": np.arange(1, 21)},
)


def least_squares(points):
    """The line of weighted least squares: (m, b) and their standard errors."""
    a = np.stack([points[:, 0], np.ones(len(points))], axis=1) / points[:, 2:]
    covariance = np.linalg.inv(a.T @ a)
    return covariance @ a.T @ (points[:, 1] / points[:, 2]), np.sqrt(np.diag(covariance))


def compare(summary):
    """Slope and intercept by this model and by least squares."""
    rows = {"this model": summary.loc[["m", "b"], ["mean", "sd"]].to_numpy().T}
    rows["least squares, points 5 to 20"] = least_squares(POINTS[4:])
    rows["least squares, all points"] = least_squares(POINTS)
    columns = ["m", "sd of m", "b", "sd of b"]
    return pandas.DataFrame({k: [v[0][0], v[1][0], v[0][1], v[1][1]] for k, v in rows.items()}, index=columns).T


def picture(draws):
    """Left the points, shaded by their probability of being wrong, and the line; right that probability."""
    posterior = draws["posterior"]
    wrong = posterior["wrong"].mean(("chain", "draw")).values
    m, b = posterior["m"].values.ravel(), posterior["b"].values.ravel()
    fig = Figure(figsize=(10, 5.2), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(2.2, 1))
    x = np.linspace(20, 310, 60)
    low, middle, high = np.quantile(m[:4000, None] * x + b[:4000, None], (0.05, 0.5, 0.95), axis=0)
    left.fill_between(x, low, high, color="#1f6fb4", alpha=0.25, lw=0, label="line, 90 %")
    left.plot(x, middle, color="#1f6fb4", lw=2, label="line, median")
    slope, intercept = least_squares(POINTS)[0]
    left.plot(x, slope * x + intercept, "--", color="0.5", lw=1.5, label="least squares, all points")
    left.errorbar(*POINTS[:, :2].T, POINTS[:, 2], fmt="none", ecolor="0.35", lw=1)
    left.scatter(*POINTS[:, :2].T, c=wrong, cmap="RdYlGn_r", vmin=0, vmax=1, s=60, edgecolor="black", zorder=3)
    for i in np.flatnonzero(wrong > 0.5):
        left.annotate(f"{i + 1}", POINTS[i, :2], xytext=(9, 4), textcoords="offset points", fontsize=11)
    left.set(xlabel="x", ylabel="y", xlim=(20, 310), ylim=(40, 740))
    left.legend(frameon=False, loc="lower right", fontsize=10)
    right.barh(np.arange(1, 21), wrong, color=[("#c8501e" if w > 0.5 else "#8fb8d8") for w in wrong])
    right.set(xlabel="probability that the point is wrong", ylabel="point", xlim=(0, 1), ylim=(20.6, 0.4))
    right.set_yticks(range(1, 21), labels=[str(i) for i in range(1, 21)], fontsize=8)
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle("A line with outliers (Hogg, Bovy & Lang 2010)", fontsize=13)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, seed=seed, **settings)
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    table = compare(summary)
    print("\nSlope and intercept:", table.round(3).to_string(), sep="\n")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(draws).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A straight line with outliers")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
