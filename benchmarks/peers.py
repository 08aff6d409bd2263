"""Minimum effective draws per second on six problems: ours beside NumPyro, BlackJAX, emcee and nutpie.

    uv run --extra bench python benchmarks/peers.py [--quick] [--problems schools line] [--tools mcmc ChEES]

Every case runs in processes of its own, small scripts in `peers/` that can be read and run alone: one that repeats
the run, compiled, with its draws saved and judged alike for all; and, for whole-process seconds, one with an empty
compilation cache and one with the cache that it left.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
from cold_start import JAX_CACHE, OURS_CACHE, PYTENSOR_CACHE, say

SCRIPTS = common.HERE / "peers"
sys.path.insert(0, str(SCRIPTS))

import accounting  # noqa: E402
import problems  # noqa: E402
from peer_tables import tables  # noqa: E402

GPU_TOOLS = ("mcmc", "numpyro", "ChEES")
ENSEMBLE_DRAWS, FEWEST_DRAWS, MOST_DRAWS = 200_000, 20, 500


@dataclass(frozen=True)
class Tool:
    """One tool: its name, its script, the package it needs, how it is told where its cache is, its settings."""

    name: str
    script: str
    package: str
    cache: dict
    settings: tuple = ()
    chains: bool = False  # whether it is told the number of chains


@dataclass(frozen=True)
class Case:
    """One row: a problem, a tool, the number of chains asked for, and the command that runs it."""

    problem: str
    tool: Tool
    asked: int
    command: tuple


def tools_of(options):
    """The tools of this run, ours first."""
    found = [Tool(f"mcmc, {dtype}", "ours.py", "mcmc", OURS_CACHE, ("--dtype", dtype)) for dtype in dtypes(options)]
    if options.device == "cpu":
        equal = ("--dtype", options.dtype, "--draws", str(MOST_DRAWS))
        found.append(Tool(f"mcmc, {options.dtype}, as many draws as ChEES", "ours.py", "mcmc", OURS_CACHE, equal))
    for kernel in options.kernels:
        own = ("--kernel", kernel, "--dtype", options.dtype)
        found.append(Tool(f"mcmc, {kernel}, {options.dtype}", "ours.py", "mcmc", OURS_CACHE, own))
    jax = ("--dtype", options.dtype)
    many = options.device == "gpu"
    found += [
        Tool("numpyro: NUTS", "numpyro_nuts.py", "numpyro", JAX_CACHE, jax, chains=many),
        Tool("blackjax: NUTS", "blackjax_nuts.py", "blackjax", JAX_CACHE, jax),
        Tool("blackjax: ChEES", "blackjax_chees.py", "blackjax", JAX_CACHE, jax, chains=True),
        Tool("emcee", "emcee_stretch.py", "emcee", {}, chains=True),
        Tool("nutpie: NUTS", "nutpie_nuts.py", "nutpie", PYTENSOR_CACHE),
        Tool("nutpie: NUTS, low rank", "nutpie_nuts.py", "nutpie", PYTENSOR_CACHE, ("--adaptation", "low_rank")),
    ]
    if many:
        found = [tool for tool in found if any(word in tool.name for word in GPU_TOOLS)]
    return [tool for tool in found if not options.tools or any(word in tool.name for word in options.tools)]


def dtypes(options):
    """Ours in the type of the JAX peers and, on a CPU, in its own default type too."""
    return (options.dtype,) if options.device == "gpu" else tuple(dict.fromkeys((options.dtype, "float64")))


def case_of(problem, tool, asked, options):
    """The command of a case."""
    python = sys.executable if tool.package == "mcmc" else options.peers_python
    command = [python, str(SCRIPTS / tool.script), "--problem", problem, "--repeats", str(options.repeats)]
    if tool.package in ("mcmc", "numpyro", "blackjax"):
        command += ["--device", options.device]
    given = options.chains is not None
    if tool.chains or (tool.package == "mcmc" and given):
        command += ["--chains", str(asked)]
        if options.device == "gpu":
            command += ["--warmup", "500"] if tool.package != "mcmc" else []
            command += ["--draws", str(draws_of(asked))]
    return Case(problem, tool, asked, (*command, *tool.settings))


def draws_of(chains):
    """Draws a chain on a GPU, for all tools alike: 200,000 over all chains, within 20 and 500."""
    return max(FEWEST_DRAWS, min(MOST_DRAWS, ENSEMBLE_DRAWS // chains))


def main():
    options = parse()
    rows, found = [], tools_of(options)
    asked = options.chains or [64]
    for problem in options.problems:
        cases = [case_of(problem, tool, chains, options) for chains in asked for tool in found]
        rows += measure(cases, options)
        save(rows, options)
    print(tables({"rows": rows, **more(rows, options)}))
    print(f"written: {Path(options.out).name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one repeat, no warm cache: minutes; figures are rough")
    parser.add_argument("--problems", nargs="+", choices=problems.NAMES, default=list(problems.NAMES))
    parser.add_argument("--tools", nargs="+", help="tools whose name has one of these words")
    parser.add_argument("--kernels", nargs="+", default=[], help="ours with others too: NUTS, or HMC:length=2")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--chains", nargs="+", type=int, help="64 by default; our own default where it is left out")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case; medians count")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="of all JAX tools")
    parser.add_argument("--hot-only", action="store_true", help="no whole-process seconds")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds that a process may take")
    parser.add_argument("--out", default=str(common.RESULTS / "peers.json"))
    options = parser.parse_args()
    options.repeats = 1 if options.quick else options.repeats
    return options


def measure(cases, options):
    """The rows of one problem's cases. Whole processes take turns, so that a busy minute is no one tool's."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [hot(case, Path(folder) / f"hot {i}", options) for i, case in enumerate(cases)]
        whole = {i: {"cold": [], "warm": []} for i, row in enumerate(rows) if "ess" in row and not options.hot_only}
        for turn in range(options.repeats):
            for i, seconds in whole.items():
                say(f"{cases[i].problem}: {cases[i].tool.name}, whole process, round {turn + 1} of {options.repeats}")
                fresh = Path(folder) / f"cache {i} {turn}"
                for cache in seconds if cases[i].tool.cache and not options.quick else ("cold",):
                    seconds[cache].append(once(cases[i], fresh, options))
        for i, seconds in whole.items():
            rows[i] |= {cache: median(taken) for cache, taken in seconds.items()}
    return [row | {"why_not": accounting.why_not(row)} for row in rows]


def median(seconds):
    """The median, or None where nothing was measured or something failed."""
    return None if not seconds or None in seconds else statistics.median(seconds)


def hot(case, folder, options):
    """A row: compiled runs, their draws judged."""
    row = {"problem": case.problem, "tool": case.tool.name, "asked": case.asked}
    if not common.installed(case.command[0], case.tool.package):
        return row | {"note": "not installed"}
    say(f"{case.problem}: {case.tool.name}, {case.asked} chains asked for, hot")
    folder.mkdir()
    line, _, note = child((*case.command, "--folder", str(folder)), case.tool, folder / "cache", options)
    if note:
        return row | {"note": note}
    draws = [np.load(folder / f"draws {i}.npz")["draws"] for i in range(len(line["runs"]))]
    row |= {"dtype": line["dtype"], **accounting.summed_up(line["runs"])}
    return row | accounting.figures(draws, problems.moments(case.problem))


def once(case, cache, options):
    """Seconds from the spawn of a process that makes one run to its exit, or None where it failed."""
    _, seconds, note = child((*case.command, "--once"), case.tool, cache, options)
    return None if note else seconds


def child(command, tool, cache, options):
    """Run a script: its line of JSON, its seconds, and why it failed."""
    apart = {*JAX_CACHE, *PYTENSOR_CACHE, *OURS_CACHE, "PYTHONDONTWRITEBYTECODE", "JAX_ENABLE_X64", "JAX_PLATFORMS"}
    environment = {k: v for k, v in os.environ.items() if k not in apart}
    environment |= {name: value.format(folder=cache) for name, value in tool.cache.items()}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if options.device == "cpu":
        environment["JAX_PLATFORMS"] = "cpu"
    Path(cache).mkdir(exist_ok=True)
    start = time.perf_counter()
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return None, None, f"took longer than {options.limit:.0f} s"
    seconds = time.perf_counter() - start
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return None, None, f"failed: {last[:200]}"
    return json.loads(lines[-1]), seconds, ""


def more(rows, options):
    """What stands beside the rows in the JSON."""
    asked = dict.fromkeys(row["asked"] for row in rows)
    found = {"summaries": [accounting.summary(rows, chains) for chains in asked]}
    names = ("device", "dtype", "repeats", "quick", "limit")
    return found | {"settings": {name: getattr(options, name) for name in names}}


def save(rows, options):
    about = "min(ESS of x, ESS of x²) per second on six problems, compiled, warmup included"
    common.save(options.out, about, rows, options.peers_python, **more(rows, options))


if __name__ == "__main__":
    main()
