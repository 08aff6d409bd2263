"""Eight schools in whole-process seconds: from `python script.py` to a summary with an ESS above 1000.

    uv run --extra bench python benchmarks/cold_start.py [--repeats 3] [--quick] [--only mcmc numpyro]

Every tool runs in a process of its own, a small script in `cold_start/` that can be read and run alone. Each
is timed from the spawn to the exit, without a compilation cache and, where the tool can use one, with a cache
that an earlier run filled. A further run, untimed, saves the draws: the smallest bulk ESS of parameters and
their squares is then computed for all tools alike.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common

SCRIPTS = common.HERE / "cold_start"
REFERENCE = {"mu": (4.4, 3.3), "tau": (3.6, 3.2)}
TOLERANCE = 0.5  # of a mean from the reference, which is rounded to a tenth
LEAST = 1000
JAX_CACHE = {
    "JAX_COMPILATION_CACHE_DIR": "{folder}",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
PYTENSOR_CACHE = {"PYTENSOR_FLAGS": "base_compiledir={folder}", "NUMBA_CACHE_DIR": "{folder}"}
OURS_CACHE = {"MCMC_COMPILATION_CACHE": "{folder}"}


@dataclass(frozen=True)
class Tool:
    """One row: its name, its script, the package it needs, and how it is told where its cache is."""

    name: str
    script: str
    package: str
    cache: dict
    settings: tuple = ()
    off: dict | None = None  # the environment in which it keeps nothing; None: it always writes its cache


TOOLS = (
    Tool("mcmc", "ours.py", "mcmc", OURS_CACHE, off={"MCMC_COMPILATION_CACHE": "off"}),
    Tool("numpyro: NUTS, 4 parallel chains", "numpyro_nuts.py", "numpyro", JAX_CACHE, off={}),
    Tool("blackjax: ChEES, 64 chains", "blackjax_chees.py", "blackjax", JAX_CACHE, off={}),
    Tool("blackjax: NUTS, 4 chains", "blackjax_nuts.py", "blackjax", JAX_CACHE, off={}),
    Tool("emcee: stretch, 64 walkers", "emcee_walkers.py", "emcee", {}, off={}),
    Tool(
        "emcee: DE + snooker, 64 walkers",
        "emcee_walkers.py",
        "emcee",
        {},
        ("--moves", "de", "--warmup", "500", "--draws", "1700"),
        off={},
    ),
    Tool("nutpie: NUTS, 4 chains", "nutpie_nuts.py", "nutpie", PYTENSOR_CACHE),
)


def main():
    options = parse()
    rows, cases = [], []
    with tempfile.TemporaryDirectory() as folder:
        for i, tool in enumerate(TOOLS):
            if options.only and not any(word in tool.name for word in options.only):
                continue
            python = sys.executable if tool.package == "mcmc" else options.peers_python
            note = "" if common.installed(python, tool.package) else "not installed"
            if not note:
                say(f"checking {tool.name}")
                checked, note = check(tool, python, options.quick, Path(folder) / f"check {i}")
            if note:
                rows.append({"tool": tool.name, "cache": "-", "note": note})
                continue
            cases.append((tool, python, Path(folder) / f"cache {i}", checked))
        rows += measure(cases, options.repeats, options.quick)
    about = "eight schools, whole-process seconds from spawn to exit, medians"
    more = {"repeats": options.repeats, "least_ess": LEAST}
    path = common.save(options.out, about, rows, options.peers_python, **more)
    print_table(rows)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case; the median counts")
    parser.add_argument("--only", nargs="*", help="tools whose name has one of these words")
    parser.add_argument("--quick", action="store_true", help="a check that it works: one short run a tool")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--out", default=str(common.RESULTS / "cold_start.json"))
    options = parser.parse_args()
    options.repeats = 1 if options.quick else options.repeats
    return options


def measure(cases, repeats, quick):
    """A row a tool and cache. Tools take turns, so that a busy minute of the machine is no one tool's."""
    runs = {}
    for i in range(repeats):
        say(f"round {i + 1} of {repeats}")
        for tool, python, folder, _ in cases:
            if tool.off is not None:
                runs.setdefault((tool.name, "none"), []).append(run(tool, python, tool.off, None, quick))
            if tool.cache:
                fresh = folder.with_name(f"{folder.name}, round {i}")
                for cache in ("empty", "warm"):
                    found = run(tool, python, tool.cache, fresh, quick)
                    runs.setdefault((tool.name, cache), []).append(found)
    checked = {tool.name: known for tool, _, _, known in cases}
    return [
        {"tool": name, "cache": cache, **median_of(found), **checked[name]} for (name, cache), found in runs.items()
    ]


def say(text):
    print(f"{text} ...", file=sys.stderr, flush=True)


def run(tool, python, environment, folder, quick, save=None):
    """One process: whole seconds, and what it printed."""
    if folder is not None:
        Path(folder).mkdir(exist_ok=True)
    own = {name: value.format(folder=folder) for name, value in environment.items()}
    apart = {*JAX_CACHE, *PYTENSOR_CACHE, *OURS_CACHE, "PYTHONDONTWRITEBYTECODE"}  # bytecode is kept, as is usual
    scrubbed = {k: v for k, v in os.environ.items() if k not in apart}
    command = [python, str(SCRIPTS / tool.script), *tool.settings]
    if quick:
        command += ["--draws", "200", "--warmup", "200"]
    if save:
        command += ["--save", str(save)]
    own |= {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env={**scrubbed, **own}, capture_output=True, text=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"failed": last[:200]}
    line = json.loads(next(x for x in reversed(done.stdout.splitlines()) if x.startswith("{")))
    parts = {**line["seconds"]}
    parts["start and exit"] = seconds - sum(parts.values())
    return {"seconds": seconds, "cpu": cpu, "parts": parts} | {name: line[name] for name in ("min_ess", "mean", "sd")}


def median_of(runs):
    """The medians of the seconds of several runs, or why one failed."""
    failed = [r["failed"] for r in runs if "failed" in r]
    if failed:
        return {"note": f"failed: {failed[0]}"}
    parts = {part: statistics.median(r["parts"][part] for r in runs) for part in runs[0]["parts"]}
    whole = [r["seconds"] for r in runs]
    found = {"seconds": statistics.median(whole), "all_seconds": whole, "parts": parts}
    return found | {"cpu_seconds": statistics.median(r["cpu"] for r in runs), "own_ess": runs[0]["min_ess"]}


def check(tool, python, quick, folder):
    """A run that saves its draws: means against the reference, and ESS by one estimator for all tools."""
    import numpy as np

    import mcmc

    folder.mkdir()
    place = folder / "draws.npy"
    first = run(tool, python, tool.cache, folder, quick, place)
    if "failed" in first:
        return {}, f"failed: {first['failed']}"
    draws = np.load(place).astype(float)
    squares = (draws - draws.mean((0, 1))) ** 2
    ess, ess_square = float(np.min(mcmc.ess(draws))), float(np.min(mcmc.ess(squares)))
    found = {"chains": draws.shape[0], "draws": draws.shape[1], "bulk_ess": ess, "square_ess": ess_square}
    found |= {"mean": first["mean"], "sd": first["sd"], "enough": min(ess, ess_square) > LEAST}
    found["right"] = all(
        abs(first["mean"][name] - mean) < TOLERANCE and abs(first["sd"][name] - sd) < TOLERANCE
        for name, (mean, sd) in REFERENCE.items()
    )
    return found, ""


def print_table(rows):
    table = []
    for row in rows:
        if "note" in row:
            table.append([row["tool"], row["cache"], row["note"], *[""] * 5])
            continue
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["parts"].items())
        mean = f"{row['mean']['mu']:.1f}, {row['mean']['tau']:.1f}"
        flags = "" if row["enough"] and row["right"] else " (!)"
        ess = f"{row['bulk_ess']:,.0f} / {row['square_ess']:,.0f}{flags}"
        size = f"{row['chains']} x {row['draws']}"
        table.append(
            [
                row["tool"],
                row["cache"],
                f"{row['seconds']:.2f}",
                f"{row['cpu_seconds']:.2f}",
                size,
                ess,
                mean,
                parts,
            ]
        )
    header = ["tool", "cache", "seconds", "CPU s", "draws", "min ESS x / x²", "mu, tau", "parts"]
    common.show("Eight schools, whole process", header, table)


if __name__ == "__main__":
    main()
