"""The summary of a run, ours beside ArviZ's, in one run: seconds, peak memory and the largest difference.

    uv run python benchmarks/diagnostics.py [--repeats 3] [--quick]

Rows:
  mcmc.summary                    our table
  arviz.summary, our statistics   ArviZ's table with rcParams["stats.module"] = mcmc.diagnostics.arviz_plugin
  arviz.summary                   ArviZ's table by itself

Every case runs in a process of its own, so that its peak memory is its own: that of the process less what it held
before the call (the draws, in float64, and the imports). CPU seconds, of all threads, hold on a busy machine too. The
three tables are compared number by number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import common
import numpy as np

SHAPES = ((1024, 1000, 10), (4096, 100, 50))
QUICK = ((64, 100, 4),)
OURS, PLUGGED, THEIRS = "mcmc.summary", "arviz.summary, our statistics", "arviz.summary"
COLUMNS = ("mean", "sd", "ess_bulk", "ess_tail", "r_hat", "mcse_mean", "mcse_sd")


def main():
    options = parse()
    rows = []
    for shape in QUICK if options.quick else SHAPES:
        tables = {}
        for what in (OURS, PLUGGED, THEIRS):
            repeats = 1 if what == THEIRS else options.repeats
            found = alone(what, shape, repeats)
            tables[what] = np.array(found.pop("table"))
            rows.append({"what": what, "shape": list(shape), **found})
            print(f"{what}, {shape}: {found['seconds']:.2f} s", file=sys.stderr, flush=True)
        for row in rows[-3:]:
            row["largest relative difference"] = difference(tables[row["what"]], tables[THEIRS])
            row["arviz / this"] = rows[-1]["seconds"] / row["seconds"]
            row["arviz / this, cpu"] = rows[-1]["cpu_seconds"] / row["cpu_seconds"]
    about = "summary of (chain, draw, parameter) draws: AR(0.9) chains, float64"
    path = common.save(options.out, about, rows, repeats=options.repeats)
    table = [
        (
            r["what"],
            "{} x {} x {}".format(*r["shape"]),
            *(common.number(r[name]) for name in ("seconds", "arviz / this", "cpu_seconds", "arviz / this, cpu")),
            *(f"{r[name]:,.0f}" for name in ("peak_mb", "draws_mb")),
            f"{r['largest relative difference']:.0e}",
        )
        for r in rows
    ]
    header = (
        "", "chains x draws x parameters", "seconds", "arviz / this", "CPU seconds", "arviz / this",
        "peak MB", "draws MB", "difference",
    )  # fmt: skip
    common.show(about, header, table)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours; the median counts (ArviZ runs once)")
    parser.add_argument("--quick", action="store_true", help="a check that it works: a small case")
    parser.add_argument("--out", default=str(common.RESULTS / "diagnostics.json"))
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(one(**json.loads(options.case))))
        sys.exit()
    return options


def alone(what, shape, repeats):
    """A case in a process of its own."""
    case = json.dumps({"what": what, "shape": shape, "repeats": repeats})
    done = subprocess.run([sys.executable, __file__, "--case", case], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def one(what, shape, repeats):
    """Median seconds, peak memory beyond what was there before, and the table."""
    draws = autoregressive(shape)
    summary = summary_of(what)
    summary(draws.isel(draw=slice(8), chain=slice(2)))  # imports, caches
    before, seconds, cpu = resident(), [], []
    reset_peak()
    for _ in range(repeats):
        start, busy = time.perf_counter(), time.process_time()
        table = summary(draws)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    peak = peak_resident() - before
    return {
        "seconds": float(np.median(seconds)),
        "cpu_seconds": float(np.median(cpu)),
        "peak_mb": peak / 1e6,
        "draws_mb": draws["x"].nbytes / 1e6,
        "table": table[list(COLUMNS)].to_numpy(float).tolist(),
    }


def summary_of(what):
    import arviz

    import mcmc
    from mcmc.diagnostics import arviz_plugin

    if what == OURS:
        return lambda draws: mcmc.summary(draws)
    module = arviz_plugin if what == PLUGGED else "base"

    def table(draws):
        with arviz.rc_context({"stats.module": module, "stats.ci_prob": 0.95}):  # tail ESS of 5 and 95 %
            return arviz.summary(draws, ci_kind="eti", ci_prob=0.9, round_to="none")

    return table


def autoregressive(shape, rho=0.9):
    import xarray
    from scipy.signal import lfilter

    x = np.random.default_rng(0).normal(size=shape)
    x[:, 1:] *= np.sqrt(1 - rho**2)
    return xarray.Dataset({"x": (("chain", "draw", "k"), lfilter([1], [1, -rho], x, axis=1))})


def difference(table, reference):
    return float(np.max(np.abs(table - reference) / np.maximum(np.abs(reference), 1e-3)))


def resident():
    import psutil

    return psutil.Process().memory_info().rss


def reset_peak():
    """Have the kernel forget the highest memory so far, where it can."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def peak_resident():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
