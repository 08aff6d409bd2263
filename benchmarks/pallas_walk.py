"""A Pallas study: a random walk whose chains stay in registers for many steps, beside the scan that is its reference.

    uv run python benchmarks/pallas_walk.py [--chains 4096 65536 1048576] [--steps 1024] [--quick]

The scan runs every step as array operations that read and write the state of all chains. The kernel gives a program a
block of chains, loads their positions once, makes all steps in one loop, with random bits by the same counters, and
writes positions and log densities once; every step traces the user's log density inside. Coordinates are values of
their own, one (lanes,) vector each, so the log density is one of vectors side by side: any elementwise arithmetic of
them.

On any machine the kernel is run in interpret mode on the CPU and its end compared with the scan's at equal random
bits. On a GPU both are compiled and timed, ns a chain-step beside the random bits alone; without one this says so.
"""

from __future__ import annotations

import argparse
import sys

import common
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

DIM, LANES = 10, 128
STEP_SIZE = np.float32(2.38 / DIM**0.5)
KEY = (1, 2)
CHECKED = {"chains": 2 * LANES, "steps": 20}


def main():
    options = parse()
    with jax.default_device(jax.devices("cpu")[0]):
        rows = [checked(name, density) for name, density in LAWS.items()]
    for row in rows:
        size = f"{row['chains']} chains x {row['steps']} steps"
        print(f"{row['law']}: {size}, {row['equal']:.1%} of chains equal bit for bit, {row['moved']:.1%} moved")
    on_gpu = jax.default_backend() == "gpu"
    note = "" if on_gpu else f"no GPU: JAX's default backend is {jax.default_backend()}, so nothing was timed"
    if on_gpu:
        rows += [timed(name, density, n, options) for name, density in LAWS.items() for n in options.chains]
        show(rows)
    about = "a random walk whose chains stay in registers (Pallas) beside a scan of array operations, float32"
    path = common.save(options.out, about, rows, device=jax.devices()[0].device_kind, note=note)
    print(note or "ns a chain-step, medians")
    print(f"written: {path.name}")
    if any(row.get("equal", 1.0) < 1.0 for row in rows):
        sys.exit("the kernel and the scan differ at equal random bits")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, nargs="+", default=[4096, 65_536, 1_048_576])
    parser.add_argument("--steps", type=int, default=1024, help="steps that chains stay in registers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a check that it works: few chains and steps")
    parser.add_argument("--out", default=str(common.RESULTS / "pallas_walk.json"))
    options = parser.parse_args()
    if options.quick:
        options.chains, options.steps, options.repeats = [4096], 64, 1
    return options


# --- targets: functions of a list of coordinates, each a vector over the lanes ------------------------------------


def normal(x):
    """A standard normal."""
    return -0.5 * sum(v * v for v in x)


def funnel(x):
    """Neal's funnel: log scale x[0], with standard deviation 3."""
    return -x[0] * x[0] / 18.0 - 0.5 * sum(v * v for v in x[1:]) * jnp.exp(-x[0]) - 0.5 * (DIM - 1) * x[0]


LAWS = {"normal": normal, "funnel": funnel}


# --- one step, shared by both ----------------------------------------------------------------------------------------


def word(chain, step, element):
    """A random word by counters (element, step, chain): two rounds of multiply, xor and shift over a mixed counter.

    The study needs equal words on both sides at a fixed cost, not the package's generator, whose 64-bit products
    Pallas does not take on every backend.
    """
    x = (
        chain * np.uint32(0x9E3779B9)
        ^ step * np.uint32(0x85EBCA6B)
        ^ np.uint32((element * 0xC2B2AE35 + KEY[0]) % 2**32)
    )
    for multiplier in (np.uint32(0x7FEB352D), np.uint32(0x846CA68B)):
        x = (x ^ (x >> np.uint32(16))) * multiplier
    return x ^ (x >> np.uint32(15)) ^ np.uint32(KEY[1])


def uniform(bits):
    """A midpoint of a grid of 2²³ points in (0, 1)."""
    return ((bits >> np.uint32(9)).astype(jnp.int32).astype(jnp.float32) + np.float32(0.5)) * np.float32(2**-23)


def normals(first, second):
    """Two standard normals of two words (Box and Muller 1958)."""
    radius = jnp.sqrt(np.float32(-2) * jnp.log(uniform(first)))
    angle = np.float32(2 * np.pi) * uniform(second)
    return radius * jnp.cos(angle), radius * jnp.sin(angle)


def noise(chain, step):
    """The normals of one step, one vector a coordinate, and the uniform that accepts."""
    words = [word(chain, step, i) for i in range(DIM + 1)]
    z = [v for i in range(0, DIM, 2) for v in normals(words[i], words[i + 1])]
    return z, uniform(words[DIM])


def one_step(log_density, chain, step, state):
    """A Metropolis step of a block of chains: positions (a vector a coordinate) and log densities."""
    x, lp = state
    z, u = noise(chain, step)
    to = [a + STEP_SIZE * b for a, b in zip(x, z, strict=True)]
    proposed = log_density(to)
    accepted = jnp.log(u) < proposed - lp
    return [jnp.where(accepted, b, a) for a, b in zip(x, to, strict=True)], jnp.where(accepted, proposed, lp)


# --- the scan and the kernel -----------------------------------------------------------------------------------------


def by_scan(log_density, positions, steps):
    """Array operations on all chains, step after step: positions (dim, chain) and log densities at the end."""
    chain = jnp.arange(positions.shape[1], dtype=jnp.uint32)
    x = [positions[i] for i in range(DIM)]

    def body(state, step):
        return one_step(log_density, chain, step, state), None

    (x, lp), _ = lax.scan(body, (x, log_density(x)), jnp.arange(steps, dtype=jnp.uint32))
    return jnp.stack(x), lp


def by_kernel(log_density, positions, steps, interpret=False):
    """The same in one kernel: a program a block of lanes, the state in registers from the first step to the last."""
    from jax.experimental import pallas as pl

    def kernel(start, end, end_lp):
        lanes = jnp.arange(LANES, dtype=jnp.uint32)
        chain = lanes + pl.program_id(0).astype(jnp.uint32) * np.uint32(LANES)
        x = [start[i, :] for i in range(DIM)]

        def body(step, state):
            return one_step(log_density, chain, step.astype(jnp.uint32), state)

        x, lp = lax.fori_loop(0, steps, body, (x, log_density(x)))
        for i in range(DIM):
            end[i, :] = x[i]
        end_lp[:] = lp

    block = pl.BlockSpec((DIM, LANES), lambda i: (0, i))
    shapes = jax.ShapeDtypeStruct(positions.shape, jnp.float32), jax.ShapeDtypeStruct(positions.shape[1:], jnp.float32)
    call = pl.pallas_call(
        kernel,
        grid=(positions.shape[1] // LANES,),
        in_specs=[block],
        out_specs=[block, pl.BlockSpec((LANES,), lambda i: (i,))],
        out_shape=shapes,
        interpret=interpret,
    )
    return call(positions)


def bits_alone(positions, steps):
    """The random words of all steps, mixed together."""
    chain = jnp.arange(positions.shape[1], dtype=jnp.uint32)

    def body(mixed, step):
        for i in range(DIM + 1):
            mixed ^= word(chain, step, i)
        return mixed, None

    return lax.scan(body, jnp.zeros_like(chain), jnp.arange(steps, dtype=jnp.uint32))[0]


# --- check and time --------------------------------------------------------------------------------------------------


def starts(chains):
    return jnp.asarray(np.random.default_rng(0).normal(size=(DIM, chains)), jnp.float32)


def checked(name, log_density):
    """How many chains end, to the last bit, where the scan's do: the kernel in interpret mode."""
    positions, steps = starts(CHECKED["chains"]), CHECKED["steps"]
    x, lp = jax.jit(lambda p: by_scan(log_density, p, steps))(positions)
    y, lq = jax.jit(lambda p: by_kernel(log_density, p, steps, interpret=True))(positions)
    moved = float(jnp.mean(jnp.any(x != positions, 0)))
    equal = jnp.all(x == y, 0) & (lp == lq)
    return {"law": name, **CHECKED, "moved": moved, "equal": float(jnp.mean(equal))}


def timed(name, log_density, chains, options):
    """ns a chain-step of the kernel, of the scan, and of the random bits alone, compiled, on this device."""
    positions, steps = starts(chains), options.steps
    functions = {
        "kernel": lambda p: by_kernel(log_density, p, steps),
        "scan": lambda p: by_scan(log_density, p, steps),
        "random bits": lambda p: bits_alone(p, steps),
    }
    row, ends = {"law": name, "chains": chains, "steps": steps}, {}
    for what, function in functions.items():
        try:
            program = jax.jit(function).lower(positions).compile()
        except Exception as error:
            row[f"{what}, note"] = f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"
            continue
        seconds = common.median_seconds(lambda run=program: jax.block_until_ready(run(positions)), options.repeats)
        row[what] = seconds / (chains * steps) * 1e9
        ends[what] = program(positions)
    if "kernel" in ends:  # rounding may turn a step, and the chain then goes elsewhere
        near = jnp.all(jnp.abs(ends["kernel"][0] - ends["scan"][0]) < 1e-3, 0)
        row["chains that end together"] = float(jnp.mean(near))
    return row


def show(rows):
    names = ("kernel", "scan", "random bits")
    timings = [row for row in rows if "scan" in row]
    table = [[r["law"], f"{r['chains']:,}", *(common.number(r.get(n)) for n in names)] for r in timings]
    common.show("A random walk with its state in registers: ns a chain-step", ["", "chains", *names], table)
    for row in rows:
        for name in names:
            if f"{name}, note" in row:
                print(f"{row['law']}, {row['chains']:,} chains, {name}: {row[f'{name}, note']}")


if __name__ == "__main__":
    main()
