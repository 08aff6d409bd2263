"""A random-walk step on a 10-d standard normal, in ns per chain-step, beside a peer, NumPy and the floor.

    uv run --extra bench python benchmarks/random_walk.py [--chains 1 100 10000] [--repeats 5] [--quick]

Rows:
  mcmc.sample, every draw kept      `sampling_time` of a whole call, draws copied to NumPy arrays; compiling apart
  mcmc.sample, its first call       the same for the first call, which pays the first touch of fresh memory
  ... in memory touched before      the same phase once more into the same arrays: the steady state
  mcmc, the program alone           the engine's compiled program; all draws are written to its device rows
  blackjax, every draw kept         `normal_random_walk` under vmap in a scan, positions stacked by the scan
  blackjax, nothing kept            the same, as its documentation shows
  numpy, nothing kept               a loop of whole-array steps on one core, generator SFC64
  floor: random numbers             the 10 normals and the uniform of a step by our generator, and nothing else
  floor: log density                the log density of a step, and nothing else
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings

import common
import numpy as np

DIM = 10
STEP_SIZE = 2.38 / DIM**0.5
CHAINS = (1, 100, 10_000, 100_000)
PEER = "blackjax"
KEPT = "mcmc.sample, every draw kept"
FIRST = "mcmc.sample, its first call"
TOUCHED = "mcmc.sample, every draw kept, in memory touched before"
PROGRAM = "mcmc, the program alone"
PEER_KEPT, PEER_BARE = "blackjax, every draw kept", "blackjax, nothing kept"
NUMPY = "numpy, nothing kept"
NUMBERS, DENSITY = "floor: random numbers", "floor: log density"
ORDER = (KEPT, FIRST, TOUCHED, PROGRAM, PEER_KEPT, PEER_BARE, NUMPY, NUMBERS, DENSITY)


def main():
    options = parse()
    rows = []
    for chains in options.chains:
        iterations = steps_for(chains, options.budget)
        print(f"{chains} chains x {iterations} iterations ...", file=sys.stderr, flush=True)
        found = ours(chains, iterations, options.dtype, options.repeats)
        found |= {NUMPY: numpy_loop(chains, iterations)}
        found |= peers(options, chains, iterations)
        for what in ORDER:
            value = found.get(what)
            row = {"what": what, "chains": chains, "iterations": iterations}
            rows.append({**row, **({"note": value} if isinstance(value, str) else {"ns": value})})
    ratios = compare(rows)
    about = f"a random-walk step on a {DIM}-d standard normal, ns per chain-step, medians of {options.repeats}"
    path = common.save(options.out, about, rows, options.peers_python, dtype=options.dtype, ratios=ratios)
    print_tables(rows, ratios, options.dtype)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, nargs="+")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each case; the median counts")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--budget", type=int, default=4_000_000, help="chain-steps a run")
    parser.add_argument("--quick", action="store_true", help="a check that it works: few steps, one run")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--out", default=str(common.RESULTS / "random_walk.json"))
    parser.add_argument("--peer-only", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.budget = 1, 20_000
    options.chains = options.chains or list(CHAINS[: 2 if options.quick else None])
    if options.peer_only:
        print(json.dumps(blackjax_loops(*options.peer_only, options.dtype, options.repeats)))
        sys.exit()
    return options


def steps_for(chains, budget):
    """Iterations a run: not more than 20,000 and not fewer than 20."""
    return max(20, min(20_000, budget // chains))


def ours(chains, iterations, dtype, repeats):
    """The rows of this package: nanoseconds by name."""
    import engine

    import mcmc
    from mcmc.engine.progress import Reporter

    target = mcmc.Target(lambda p: -0.5 * (p["x"] ** 2).sum(), {"x": mcmc.real(DIM)})
    kernel = mcmc.RandomWalk(step_size=STEP_SIZE, metric=np.ones(DIM))

    def whole():
        options = {"chains": chains, "draws": iterations, "warmup": 0, "dtype": dtype, "progress": False}
        with warnings.catch_warnings():  # short runs are not converged, and say so
            warnings.simplefilter("ignore")
            return mcmc.sample(target, kernel, **options).attrs["sampling_time"]

    first, *later = (whole() for _ in range(repeats + 1))
    seconds = {FIRST: first, KEPT: statistics.median(later)}
    with engine.bare_run(target, kernel, chains, dtype) as (run, progress):
        recorder = engine.fresh_recorder(run, iterations)
        _, *later = (engine.sampling_phase(run, progress, iterations, recorder, Reporter()) for _ in range(repeats + 1))
        seconds[TOUCHED] = statistics.median(later)
        numbers, density = engine.floor_loops(run, iterations)
        alone = {
            PROGRAM: lambda: engine.program_alone(run, progress, iterations),
            NUMBERS: numbers,
            DENSITY: density,
        }
        seconds |= {what: common.median_seconds(function, repeats) for what, function in alone.items()}
    return {what: x / (chains * iterations) * 1e9 for what, x in seconds.items()}


def numpy_loop(chains, iterations):
    """The same step by NumPy on whole arrays, float32, on one core."""
    generator = np.random.Generator(np.random.SFC64(0))
    x = np.zeros((chains, DIM), np.float32)
    lp = np.zeros(chains, np.float32)
    z, u = np.empty_like(x), np.empty_like(lp)
    step = np.float32(STEP_SIZE)
    start = time.perf_counter()
    for _ in range(iterations):
        generator.standard_normal(out=z, dtype=np.float32)
        generator.random(out=u, dtype=np.float32)
        z *= step
        z += x
        to = np.float32(-0.5) * np.einsum("ij,ij->i", z, z)
        accepted = u < np.exp(to - lp)
        np.copyto(x, z, where=accepted[:, None])
        np.copyto(lp, to, where=accepted)
    return (time.perf_counter() - start) / (chains * iterations) * 1e9


def peers(options, chains, iterations):
    """BlackJAX's rows, measured in the peers' interpreter; a note where it is not installed or fails."""
    if not common.installed(options.peers_python, PEER):
        return {PEER_BARE: "not installed", PEER_KEPT: "not installed"}
    command = [options.peers_python, __file__, "--peer-only", str(chains), str(iterations)]
    command += ["--dtype", options.dtype, "--repeats", str(options.repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        note = "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:100]
        return {PEER_BARE: note, PEER_KEPT: note}
    return json.loads(done.stdout.splitlines()[-1])


def blackjax_loops(chains, iterations, dtype, repeats):
    """`normal_random_walk` under vmap in a scan, with and without keeping the positions."""
    import blackjax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", dtype == "float64")
    kernel = blackjax.additive_step_random_walk.normal_random_walk(
        lambda x: -0.5 * jnp.sum(x**2),
        STEP_SIZE * jnp.ones(DIM, dtype),
    )

    def loop(keep):
        def one_step(states, key):
            states, _ = jax.vmap(kernel.step)(jax.random.split(key, chains), states)
            return states, states.position if keep else None

        def run(key, start):
            return jax.lax.scan(one_step, jax.vmap(kernel.init)(start), jax.random.split(key, iterations))

        return jax.jit(run)

    key, start = jax.random.key(0), jnp.zeros((chains, DIM), dtype)
    found = {}
    for what, keep in ((PEER_BARE, False), (PEER_KEPT, True)):
        run = loop(keep)
        seconds = common.median_seconds(lambda run=run: jax.block_until_ready(run(key, start)), repeats)
        found[what] = seconds / (chains * iterations) * 1e9
    return found


def compare(rows):
    """How many times as long others take, and how we stand to our program and its floor, by number of chains."""
    by = {(row["what"], row["chains"]): row.get("ns") for row in rows}

    def ratio(a, b, chains):
        first, second = by[a, chains], by[b, chains]
        return first / second if first and second else None

    return [
        {
            "chains": chains,
            "blackjax kept / ours kept": ratio(PEER_KEPT, KEPT, chains),
            "blackjax bare / our program": ratio(PEER_BARE, PROGRAM, chains),
            "numpy bare / ours kept": ratio(NUMPY, KEPT, chains),
            "numpy bare / our program": ratio(NUMPY, PROGRAM, chains),
            "ours in touched memory / our program": ratio(TOUCHED, PROGRAM, chains),
            "our program / random numbers": ratio(PROGRAM, NUMBERS, chains),
        }
        for chains in dict.fromkeys(row["chains"] for row in rows)
    ]


def print_tables(rows, ratios, dtype):
    chains = [row["chains"] for row in ratios]
    by = {(row["what"], row["chains"]): row.get("note") or common.number(row["ns"]) for row in rows}
    table = [[what, *(by[what, n] for n in chains)] for what in ORDER]
    header = ["", *(f"{n:,} chains" for n in chains)]
    common.show(f"Random walk, {DIM}-d normal, {dtype}: ns per chain-step", header, table)
    names = [name for name in ratios[0] if name != "chains"]
    table = [[name, *(common.number(row[name]) for row in ratios)] for name in names]
    common.show("Ratios", header, table)


if __name__ == "__main__":
    main()
