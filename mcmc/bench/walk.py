"""Benchmark of random-walk Metropolis on a 10-d standard normal: ns per chain-step."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from mcmc.bench import floors
from mcmc.bench.chains import begun
from mcmc.bench.measure import Plan, Row
from mcmc.kernels.metropolis import RandomWalk
from mcmc.target.support import real
from mcmc.target.target import Target

PART, UNIT, DIM = "random walk", "chain-step", 10


def rows(plan: Plan) -> list[Row]:
    """A row for each number of chains."""
    target = Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": real(DIM)})
    kernel = RandomWalk(step_size=2.38 / DIM**0.5, metric=np.ones(DIM))
    return [_row(target, kernel, chains, plan) for chains in plan.chains]


def _row(target: Target, kernel: RandomWalk, chains: int, plan: Plan) -> Row:
    case = f"{chains:,} chains"
    plan.say(f"{PART}, {case}")
    bare = begun(target, kernel, np.random.default_rng(0).normal(size=(chains, DIM)))
    if isinstance(bare, str):
        return Row(PART, case, chains, UNIT, note=f"left out: {bare}")
    bare.measure(plan)
    ns = bare.seconds / bare.chain_steps * 1e9
    found = {
        floors.BITS: floors.bits_of_chains(bare, plan.repeats),
        floors.BYTES: floors.bytes_of_chains(bare, plan.repeats),
        floors.DENSITY: floors.densities_of_chains(bare, plan.repeats, bare.iterations, gradient=False),
    }
    each = {"chain-steps": 1e9 / ns}
    return Row(PART, case, chains, UNIT, ns, found, bare.run.timings.compile_time, each)
