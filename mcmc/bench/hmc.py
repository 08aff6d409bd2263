"""Benchmark of Hamiltonian Monte Carlo on a logistic regression: gradients and the least effective draws a second.

The kernel is tuned once, with 64 chains, and then fixed: what a draw is worth does not depend on how many chains run
beside it, so the effective draws a gradient are measured in that run and hold for every number of chains.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.bench import floors
from mcmc.bench.chains import LEAST, begun
from mcmc.bench.measure import DTYPE, Plan, Row
from mcmc.diagnostics.stats import ess
from mcmc.errors import ConvergenceWarning
from mcmc.kernels.hmc import HMC
from mcmc.sampling.main import sample
from mcmc.storage import datatree
from mcmc.target.support import real
from mcmc.target.target import Target

PART, UNIT = "HMC", "gradient"
DIM, ROWS = 10, 100
TUNED_WITH = 64


@dataclass(frozen=True)
class Tuned:
    """A tuned kernel, draws to start from (draw, dim), and the least effective draws that a gradient gives."""

    kernel: Any
    draws: np.ndarray
    ess_per_gradient: float
    gradients_per_draw: float


def regression(dim: int = DIM, rows: int = ROWS) -> Target:
    """A logistic regression with standard normal priors, on data made up from a fixed seed."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(rows, dim)).astype(np.float32)
    y = (rng.uniform(size=rows) < 1 / (1 + np.exp(-x @ rng.normal(size=dim)))).astype(np.float32)

    def log_density(p: dict, data: dict) -> jax.Array:
        logits = data["x"] @ p["beta"]
        return jnp.sum(data["y"] * logits - jax.nn.softplus(logits)) - 0.5 * jnp.sum(p["beta"] ** 2)

    return Target(log_density, {"beta": real(dim)}, data={"x": x, "y": y})


def rows(plan: Plan) -> list[Row]:
    """A row for each number of chains."""
    target = regression()
    plan.say(f"{PART}: tuning")
    tuned, found, slowest = tune(target), [], 0.0
    for chains in plan.chains:
        case = f"{chains:,} chains"
        expected = slowest * chains * LEAST * tuned.gradients_per_draw * (plan.repeats + 2)
        if expected > plan.most:
            note = f"left out: about {expected:.0f} s for {LEAST} iterations at a time"
            found.append(Row(PART, case, chains, UNIT, note=note))
            continue
        found.append(_row(target, tuned, chains, plan))
        slowest = (found[-1].ns or 0.0) * 1e-9
    return found


def tune(target: Target, chains: int = TUNED_WITH) -> Tuned:
    """Warm up with a few chains and measure what a gradient is worth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        tree = sample(target, HMC(), chains=chains, dtype=DTYPE, progress=False)
    x = np.asarray(tree["posterior"]["beta"], float)
    least = min(np.min(ess(x)), np.min(ess(x**2)))
    steps = float(np.asarray(tree["sample_stats"]["n_steps"], float).sum())
    kernel = datatree.restore_kernel(datatree.read_state(tree), None)
    draws = x.reshape(-1, x.shape[-1])
    return Tuned(kernel, draws, least / steps, steps / len(draws))


def _row(target: Target, tuned: Tuned, chains: int, plan: Plan) -> Row:
    case = f"{chains:,} chains"
    plan.say(f"{PART}, {case}")
    starts = tuned.draws[np.random.default_rng(0).integers(0, len(tuned.draws), chains)]
    bare = begun(target, tuned.kernel, starts, scratch=8 * ROWS * DTYPE.itemsize)
    if isinstance(bare, str):
        return Row(PART, case, chains, UNIT, note=f"left out: {bare}")
    bare.measure(plan)
    a_draw = float(np.mean(bare.kept("n_steps")))
    ns = bare.seconds / (bare.chain_steps * a_draw) * 1e9
    evaluations = max(1, round(bare.iterations * a_draw))
    found = {
        floors.BITS: floors.bits_of_chains(bare, plan.repeats) / a_draw,
        floors.BYTES: floors.bytes_of_chains(bare, plan.repeats) / a_draw,
        floors.GRADIENT: floors.densities_of_chains(bare, plan.repeats, evaluations, gradient=True),
    }
    each = {"gradients": 1e9 / ns, "draws": 1e9 / (ns * a_draw), "min ESS": tuned.ess_per_gradient * 1e9 / ns}
    return Row(PART, case, chains, UNIT, ns, found, bare.run.timings.compile_time, each)
