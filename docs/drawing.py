"""What the pictures of the pages share: plain axes, draws of all chains, bands."""

import numpy as np
from matplotlib.figure import Figure

GREY = "0.75"


def axes(n=1, width=7.2, height=2.9):
    """A figure with n plain axes; one alone is returned by itself."""
    figure = Figure(figsize=(width, height), layout="constrained")
    found = np.atleast_1d(figure.subplots(1, n))
    for ax in found:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=8)
    return figure, found[0] if n == 1 else found


def flat(names, parameter, draws="draws"):
    """All draws of a parameter, (sample, ...)."""
    x = names[draws].posterior[parameter].values
    return x.reshape(-1, *x.shape[2:])


def band(ax, x, curves, color="tab:blue", label=None):
    """The median of curves (sample, x) and their 90 % band."""
    low, middle, high = np.quantile(curves, [0.05, 0.5, 0.95], axis=0)
    ax.fill_between(x, low, high, color=color, alpha=0.25, lw=0)
    ax.plot(x, middle, color=color, lw=1.5, label=label)


def legend(ax):
    """A plain legend."""
    ax.legend(fontsize=8, frameon=False)
