"""run_bench: measure every part, print the tables, write JSON and the plot."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from mcmc.bench import direct, hmc, plot, table, walk
from mcmc.bench.measure import device, named, plan_of, without_cache
from mcmc.errors import WrongValue, got

PARTS = {"walk": walk.rows, "hmc": hmc.rows, "direct": direct.rows}
JSON, PICTURE = "bench.json", "bench.png"
ABOUT = "what this device gives, float32: ns a unit of work, its floors in the same unit, medians, compiling apart"


def run_bench(
    quick: bool = False,
    out: Any = "mcmc-bench",
    *,
    chains: tuple[int, ...] | None = None,
    parts: tuple[str, ...] = tuple(PARTS),
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure what the default device gives, print a table, and write JSON and a picture to a folder.

    A random-walk step, a gradient of Hamiltonian Monte Carlo, and a direct draw, each in ns and beside its floors,
    measured in the same run: random bits alone, bytes alone, log density (and gradient) alone. What does not fit in
    memory, or would take too long, is left out, and the table says so.

    Args:
        quick: fewer sizes and shorter repeats: under a minute on two cores.
        out: the folder for `bench.json` and `bench.png`; made if it is not there.
        chains: numbers of chains to measure; None: 64 to 65,536.
        parts: of "walk", "hmc" and "direct".
        say: called with a line before each case; None: the line goes to stderr.

    Returns:
        What was written: "device", "rows" (part, case, size, unit, ns, floors, over_floor, compile_seconds,
        per_second, note), "seconds".

    Raises:
        ValueError: a part that there is not, or a number of chains below 1. NotADirectoryError: `out` is a file.

    Example:
        >>> import mcmc.bench
        >>> found = mcmc.bench.run_bench(True, "mcmc-bench", chains=(64,), parts=("walk",))  # doctest: +SKIP
    """
    _check(chains, parts)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(got("out", str(out), "a folder", "Give another name."))
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with jax.enable_x64(False), without_cache():
        plan = plan_of(quick, say or (lambda line: print(f"{line} ...", file=sys.stderr, flush=True)))
        plan = replace(plan, chains=tuple(chains)) if chains else plan
        found, rows = device(), [row for part in parts for row in PARTS[part](plan)]
    seconds = time.perf_counter() - began
    result = {"about": ABOUT, "device": found, "quick": quick, "repeats": plan.repeats, "seconds": seconds}
    result |= {"rows": [row.to_dict() for row in rows]}
    (out / JSON).write_text(json.dumps(result, indent=1) + "\n")
    plot.draw(rows, named(found), out / PICTURE)
    table.show(rows, named(found))
    return result


def _check(chains: Any, parts: Any) -> None:
    if not parts or not set(parts) <= set(PARTS):
        raise WrongValue("parts", parts, f"some of {', '.join(PARTS)}", "Leave it out for all of them.")
    if chains is not None and (not chains or not all(isinstance(n, int) and n >= 1 for n in chains)):
        raise WrongValue("chains", chains, "numbers of chains, 1 or more", "Leave it out for 64 to 65,536.")
