"""What the benchmarks share: the machine in words, medians, peers that may be missing, JSON and tables."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = ("mcmc", "jax", "jaxlib", "numpy", "arviz", "blackjax", "numpyro", "emcee", "nutpie", "walnutpie", "pymc")


def machine(peers_python=None):
    """The machine and the versions, without names of hosts, users or folders."""
    found = versions()
    if peers_python is not None:
        found = {**versions_of(peers_python), **found}
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": found,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def versions():
    """The packages that this interpreter has."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def versions_of(python):
    """The packages that another interpreter has; empty where it can't say."""
    code = f"import json, sys; sys.path.insert(0, {str(HERE)!r})"
    code += "; import common; print(json.dumps(common.versions()))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    found.pop("mcmc", None)
    return found


def installed(python, package):
    """Whether an interpreter finds a package."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return subprocess.run([python, "-c", code], capture_output=True).returncode == 0


def _cpu():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def median_seconds(function, repeats):
    """The median of the seconds that `function()` takes, after one call that does not count."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def save(path, about, rows, peers_python=None, **more):
    """Write the result of a benchmark as JSON."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    result = {"about": about, "machine": machine(peers_python), **more, "rows": rows}
    path.write_text(json.dumps(result, indent=1) + "\n")
    return path


def show(title, header, rows):
    """Print a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*map(str, row))
    width = None if os.isatty(1) else 200
    Console(width=width).print(table)


def number(value, digits=3):
    """A number with so many significant digits; a dash for None."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
