"""Rejection on Gamma(2.5), millions of draws a second, beside SciPy's transformed density rejection.

    uv run python benchmarks/direct_rejection.py [--samples 16777216] [--repeats 7]

Rows:
  Rejection, a user's proposal    an exponential of mean 2.5: 60 % of the proposals are accepted
  Rejection.fit                   the envelope that is found; float32 and float64
  a while-loop a draw             the same exponential proposal, one `while_loop` a draw under vmap
  SciPy TransformedDensityRejection.rvs
                                  the same density and its derivative as Python functions; setup apart

Cases take turns, so that all of them meet the same load; medians.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time

import common
import jax
import jax.numpy as jnp
import numpy as np

from mcmc.direct.rejection.rejection import Rejection
from mcmc.random import philox
from mcmc.random.draws import uniform_open

SAMPLES = 2**24
SCALE = 2.5
LOG_BOUND = 2.5 * math.log(2.5) - 1.5 - math.lgamma(2.5)
SCIPY_MOST = 2**22  # its draws are float64 on the host


class Exponential:
    """An exponential of mean 2.5."""

    def sample(self, key, shape=()):
        return -SCALE * jnp.log(uniform_open(key, shape))

    def log_prob(self, x):
        return -x / SCALE - math.log(SCALE)


def log_density(x):
    return 1.5 * jnp.log(x) - x - math.lgamma(2.5)


def rows(samples: int, repeats: int = 5) -> list[dict]:
    """One row a case: draws, millions a second, seconds of setup and of the first call, acceptance rate."""
    cases = [case(samples) for case in (users_proposal, fitted, fitted_wide, loop_a_draw, scipys)]
    seconds = {i: [] for i in range(len(cases))}
    for _ in range(repeats):
        for i, (_, draw) in enumerate(cases):
            start = time.perf_counter()
            draw()
            seconds[i].append(time.perf_counter() - start)
    return [
        {**row, "millions_per_second": row["samples"] / statistics.median(seconds[i]) / 1e6}
        for i, (row, _) in enumerate(cases)
    ]


def a_key():
    return jax.random.wrap_key_data(jnp.arange(4, dtype=jnp.uint32), impl=philox.implementation)


def ours(what, sampler, samples, setup, wide=False):
    """A row and a function that draws; in parts of 2²⁸, as memory allows."""
    part = min(samples, 2**28)

    def draw():
        with jax.enable_x64(wide):
            for i in range(-(-samples // part)):
                jax.block_until_ready(sampler.sample(jax.random.fold_in(a_key(), i), (part,)))

    start = time.perf_counter()
    with jax.enable_x64(wide):
        info = sampler.sample_with_info(a_key(), (part,))[1]
    first = time.perf_counter() - start
    row = {"what": what, "samples": samples, "setup_seconds": setup, "first_call_seconds": first}
    return {**row, "acceptance_rate": info.acceptance_rate, "proof": sampler.proof}, draw


def users_proposal(samples):
    return ours("Rejection, a user's proposal", Rejection(log_density, Exponential(), LOG_BOUND), samples, 0.0)


def fitted(samples, wide=False):
    start = time.perf_counter()
    sampler = Rejection.fit(log_density, (0.0, math.inf))
    what = f"Rejection.fit, {'float64' if wide else 'float32'}"
    return ours(what, sampler, samples, time.perf_counter() - start, wide)


def fitted_wide(samples):
    return fitted(samples, wide=True)


def loop_a_draw(samples):
    """What one writes first: every lane loops until its own draw is accepted, and all wait for the last."""
    lanes = min(samples, 2**18)
    proposal = Exponential()

    def one(key):
        def again(state):
            return ~state[2]

        def tried(state):
            key, _, _ = state
            key, a, b = jax.random.split(key, 3)
            y = proposal.sample(a)
            return key, y, jnp.log(uniform_open(b)) < log_density(y) - proposal.log_prob(y) - LOG_BOUND

        return jax.lax.while_loop(again, tried, (key, jnp.zeros(()), jnp.array(False)))[1]

    draw = jax.jit(lambda key: jax.vmap(one)(jax.random.split(key, lanes)))
    start = time.perf_counter()
    jax.block_until_ready(draw(a_key()))
    first = time.perf_counter() - start
    row = {"what": "a while-loop a draw", "samples": lanes, "setup_seconds": 0.0, "first_call_seconds": first}
    return {**row, "acceptance_rate": math.exp(-LOG_BOUND)}, lambda: jax.block_until_ready(draw(a_key()))


class Gamma:
    """The density as SciPy takes it."""

    def pdf(self, x):
        return x**1.5 * math.exp(-x)

    def dpdf(self, x):
        return (1.5 * x**0.5 - x**1.5) * math.exp(-x)


def scipys(samples):
    from scipy.stats.sampling import TransformedDensityRejection

    n = min(samples, SCIPY_MOST)
    start = time.perf_counter()
    law = TransformedDensityRejection(
        Gamma(), domain=(0, np.inf), center=1.5, max_squeeze_hat_ratio=0.999, random_state=np.random.default_rng(1)
    )
    setup = time.perf_counter() - start
    start = time.perf_counter()
    law.rvs(n)
    row = {"what": "SciPy TransformedDensityRejection.rvs", "samples": n, "setup_seconds": setup}
    return {**row, "first_call_seconds": time.perf_counter() - start}, lambda: law.rvs(n)


def table(found):
    """The rows as a table."""
    cells = [
        [
            row["what"],
            f"{row['samples']:,}",
            common.number(row["millions_per_second"]),
            common.number(row["setup_seconds"]),
            common.number(row["first_call_seconds"]),
            common.number(row.get("acceptance_rate"), 4),
        ]
        for row in found
    ]
    common.show("Gamma(2.5)", ["", "draws", "M/s", "setup, s", "first call, s", "acceptance rate"], cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=lambda text: int(float(text)), default=SAMPLES)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", default=str(common.RESULTS / "direct_rejection.json"))
    options = parser.parse_args()
    found = rows(options.samples, options.repeats)
    table(found)
    path = common.save(options.out, f"rejection on Gamma(2.5), medians of {options.repeats}", found)
    print(f"written: {path.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
