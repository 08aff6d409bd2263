"""What a second device gives, and what a stop in between costs, on a gradient-bound target.

    uv run python benchmarks/devices.py [--repeats 3] [--quick]
    uv run python benchmarks/devices.py --resume

A logistic regression, 4000 rows and 25 coefficients: HMC, 64 chains, warmup tuned, each run in a process of its own,
the cases in turns, programs from a warm compilation cache. Without --resume:
  one core             the process may use one core, so that there is one device and one thread; XLA is told of all
                       cores (NPROC), because it splits sums of large matrix products by their number
  two host devices     a CPU in two, the chains on a mesh of both
  default              nothing said: one device, a thread for each core
and whether their draws are equal bit for bit. With --resume, the seconds that it adds to an unbroken run, all draws in
a store, to be interrupted halfway and to go on in another process; the times of warmup, sampling and compiling that a
resumed run writes down are those of the whole run. `call` is `mcmc.sample` or `mcmc.resume`, `imports` what is imported
before, `process` all from spawn to exit.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import common

CASES = ("one core", "two host devices", "default")
UNBROKEN, BROKEN, RESUMED = "unbroken", "interrupted", "resumed"
CHAINS = 64
TIMES = {"warmup": "warmup_time", "sampling": "sampling_time", "compile": "compile_time", "verdict": "diagnosis_time"}


def main():
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        rows, about, more = (resuming if options.resume else devices)(options, Path(folder))
    path = common.save(options.out, about, rows, repeats=options.repeats, chains=CHAINS, **more)
    for name, value in more.items():
        print(f"{name}: {common.number(value) if isinstance(value, float) else value}")
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resume", action="store_true", help="the cost of a stop in between")
    parser.add_argument("--rows", type=int, default=4000, help="of the regression's data")
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case; medians count")
    parser.add_argument("--quick", action="store_true", help="a check that it works: small data, one run")
    parser.add_argument("--out", help="where the JSON goes")
    parser.add_argument("--alone", choices=(*CASES, UNBROKEN, BROKEN, RESUMED), help=argparse.SUPPRESS)
    parser.add_argument("--store", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options)))
        sys.exit()
    if options.quick:
        options.rows, options.draws, options.warmup, options.repeats = 100, 40, 30, 1
    options.out = options.out or str(common.RESULTS / ("resume.json" if options.resume else "devices.json"))
    return options


# --- the cases ------------------------------------------------------------------------------------------------


def devices(options, folder):
    """A row a case, and how many times as fast as one core."""
    found = in_turns(CASES, options, folder, lambda case, turn: [])
    rows = []
    for case, runs in found.items():
        middle = {
            name: statistics.median(run[name] for run in runs) for name in ("seconds", "warmup", "sampling", "cpu")
        }
        hashes = sorted({run["hash"] for run in runs})
        rows.append({"case": case, **middle, "devices": runs[0]["devices"], "draws": hashes})
    one = rows[0]
    for row in rows:
        row["ratio"] = one["seconds"] / row["seconds"]
    table = [
        [r["case"], *(common.number(r[n]) for n in ("warmup", "sampling", "seconds", "cpu", "ratio"))] for r in rows
    ]
    header = ["", "warmup, s", "sampling, s", "both, s", "CPU s of the call", "times as fast"]
    common.show(f"{CHAINS} chains x {options.draws} draws of a regression with {options.rows} rows", header, table)
    equal = len({h for row in rows for h in row["draws"]}) == 1
    about = "HMC on a logistic regression: seconds of warmup and sampling by devices, medians"
    return rows, about, {"equal bit for bit": equal, "two host devices, times as fast": rows[1]["ratio"]}


def resuming(options, folder):
    """A row a part, and the seconds that the stop added: in the calls, and in whole processes."""

    def arguments(case, turn):
        return ["--store", str(folder / f"{'whole' if case == UNBROKEN else 'broken'} {turn}.zarr")]

    found = in_turns((UNBROKEN, BROKEN, RESUMED), options, folder, arguments)
    names = ("call", "imports", "process", *TIMES)
    rows = [
        {"case": case, **{n: statistics.median(run[n] for run in runs) for n in names}, "done": runs[0]["done"]}
        for case, runs in found.items()
    ]
    table = [[row["case"], row["done"], *(common.number(row[name]) for name in names)] for row in rows]
    common.show("An unbroken run, and one stopped halfway: seconds", ["", "draws", *names], table)
    of_both = ("call", "imports", "process", "verdict")  # a resumed run's other times are those of the whole run
    added = {
        name: [
            c[name] - a[name] + (b[name] if name in of_both else 0.0) for a, b, c in zip(*found.values(), strict=True)
        ]
        for name in names
    }
    equal = all(a["hash"] == c["hash"] for a, c in zip(found[UNBROKEN], found[RESUMED], strict=True))
    more = {"equal bit for bit": equal} | {f"added, {n}": statistics.median(v) for n, v in added.items()}
    return rows, "seconds of a run in a store, unbroken, and interrupted halfway and resumed; medians", more


def in_turns(cases, options, folder, arguments):
    """The runs of each case, one after the other in every turn; one before them fills the cache and does not count.

    A quick check, whose seconds say nothing, goes without that one.
    """
    environment = {**os.environ, "MCMC_COMPILATION_CACHE": str(folder / "cache"), "JAX_PLATFORMS": "cpu"}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment.setdefault("NPROC", str(cores))
    found = {case: [] for case in cases}
    settings = ["--rows", options.rows, "--draws", options.draws, "--warmup", options.warmup]
    for turn in range(1 if options.quick else 0, options.repeats + 1):
        for case in cases:
            print(f"{case}, round {turn} of {options.repeats} ...", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--alone", case, *map(str, settings), *arguments(case, turn)]
            began = time.perf_counter()
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{case} failed:\n{done.stderr}")
            line = json.loads(done.stdout.splitlines()[-1]) | {"process": time.perf_counter() - began}
            found[case] += [line] if turn else []
    return found


# --- one run, in a process of its own -------------------------------------------------------------------------


def alone(options):
    """One run: its seconds, its devices, a hash of its draws."""
    if options.alone == CASES[0]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import jax

    mesh = None
    if options.alone == CASES[1]:
        jax.config.update("jax_num_cpu_devices", 2)
        mesh = jax.make_mesh((2,), ("chains",))
    started = time.perf_counter()
    import mcmc

    for name in ("xarray", "zarr", "scipy.special"):  # what a run with a store imports on its way
        importlib.import_module(name)
    imports = time.perf_counter() - started
    warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
    target, went = regression(options.rows), Watch(options.draws // 2 if options.alone == BROKEN else None)
    settings = {"chains": CHAINS, "draws": options.draws, "warmup": options.warmup, "progress": went, "mesh": mesh}
    began, cpu = time.perf_counter(), time.process_time()
    if options.alone == RESUMED:
        tree = mcmc.resume(target, options.store, progress=went)
    else:
        store = {"store": options.store, "chunk": max(1, options.draws // 20)} if options.store else {}
        tree = mcmc.sample(target, mcmc.HMC(), **settings, **store)
    call, cpu = time.perf_counter() - began, time.process_time() - cpu
    beta = tree["posterior"]["beta"].values
    found = {name: float(tree.attrs.get(attribute, 0.0)) for name, attribute in TIMES.items()}
    found |= {
        "seconds": found["warmup"] + found["sampling"],
        "call": call,
        "cpu": cpu,
        "imports": imports,
        "done": beta.shape[1],
    }
    return found | {"devices": tree.attrs["device"], "hash": hashlib.sha256(beta.tobytes()).hexdigest()[:16]}


class Watch:
    """A progress display that shows nothing and, asked to, presses Ctrl-C once so many draws are there."""

    def __init__(self, stop):
        self.stop = stop

    def __call__(self, update):
        if self.stop is not None and update.phase == "sampling" and update.done >= self.stop:
            self.stop = None
            raise KeyboardInterrupt


def regression(rows, dim=25):
    """A logistic regression with standard normal priors on made-up data."""
    from mcmc.bench.hmc import regression as made

    return made(dim, rows)


if __name__ == "__main__":
    main()
