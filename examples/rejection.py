r"""Rejection sampling as it is drawn on a blackboard: points under an envelope, of which those under the curve stay.

The density is two normals of which nothing is used but its logarithm, without its constant:

    log f(x) = log(3 exp(-(x + 2)^2 / 0.5) + 2 exp(-(x - 1.5)^2 / 3))

Above, a student's envelope, one wide normal times c. A proposal x ~ g is raised to a height u c g(x), u uniform: the
points fill the area under the envelope evenly. Those under f are kept, and their x has density f. Below, the envelope
that `Rejection.fit` finds by itself, in pieces: hardly a point is lost.

    python examples/rejection.py --out pictures
"""

import argparse
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from matplotlib.figure import Figure
from scipy import stats

from mcmc.direct.rejection.rejection import Rejection

NAME = "rejection"
LOC, SCALE = -0.6, 2.4


def log_density(x):
    """Two hills, without their constant."""
    return jnp.logaddexp(math.log(3) - (x + 2) ** 2 / 0.5, math.log(2) - (x - 1.5) ** 2 / 3)


class Wide:
    """The student's proposal: one normal that is wide enough."""

    def sample(self, key, shape=()):
        return LOC + SCALE * jax.random.normal(key, shape)

    def log_prob(self, x):
        return -0.5 * ((x - LOC) / SCALE) ** 2 - math.log(SCALE * math.sqrt(2 * math.pi))


def best_log_bound():
    """The maximum of log f - log g, on a fine grid and a little more."""
    x = jnp.linspace(-12, 12, 200_001)
    return float(jnp.max(log_density(x) - Wide().log_prob(x))) + 1e-4


def samplers():
    """The student's and the one that finds its own envelope."""
    return {
        "one normal": Rejection(log_density, Wide(), best_log_bound()),
        "Rejection.fit": Rejection.fit(log_density, (-math.inf, math.inf)),
    }


def exact_cdf(x):
    """The distribution function, from the weights of the two normals."""
    first, second = 3 * math.sqrt(0.5 * math.pi), 2 * math.sqrt(3 * math.pi)
    parts = first * stats.norm.cdf(x, -2, 0.5), second * stats.norm.cdf(x, 1.5, math.sqrt(1.5))
    return sum(parts) / (first + second)


def points(sampler, key, n):
    """Proposals, their heights under the envelope, and which of them are kept."""
    x = sampler.proposal.sample(key, (n,))
    envelope = sampler.log_bound + sampler.proposal.log_prob(x)
    height = jax.random.uniform(jax.random.fold_in(key, 1), (n,)) * jnp.exp(envelope)
    return np.asarray(x), np.asarray(height), np.asarray(height < jnp.exp(log_density(x)))


def picture(found, draws, key):
    """For each sampler: the envelope, the density, and points kept and rejected; at the right, all draws."""
    fig = Figure(figsize=(11, 7), layout="constrained")
    axes = fig.subplots(2, 2, width_ratios=(1.8, 1))
    x = np.linspace(-7, 7, 2001)
    f = np.exp(np.asarray(log_density(x)))
    area = 3 * math.sqrt(0.5 * math.pi) + 2 * math.sqrt(3 * math.pi)
    for (left, right), (name, sampler) in zip(axes, found.items(), strict=True):
        at, height, kept = points(sampler, key, 1000)
        left.scatter(at[~kept], height[~kept], s=7, color="#c8501e", label="rejected")
        left.scatter(at[kept], height[kept], s=4, color="#1f6fb4", alpha=0.55, label="kept")
        envelope = np.exp(sampler.log_bound + np.asarray(sampler.proposal.log_prob(x)))
        left.plot(x, f, color="#1f6fb4", lw=2.5, label="density f(x)")
        left.plot(x, envelope, color="black", lw=1, label="envelope c g(x)")
        left.set(xlim=(-7, 7), ylim=(0, None), title=f"{name}: {kept.mean():.1%} of these points kept", xlabel="x")
        right.hist(draws[name], bins=140, range=(-7, 7), density=True, color="#8fb8d8", label="draws")
        right.plot(x, f / area, color="#1f6fb4", lw=1.5, label="exact")
        right.set(xlim=(-7, 7), xlabel="x", title=f"{len(draws[name]):,} draws")
        right.legend(frameon=False, fontsize=9)
        for ax in (left, right):
            ax.grid(alpha=0.25)
            ax.set_axisbelow(True)
            ax.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False, fontsize=9, loc="upper right")
    return fig


def run(out=".", seed=1, samples=1_000_000):
    """Draw with both, compare with the exact law, save the picture; returns the draws and the table."""
    key, found, rows, draws = jax.random.key(seed), samplers(), {}, {}
    for name, sampler in found.items():
        x, info = sampler.sample_with_info(key, (samples,))
        draws[name] = np.asarray(x, float)
        rows[name] = {
            "acceptance rate": info.acceptance_rate,
            "proposed": info.proposed,
            "violations": info.violations,
            "KS p-value": stats.kstest(draws[name], exact_cdf).pvalue,
        }
    table = pandas.DataFrame(rows).T.astype({"proposed": int, "violations": int})
    print(table.round(4).to_string())
    print(f"\nRejection.fit: {found['Rejection.fit'].proof}, {len(found['Rejection.fit'].proposal.edges[0])} pieces")
    good = bool((table["KS p-value"] > 0.001).all() and (table["violations"] == 0).all())
    print("\nGood: both follow the exact law." if good else "\nNot good: see the p-values.")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(found, draws, key).savefig(Path(out) / f"{NAME}.png", dpi=75)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rejection sampling, drawn")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
