"""What is made of the draws and seconds of a case: its figures, whether it may be a best peer, ratios, means.

A row is a dict, one a (problem, tool, number of chains asked for). Seconds of the hot runs are medians over the
repeats, effective sizes too; R-hat is the worst repeat's; means and standard deviations are of all repeats together.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

MOST_RHAT = 1.05
MOST_ERROR = 0.15  # of a mean, in standard deviations, and of a standard deviation, relative
MANY_CHAINS = 256  # above it chains are short: R-hat misleads, and the chains' means tell the effective size
ASKED = {"schools": 2.0, "logistic": 2.0, "rosenbrock": 2.0, "normal": 8.0, "line": 8.0}
ASKED_MEAN = 4.0
COUNTED = tuple(ASKED)  # what the geometric mean is over: all but the funnel


def figures(runs, truth):
    """Effective sizes, R-hat and errors of repeats (chain, draw, dim), against true `(means, sds)`."""
    mean, sd = truth
    judged = [judge(np.asarray(x, float), mean) for x in runs]
    first = np.mean([np.mean(x, (0, 1), dtype=float) for x in runs], 0)
    second = np.mean([np.mean((x - mean) ** 2, (0, 1), dtype=float) for x in runs], 0)
    found = np.sqrt(second - (first - mean) ** 2)
    rhats = [one["rhat"] for one in judged]
    bulk = [one["square_bulk_ess"] for one in judged]
    return {
        "ess": statistics.median(one["ess"] for one in judged),
        "square_ess": statistics.median(one["square_ess"] for one in judged),
        "square_bulk_ess": None if None in bulk else statistics.median(bulk),
        "rhat": None if None in rhats else worst(rhats),
        "mean_error": worst(np.abs(first - mean) / sd),
        "sd_error": worst(np.abs(found / sd - 1)),
    }


def worst(values):
    """The largest, and NaN where one is NaN."""
    return float(np.max(list(values)))


def judge(x, mean):
    """Least effective sizes and the largest R-hat of one run (chain, draw, dim).

    `ess` is bulk ESS of x, `square_ess` that of the mean of (x - true mean)², so of the variance; `square_bulk_ess`,
    of the squares' normal scores, weighs the tails less.
    """
    squares = (x - mean) ** 2
    if x.shape[0] > MANY_CHAINS:
        found = {"ess": ensemble_ess(x), "square_ess": ensemble_ess(squares)}
        return found | {"square_bulk_ess": None, "rhat": None}
    import mcmc

    return {
        "ess": float(np.min(mcmc.ess(x))),
        "square_ess": float(np.min(mcmc.ess(squares, method="mean"))),
        "square_bulk_ess": float(np.min(mcmc.ess(squares))),
        "rhat": float(np.max(mcmc.rhat(x))),
    }


def ensemble_ess(x):
    """The least effective size of many short chains: their number times variance / variance of their means."""
    between = x.mean(1).var(0, ddof=1)
    return float(np.min(x.shape[0] * x.var((0, 1)) / between))


def summed_up(runs):
    """The medians over repeats of seconds and counts; None where a tool does not count."""

    def median(name):
        values = [run[name] for run in runs]
        return None if None in values else statistics.median(values)

    kept = ("warmup", "sampling", "call", "gradients", "warmup_gradients", "divergences")
    found = {name: median(name) for name in kept} | {name: runs[0][name] for name in ("chains", "draws")}
    return found | {"hot": [run["warmup"] + run["sampling"] for run in runs], "note": runs[-1]["note"]}


def why_not(row):
    """Why a row can't be a best peer, or an empty text."""
    if "ess" not in row:
        return row["note"]
    reasons = []
    if row["rhat"] is not None and not row["rhat"] <= MOST_RHAT:
        reasons.append(f"R-hat above {MOST_RHAT}")
    if not row["mean_error"] <= MOST_ERROR:
        reasons.append(f"a mean off by more than {MOST_ERROR} sd")
    if not row["sd_error"] <= MOST_ERROR:
        reasons.append(f"an sd off by more than {MOST_ERROR:.0%}")
    if not min(row["ess"], row["square_ess"]) > 0:
        reasons.append("no effective size")
    return ", ".join(reasons)


def per_second(row):
    """min(ESS of x, ESS of x²) per second of hot warmup and sampling."""
    return min(row["ess"], row["square_ess"]) / (row["warmup"] + row["sampling"])


def per_effective(row, warmup):
    """Gradients of sampling, or of warmup too, per effective draw; None where they are not known."""
    parts = [row["gradients"], row["warmup_gradients"] if warmup else 0]
    return None if None in parts else sum(parts) / min(row["ess"], row["square_ess"])


def is_ours(row):
    """Whether a row is of this package."""
    return row["tool"].startswith("mcmc")


def summary(rows, chains):
    """For each problem our rows against the best eligible peer, among the rows with so many chains asked for."""
    rows = [row for row in rows if row["asked"] == chains]
    names = list(dict.fromkeys(row["tool"] for row in rows if is_ours(row)))
    found = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        here = [row for row in rows if row["problem"] == problem]
        good = [row for row in here if not why_not(row)]
        best = max((row for row in good if not is_ours(row)), key=per_second, default=None)
        rates = {row["tool"]: per_second(row) for row in good if is_ours(row)}
        found.append(
            {
                "problem": problem,
                "best_peer": best and best["tool"],
                "best_rate": best and per_second(best),
                "rates": {name: rates.get(name) for name in names},
                "ratios": {name: rates[name] / per_second(best) if name in rates and best else None for name in names},
                "asked": ASKED.get(problem),
            }
        )
    means = {name: geometric_mean(found, name) for name in names}
    return {"chains": chains, "problems": found, "geometric_means": means, "asked_mean": ASKED_MEAN}


def geometric_mean(problems, name):
    """Of the ratios of the problems that count; None where one of them is missing."""
    ratios = {p["problem"]: p["ratios"][name] for p in problems if p["problem"] in COUNTED}
    if set(ratios) != set(COUNTED) or None in ratios.values():
        return None
    return math.exp(statistics.fmean(math.log(ratio) for ratio in ratios.values()))


def fewest_gradients(rows, chains):
    """For each problem gradients per effective draw: of our rows, and the fewest of NUTS among the good peers."""
    found = {}
    for row in rows:
        if row["asked"] != chains or why_not(row) or row["gradients"] is None:
            continue
        here = found.setdefault(row["problem"], {})
        count = per_effective(row, warmup=False)
        if is_ours(row):
            here[row["tool"]] = count
        elif "NUTS" in row["tool"]:
            here["NUTS"] = min(count, here.get("NUTS", math.inf))
    return found
