"""Gradients per effective draw, warmup's included, on hierarchies and funnels: ours with and without a map, and peers.

    uv run --extra bench python benchmarks/geometry.py [--quick] [--only funnel brownian] [--tools mcmc numpyro]

Counts of gradients do not depend on the machine. Effective draws are the least over all coordinates x and over
(x - true mean)²; figures are medians over repeats with other seeds, R-hat and errors of the worst repeat.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
from pathlib import Path

import common
import numpy as np
from geometry_targets import PROBLEMS, TRUTH
from geometry_tools import TOOLS, numpyro_nuts

sys.path.insert(0, str(common.HERE / "peers"))

import accounting

QUICK, LONG, LONG_ACCEPTANCE = 0.2, 20, 0.95


def main():
    options = parse()
    if options.truth:
        return write_truth()
    rows = []
    for name in options.only:
        for tool in TOOLS:
            if not options.tools or any(word in tool for word in options.tools):
                print(f"{name}: {tool} ...", file=sys.stderr, flush=True)
                rows.append(measure(PROBLEMS[name], tool, options.repeats, QUICK if options.quick else 1))
                save(rows, options)
    show(rows)
    print(f"written: {Path(options.out).name}")
    return None


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(PROBLEMS), default=list(PROBLEMS), help="these targets")
    parser.add_argument("--tools", nargs="+", help="tools whose name has one of these words")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case, with other seeds")
    parser.add_argument("--quick", action="store_true", help="a check that it works: one short run")
    parser.add_argument("--truth", action="store_true", help="make the long run behind geometry_truth.json")
    parser.add_argument("--out", default=str(common.RESULTS / "geometry.json"))
    options = parser.parse_args()
    options.repeats = 1 if options.quick else options.repeats
    return options


def measure(problem, tool, repeats, size):
    """A row: one tool on one target."""
    package, run = TOOLS[tool]
    row = {"target": problem.name, "dim": problem.dim, "tool": tool}
    if importlib.util.find_spec(package) is None:
        return row | {"note": "not installed"}
    mean, sd = problem.truth()
    made = [run(problem, 1 + i, size) for i in range(repeats)]
    figures = [figures_of(one, mean, sd, problem.judged) for one in made]
    row |= {"chains": made[0].draws.shape[0], "draws": made[0].draws.shape[1]}
    row |= {key: statistics.median(f[key] for f in figures) for key in ("gradients", "ess", "per_effective")}
    row |= {key: max(f[key] for f in figures) for key in ("rhat", "mean_error", "sd_error")}
    counted = [one.divergences for one in made if one.divergences is not None]
    return row | {
        "divergences": statistics.median(counted) if counted else None,
        "ok": sum(one.ok for one in made),
        "runs": repeats,
        "geometry": made[0].geometry,
    }


def figures_of(run, mean, sd, coordinates):
    """Gradients per effective draw, R-hat, and errors of the moments that are judged, by true sds."""
    found = accounting.judge(run.draws, mean)
    ess = min(found["ess"], found["square_ess"])
    at = slice(None) if coordinates is None else list(coordinates)
    x = run.draws.reshape(-1, run.draws.shape[2])[:, at]
    return {
        "gradients": run.gradients,
        "ess": ess,
        "per_effective": run.gradients / ess,
        "rhat": found["rhat"],
        "mean_error": float(np.max(np.abs(x.mean(0) - mean[at]) / sd[at])),
        "sd_error": float(np.max(np.abs(x.std(0) / sd[at] - 1))),
    }


def write_truth():
    """The moments of a long run of NUTS, with their Monte Carlo errors."""
    kept = {}
    for name in ("sparse_logistic",):
        problem = PROBLEMS[name]
        draws = numpyro_nuts(problem, 0, LONG, LONG_ACCEPTANCE).draws
        found = accounting.judge(draws, draws.mean((0, 1)))
        kept[name] = {
            "by": f"NumPyro NUTS, acceptance {LONG_ACCEPTANCE}, {draws.shape[0]} chains of {draws.shape[1]} draws",
            **{key: round(found[key], 4) for key in ("ess", "square_ess", "rhat")},
            "mean": draws.mean((0, 1)).round(5).tolist(),
            "sd": draws.std((0, 1)).round(5).tolist(),
        }
    TRUTH.write_text(json.dumps(kept, indent=1) + "\n")
    print(json.dumps({name: {k: v for k, v in one.items() if k not in ("mean", "sd")} for name, one in kept.items()}))


def save(rows, options):
    about = __doc__.splitlines()[0].rstrip(".")
    common.save(options.out, about, rows, settings={"repeats": options.repeats, "quick": options.quick})


def show(rows):
    header = ("target", "tool", "gradients per effective draw", "R-hat", "mean off, sd", "sd off", "divergences", "ok")
    table = []
    for row in rows:
        if "note" in row:
            table.append((row["target"], row["tool"], row["note"], *["-"] * 5))
            continue
        off = [f"{row[key]:.3f}" for key in ("mean_error", "sd_error")]
        ok = f"{row['ok']} of {row['runs']}"
        per = common.number(row["per_effective"])
        table.append(
            (row["target"], row["tool"], per, f"{row['rhat']:.3f}", *off, common.number(row["divergences"]), ok)
        )
    common.show("Geometry", header, table)
    for row in rows:
        if row.get("geometry"):
            print(f"{row['target']}, {row['tool']}: {row['geometry']}")


if __name__ == "__main__":
    main()
