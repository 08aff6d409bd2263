"""The picture of the page on geometry: `python docs/geometry_picture.py`.

A funnel of which nothing is known but its log density: draws as the target has them, and the same draws as the kernel
sees them behind the map that warmup found.
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import mcmc
from mcmc.warmup.geometry.triangular_map import forward, from_arrays

IMAGE = Path(__file__).parent / "images" / "geometry.png"


def log_density(p):
    """log tau ~ N(0, 1.5), theta ~ N(0, tau): Neal's funnel in 10 dimensions."""
    log_tau = jnp.log(p["tau"])
    scale = -0.5 * (log_tau / 1.5) ** 2 - log_tau  # of tau: the change of variables from log tau
    return scale + jnp.sum(-0.5 * (p["theta"] / p["tau"]) ** 2 - log_tau)


def positions(**settings):
    """Draws (draw, 10) of log tau and theta, and the same as the kernel sees them."""
    target = mcmc.Target(log_density, {"tau": mcmc.positive(), "theta": mcmc.real(9)})
    draws = mcmc.sample(target, seed=1, **settings)
    posterior = draws["posterior"]
    y = np.concatenate([np.log(posterior["tau"].values)[..., None], posterior["theta"].values], -1).reshape(-1, 10)
    layers = from_arrays({name: a.values for name, a in draws["run_state"].data_vars.items()})
    return draws.attrs["geometry"], y, forward(layers, y, np.zeros_like(y))[0]


def picture(y, z):
    """Left the first two coordinates of the target, right of the kernel, in which a step has one size."""
    fig = Figure(figsize=(10, 4.6), layout="constrained")
    shown = slice(None, None, 3)
    for ax, rows in zip(fig.subplots(1, 2), (y[shown], z[shown]), strict=True):
        ax.scatter(
            *rows[:, :2].T, s=4, c=y[shown, 0], cmap="viridis", vmin=-4, vmax=4, alpha=0.5, lw=0, rasterized=True
        )
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    left, right = fig.axes
    left.set(xlabel="log tau", ylabel="theta[0]", xlim=(-5, 5), ylim=(-30, 30), title="as the target has it")
    right.set(xlabel="log tau", ylabel="z of theta[0]", title="as the kernel sees it")
    right.set_aspect("equal", adjustable="datalim")
    return fig


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=IMAGE)
    text, *rows = positions()
    print(text)
    picture(*rows).savefig(parser.parse_args().out, dpi=90)
