"""Eight schools for every tool of this folder: the data, the settings of the command line, the line of JSON.

The model, non-centred, in 10 dimensions: mu ~ N(0, 5), tau ~ HalfCauchy(0, 5), theta_trans ~ N(0, 1) eight
times, y ~ N(mu + tau * theta_trans, sigma). As a flat vector: mu, log tau, theta_trans.
"""

import argparse
import json
import sys
import time

Y = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
SIGMA = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]


def log_density(xp, y, sigma):
    """The log density of a flat position, or of many (last axis), with the arrays of `xp`."""

    def one(q):
        mu, log_tau, theta_trans = q[..., 0], q[..., 1], q[..., 2:]
        tau = xp.exp(log_tau)
        prior = -0.5 * (mu / 5) ** 2 - xp.log1p((tau / 5) ** 2) + log_tau - 0.5 * (theta_trans**2).sum(-1)
        z = (y - (mu[..., None] + tau[..., None] * theta_trans)) / sigma
        return prior - 0.5 * (z**2).sum(-1)

    return one


class Clock:
    """Seconds of the parts of a process, one after another."""

    def __init__(self):
        self.seconds = {}
        self._last = time.perf_counter()

    def lap(self, part):
        """Count the seconds since the last lap as those of `part`."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._last = now


def settings(**defaults):
    """The command line: --seed, --save, and the tool's own settings with their defaults."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="write the draws (chain, draw, 10) to this .npy file, untimed")
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args()


def finish(tool, clock, mean, sd, ess, draws, options):
    """Print the summary on stderr for people and as one line of JSON on stdout; save the draws if asked.

    `mean`, `sd`: of mu and tau; `ess`: the smallest effective sample size, as the tool itself estimates it;
    `draws`: a function that gives the draws (chain, draw, 10) as mu, log tau, theta_trans.
    """
    for name, m, s in zip(("mu", "tau"), mean, sd, strict=True):
        print(f"{name:4} {m:6.2f} ± {s:.2f}", file=sys.stderr)
    print(f"min ESS {ess:.0f}", file=sys.stderr)
    line = {
        "tool": tool,
        "seconds": clock.seconds,
        "min_ess": float(ess),
        "mean": {"mu": float(mean[0]), "tau": float(mean[1])},
        "sd": {"mu": float(sd[0]), "tau": float(sd[1])},
    }
    print(json.dumps(line), flush=True)
    if options.save:
        import numpy as np

        np.save(options.save, np.asarray(draws()))
