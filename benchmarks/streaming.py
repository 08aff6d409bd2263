"""What it costs to stream draws to a store instead of keeping them in memory, and how much memory that takes.

    uv run python benchmarks/streaming.py [--draws 10000 100000 1000000] [--repeats 3] [--quick]

64 chains of a 20-d normal in float32, each run in a process of its own, memory and store in turns. Seconds are those of
sampling, commits to the disk included; memory is the process's largest, until the draws are stored and at the end. What
does not fit in memory is not run there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import common

CHAINS, DIM = 64, 20
IN_MEMORY_UP_TO = 200_000


def main():
    options = parse()
    cases = [
        (n, kind) for n in options.draws for kind in ("memory", "store") if kind == "store" or n <= IN_MEMORY_UP_TO
    ]
    found = {case: [] for case in cases}
    for _ in range(options.repeats):
        for n, kind in cases:
            print(f"{n:,} draws, {kind} ...", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--alone", kind, "--draws", str(n)]
            found[n, kind].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    rows = []
    for n, kind in cases:
        medians = (common.statistics.median(run[k] for run in found[n, kind]) for k in ("seconds", "drawn", "peak"))
        seconds, drawn, peak = medians
        memory = [row["seconds"] for row in rows if (row["draws"], row["kept in"]) == (n, "memory")]
        ratio = seconds / memory[0] if memory else None
        memory = {"MB while drawing": drawn / 1e6 or None, "MB with the diagnosis": peak / 1e6}
        rows.append({"draws": n, "kept in": kind, "seconds": seconds, "ratio": ratio, **memory})
    about = "64 chains of a 20-d normal, float32: sampling in seconds, and the process's largest memory; medians"
    path = common.save(options.out, about, rows)
    for row in rows:
        ratio = f"{row['ratio']:.2f} x memory" if row["ratio"] else ""
        what = f"{row['draws']:>9,} draws in {row['kept in']:6}"
        drawn = f"{row['MB while drawing']:.0f} MB while drawing, " if row["MB while drawing"] else ""
        print(
            f"{what}  {row['seconds']:.2f} s {ratio}  {drawn}{row['MB with the diagnosis']:.0f} MB with the diagnosis"
        )
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case; the median counts")
    parser.add_argument("--quick", action="store_true", help="a check that it works: few draws, one run")
    parser.add_argument("--alone", choices=("memory", "store"), help="one run, as JSON")
    parser.add_argument("--out", default=str(common.RESULTS / "streaming.json"))
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone, options.draws[0])))
        sys.exit()
    if options.quick:
        options.repeats, options.draws = 1, [500]
    return options


def alone(kind, draws):
    """Seconds of sampling and the largest memory of this process meanwhile."""
    import jax.numpy as jnp
    import psutil

    import mcmc
    from mcmc.sampling import steps as sampling_steps

    target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2 / jnp.arange(1, DIM + 1)), {"x": mcmc.real(DIM)})
    settings = {"chains": CHAINS, "dtype": "float32", "progress": False}
    peak, done, drawn, opened = [0], threading.Event(), [], sampling_steps.open_store

    def opening(folder):
        drawn.append(peak[0])
        return opened(folder)

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], psutil.Process().memory_info().rss)

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        mcmc.sample(target, draws=50, **settings)
        thread = threading.Thread(target=watch)
        thread.start()
        sampling_steps.open_store = opening  # the draws are made and stored; the diagnosis comes after
        started = time.perf_counter()
        where = {"store": f"{folder}/run.zarr"} if kind == "store" else {}
        made = mcmc.sample(target, draws=draws, **settings, **where)
        spent = time.perf_counter() - started
        done.set()
        thread.join()
    return {"seconds": made.attrs["sampling_time"], "whole": spent, "peak": peak[0], "drawn": (drawn or [0])[0]}


if __name__ == "__main__":
    main()
