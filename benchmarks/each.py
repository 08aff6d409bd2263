"""The same regression (4 parameters, 50 rows) on 1,000 data sets: `mcmc.sample_each` beside loops and vmaps of peers.

    python benchmarks/each.py [--sets 100 300 1000] [--peers-python PYTHON] [--peer-sets 16] [--quick]

Seconds a data set, compiled before, by the clock and of all cores together; effective draws a second of a core; how
many data sets are good by their diagnosis, and how often the 90 % intervals hold the true values, which were drawn from
the prior. The peers run few data sets, since each costs the same, and ours run before and after them: NumPyro's NUTS
one after the other in one compiled function, BlackJAX's vmapped over data sets and chains; with 1,000 + 1,000
iterations and with as many as we make. Memory: the peak of a process that streams.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path

import common
import jax.numpy as jnp
import numpy as np
from each_peers import CHAINS, ROWS, SLOPES, now, problem, since

import mcmc

OURS, PEERS = "mcmc.sample_each", ("numpyro", "blackjax")
WARMUP, DRAWS = 200, 300  # the defaults of sample_each


def log_density(p, data):
    """Normal priors of the coefficients, an exponential one of the scale."""
    error = (data["y"] - p["a"] - data["x"] @ p["b"]) / p["s"]
    return -0.5 * (p["a"] ** 2 + (p["b"] ** 2).sum() + (error**2).sum()) - p["s"] - ROWS * jnp.log(p["s"])


target = mcmc.Target(
    log_density,
    {"a": mcmc.real(), "b": mcmc.real(SLOPES), "s": mcmc.positive()},
    data={"x": np.zeros((ROWS, SLOPES)), "y": np.zeros(ROWS)},
)


def ours(sets):
    """A run on so many data sets: its speed, its verdicts, its coverage."""
    true, data = problem(sets)
    began = now()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        draws = mcmc.sample_each(target, data, progress=False)
    seconds, cpu = since(began) / sets
    found = mcmc.diagnose(draws)
    low, high = (found.numbers[name] for name in ("eti90_lb", "eti90_ub"))
    values = np.column_stack([true["a"], true["b"], true["s"]])
    stages = draws.run_state["stage"].values
    return {
        "tool": OURS,
        "sets": sets,
        "warmup": WARMUP,
        "draws": DRAWS,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "ess": float(np.mean(found.table["ess"])),
        "ok": float(found.table["ok"].mean()),
        "again": float((stages != "batch").mean()),
        "coverage": float(((low < values) & (values < high)).mean()),
        "coverage_error": float(np.sqrt(0.09 / values.size)),
    }


def peer(python, name, sets, warmup, draws):
    """A peer in its own process; None where it is not installed."""
    if not common.installed(python, name):
        print(f"{name} is not installed: left out", file=sys.stderr)
        return None
    here = Path(__file__).parent / "each_peers.py"
    done = subprocess.run([python, str(here), name, *map(str, (sets, warmup, draws))], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return {"tool": name, "sets": sets, "warmup": warmup, "draws": draws, **json.loads(done.stdout.splitlines()[-1])}


def peak(sets):
    """Megabytes that a process needs that streams the draws of so many data sets to a store: its own, by the kernel.

    `getrusage` would count what the process had that started it.
    """
    with tempfile.TemporaryDirectory() as folder:
        code = f"""
import re, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
import mcmc; from each import problem, target
mcmc.sample_each(target, problem({sets})[1], store={folder + "/run.zarr"!r}, progress=False)
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024)"""
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main():
    """Run what was asked for, print it, save it."""
    options = parse()
    ours(2)  # compiles
    settings = [(1000, 1000), (WARMUP, DRAWS)] if not options.quick else [(50, 50)]
    runs = [partial(ours, sets) for sets in options.sets]
    for name in PEERS:  # ours before and after each of theirs: other work on the machine may come and go
        runs += [partial(peer, options.peers_python, name, options.peer_sets, *each) for each in settings]
        runs.append(partial(ours, options.sets[-2]))
    rows = [row for row in (run() for run in runs) if row]
    memory = {str(sets): peak(sets) for sets in options.memory}
    own = [row for row in rows if row["tool"] == OURS and row["sets"] >= options.sets[-2]]
    ours_now = {name: float(np.mean([row[name] for row in own])) for name in ("seconds", "cpu_seconds", "ess")}
    for row in rows:
        row["times"], row["cpu_times"] = (row[name] / ours_now[name] for name in ("seconds", "cpu_seconds"))
        row["ess_times"] = (ours_now["ess"] / ours_now["cpu_seconds"]) / (row["ess"] / row["cpu_seconds"])
    about = "seconds a data set of a regression with 4 parameters and 50 rows, 16 chains each, beside peers"
    path = common.save(options.out, about, rows, options.peers_python, chains=CHAINS, peak_megabytes=memory)
    header = (
        "tool",
        "data sets",
        "warmup + draws",
        "ms a data set",
        "times ours",
        "CPU ms",
        "times ours",
        "ESS/CPU s: ours is times",
        "good",
        "90 % holds",
    )
    cells = [
        (r["tool"], r["sets"], f"{r['warmup']} + {r['draws']}", f"{1e3 * r['seconds']:.1f}", f"{r['times']:.1f}",
         f"{1e3 * r['cpu_seconds']:.1f}", f"{r['cpu_times']:.1f}", f"{r['ess_times']:.1f}",
         f"{r['ok']:.1%}" if "ok" in r else "-",
         f"{r['coverage']:.3f} ± {r['coverage_error']:.3f}" if "ok" in r else "-")
        for r in rows
    ]  # fmt: skip
    common.show("One regression on many data sets", header, cells)
    print("peak megabytes of a process that streams:", ", ".join(f"{k} sets {v:.0f}" for k, v in memory.items()))
    print(path)


def parse():
    """The options; `--quick` makes everything small."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--peer-sets", type=int, default=16)
    parser.add_argument("--memory", type=int, nargs="*", default=[250, 1000])
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", default=common.RESULTS / "each.json")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.peer_sets, options.memory = [8, 16], 2, [8]
    return options


if __name__ == "__main__":
    main()
