"""Twenty-nine posteriors with reference draws, by `mcmc.sample(target)` as it is: are the answers right?

    uv run python benchmarks/posteriordb.py [NAMES...] [--data DIR] [--kernel NUTS] [--chains 4] [--seed 0] [--quick]

DIR (or the environment variable POSTERIORDB) is a checkout of posteriordb, or its folder `posterior_database`.
NAMES are whole names, or words that names have. For each posterior, in one process:

  mean, MCSE   the worst error of a mean, in Monte Carlo errors: ours and the reference's together
  mean, sd     the worst error of a mean, in standard deviations of the reference
  sd ratio     the worst standard deviation, ours to the reference's
  ESS x, x²    the least bulk ESS of the parameters and of their squared distances from the mean
  verdict      ok, or how many checks of `mcmc.diagnose` failed, named below the table
  cold, hot    seconds of the first call, which compiles, and of the second; then warmup and sampling of the second
  grads/ESS    gradients (leapfrog steps of all chains while sampling) per effective draw, of x or x²

A posterior is right where every mean lies within 5 Monte Carlo errors and 0.06 sd of the reference, every sd
within 10 %, and the diagnosis is ok. Exit status: 0 all right, 1 some not, 2 no data or a wrong name.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
import warnings
import zipfile
from pathlib import Path

import common
import numpy as np
from posteriors import POSTERIORS

import mcmc

SWITCH = "POSTERIORDB"
MEAN_ERRORS, MEAN_SD, SD_RATIO = 5.0, 0.06, 0.10


def main():
    options = parse()
    os.environ["MCMC_COMPILATION_CACHE"] = "off"  # so that the first call compiles
    try:
        folder = find_database(options.data)
        names = chosen(options.names)
    except ValueError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    about = "posteriors of posteriordb by the default mcmc.sample(target), against their reference draws"
    settings = {name: getattr(options, name) for name in ("kernel", "chains", "seed", "quick")}
    limits = {"mean_errors": MEAN_ERRORS, "mean_sd": MEAN_SD, "sd_ratio": SD_RATIO}
    rows, path = [], Path(options.out)
    for name in names:
        print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
        rows.append({"posterior": name, **measure(name, folder, options)})
        print("right" if not rows[-1]["misses"] else "misses", file=sys.stderr, flush=True)
        path = common.save(options.out, about, rows, **settings, limits=limits)
    print_table(rows)
    print(f"written: {path.name}")
    sys.exit(int(any(row["misses"] for row in rows)))


def parse():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="words of the posteriors' names; all without any")
    parser.add_argument("--data", default=os.environ.get(SWITCH), help=f"a checkout of posteriordb, or {SWITCH}")
    parser.add_argument("--kernel", choices=kernels(), help="in place of the default")
    parser.add_argument("--chains", type=int, help="in place of the default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one call a posterior: no hot seconds")
    parser.add_argument("--out", default=str(common.RESULTS / "posteriordb.json"))
    return parser.parse_args()


def kernels():
    """The kernels of `mcmc` that can do without arguments."""
    missing = dataclasses.MISSING
    found = []
    for name in mcmc.__all__:
        fields = dataclasses.fields(getattr(mcmc, name)) if dataclasses.is_dataclass(getattr(mcmc, name)) else ()
        if hasattr(getattr(mcmc, name), "step") and all(
            (f.default, f.default_factory) != (missing,) * 2 for f in fields
        ):
            found.append(name)
    return found


def chosen(words):
    """The posteriors whose names have one of these words; ValueError for a word that none has."""
    found = set() if words else set(POSTERIORS)
    for word in words:
        matches = {word} & set(POSTERIORS) or {name for name in POSTERIORS if word in name}
        if not matches:
            raise ValueError(f"no posterior's name has {word!r}; there are: {', '.join(POSTERIORS)}")
        found |= matches
    return [name for name in POSTERIORS if name in found]


# --- posteriordb's files ----------------------------------------------------------------------------------


def find_database(place):
    """The folder `posterior_database` of a checkout, or that folder itself; ValueError where it is not there."""
    remedy = f"Clone posteriordb (github.com/stan-dev/posteriordb) and pass --data DIR, or set {SWITCH}=DIR."
    if not place:
        raise ValueError(f"No data: neither --data nor {SWITCH} is given. {remedy}")
    for folder in (Path(place) / "posterior_database", Path(place)):
        if (folder / "posteriors").is_dir():
            return folder
    raise ValueError(f"No data: {place} has no posterior_database/posteriors. {remedy}")


def load(folder, name):
    """A posterior's data (a dict) and reference draws, {parameter: (chain, draw)}."""
    about = read(folder / "posteriors" / f"{name}.json")
    data = read(folder / "data" / "data" / f"{about['data_name']}.json")
    draws = folder / "reference_posteriors" / "draws" / "draws"
    chains = read(draws / f"{about['reference_posterior_name']}.json")
    return data, {parameter: np.array([chain[parameter] for chain in chains], float) for parameter in chains[0]}


def read(path):
    """The JSON in a file, or in the zip archive beside it."""
    archive = path.with_name(f"{path.name}.zip")
    if path.exists() or not archive.exists():
        return json.loads(path.read_text())
    with zipfile.ZipFile(archive) as opened:
        return json.loads(opened.read(path.name))


# --- the measurement --------------------------------------------------------------------------------------


def measure(name, folder, options):
    """One row: the comparison, the diagnosis and the seconds; or a note of why there is none."""
    settings = {"seed": options.seed} if options.chains is None else {"seed": options.seed, "chains": options.chains}
    kernel = getattr(mcmc, options.kernel)() if options.kernel else None
    try:
        data, reference = load(folder, name)
        target = POSTERIORS[name](data)
        draws, cold = timed(target, kernel, settings)
        row = {"dim": target.dim, **compare(draws, reference), **judge(draws), "cold": cold}
        if not options.quick:
            draws, row["hot"] = timed(target, kernel, settings)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        note = f"{type(error).__name__}: {error}".splitlines()[0]
        return {"note": note, "misses": ["failed"]}
    row |= {part: draws.attrs[part] for part in ("compile_time", "warmup_time", "sampling_time")}
    row |= {fact: draws.attrs[fact] for fact in ("kernel", "chains", "dtype")}
    return row | {"misses": misses(row)}


def timed(target, kernel, settings):
    """The draws, and the seconds of the whole call; a verdict that is not ok is recorded elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        start = time.perf_counter()
        draws = mcmc.sample(target, kernel, progress=False, **settings)
        return draws, time.perf_counter() - start


def compare(draws, reference):
    """The worst errors of mean and sd against {parameter: (chain, draw)}, each with its parameter."""
    ours = np.stack([scalar(draws["posterior"], name) for name in reference], -1)
    theirs = np.stack(list(reference.values()), -1)
    difference = np.abs(ours.mean((0, 1)) - theirs.mean((0, 1)))
    sd = theirs.std((0, 1))
    found = {
        "mean_errors": difference / np.hypot(mcmc.mcse(ours), mcmc.mcse(theirs)),
        "mean_sd": difference / sd,
        "sd_ratio": ours.std((0, 1)) / sd,
    }
    distance = {**found, "sd_ratio": np.abs(np.log(np.maximum(found["sd_ratio"], 1e-300)))}
    names, row = list(reference), {}
    for what, values in found.items():
        worst = int(np.argmax(np.nan_to_num(distance[what], nan=np.inf)))
        row |= {what: float(values[worst]), f"{what}_of": names[worst]}
    return row


def scalar(posterior, name):
    """The draws of one number named as Stan does, from 1: `theta[3]` -> (chain, draw)."""
    variable, _, index = name.partition("[")
    at = [int(i) - 1 for i in index.rstrip("]").split(",")] if index else []
    return np.asarray(posterior[variable].values[(..., *at)], float)


def judge(draws):
    """The diagnosis, effective sample sizes, and gradients for each effective draw."""
    verdict = mcmc.diagnose(draws)
    arrays = [x.values.reshape(*x.shape[:2], -1) for x in draws["posterior"].data_vars.values()]
    x = np.concatenate(arrays, -1).astype(float)
    ess = {"ess": float(np.min(mcmc.ess(x))), "ess_square": float(np.min(mcmc.ess((x - x.mean((0, 1))) ** 2)))}
    row = {"ok": verdict.ok, "failures": [check.code for check in verdict.failures], **ess}
    row |= {"max_rhat": float(np.max(mcmc.rhat(x))), "nested_rhat": verdict_value(verdict, "nested_rhat")}
    stats = draws["sample_stats"]
    row["divergences"] = int(stats["diverging"].sum()) if "diverging" in stats else None
    steps = int(stats["n_steps"].sum()) * draws.attrs["thin"] if "n_steps" in stats else None
    return row | {"gradients_per_ess": steps and steps / min(ess.values())}


def verdict_value(verdict, code):
    """What a check found, or None where it was not made."""
    return next((check.value for check in verdict.checks if check.code == code and check.made), None)


def misses(row):
    """Which of the figures a row misses; NaN misses."""
    reached = {
        f"mean of {row['mean_errors_of']} off by {row['mean_errors']:.1f} MCSE": row["mean_errors"] <= MEAN_ERRORS,
        f"mean of {row['mean_sd_of']} off by {row['mean_sd']:.3f} sd": row["mean_sd"] <= MEAN_SD,
        f"sd of {row['sd_ratio_of']} {row['sd_ratio']:.3f} times": abs(row["sd_ratio"] - 1) <= SD_RATIO,
        f"diagnosis: {', '.join(row['failures'])}": row["ok"],
    }
    return [what for what, good in reached.items() if not good]


# --- the table --------------------------------------------------------------------------------------------

HEADER = ("posterior", "dim", "mean, MCSE", "mean, sd", "sd ratio", "ESS x", "ESS x²", "R-hat", "diverging")
HEADER += ("verdict", "cold s", "hot s", "warmup + sampling s", "grads/ESS")


def print_table(rows):
    table = [cells(row) for row in rows]
    common.show("Posteriors against their reference draws", HEADER, table)
    wrong = [row for row in rows if row["misses"]]
    for row in wrong:
        print(f"(!) {row['posterior']}: {row.get('note') or '; '.join(row['misses'])}")
    print(f"{len(rows) - len(wrong)} of {len(rows)} right")


def cells(row):
    """A row of the table."""
    name = row["posterior"] + (" (!)" if row["misses"] else "")
    if "note" in row:
        return [name, *[""] * 8, "failed", *[""] * 4]
    numbers = [f"{row['mean_errors']:.1f}", f"{row['mean_sd']:.3f}", f"{row['sd_ratio']:.3f}"]
    numbers += [f"{row['ess']:,.0f}", f"{row['ess_square']:,.0f}", f"{row['max_rhat']:.3f}"]
    hot = f"{row['hot']:.2f}" if "hot" in row else "-"
    parts = f"{row['warmup_time']:.2f} + {row['sampling_time']:.2f}"
    verdict = "ok" if row["ok"] else f"{len(row['failures'])} failed"
    diverging = "-" if row["divergences"] is None else row["divergences"]
    seconds = [f"{row['cold']:.2f}", hot, parts, common.number(row["gradients_per_ess"])]
    return [name, row["dim"], *numbers, diverging, verdict, *seconds]


if __name__ == "__main__":
    main()
