"""emcee's line fit as a NumPy function: ours beside emcee, one call a chain and one call for all.

    uv run --extra bench python benchmarks/black_box.py [--chains 32 64] [--draws 5000] [--repeats 3] [--quick]

The likelihood of emcee's documentation: 50 points on a straight line whose errors are underestimated by a share of
the model; m, b and log f within flat bounds. Both tools get the same function in its two forms, for one chain and for
all, start near the best fit as that documentation does, discard 500 iterations and keep as many draws. emcee runs with
its default stretch move and with the moves of differential evolution that it suggests. Runs of the tools take turns;
each is a process of its own, in which everything is compiled before the run that counts.

Columns: ESS, the least over parameters of those of x and x²; per second of the whole run, warmup included; evaluations
of the density a second; seconds of the first call, compiling included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings

import common
import numpy as np

BOUNDS = {"m": (-5.0, 0.5), "b": (0.0, 10.0), "log_f": (-10.0, 1.0)}
NEAR = (-1.0, 4.5, -0.7)
WARMUP = 500
CASES = (
    ("mcmc, one chain a call", "ours", False, None),
    ("mcmc, all chains a call", "ours", True, None),
    ("mcmc, Stretch, all chains a call", "ours", True, "stretch"),
    ("emcee, one walker a call", "emcee", False, None),
    ("emcee, DE moves, one walker a call", "emcee", False, "de"),
    ("emcee, all walkers a call", "emcee", True, None),
    ("emcee, DE moves, all walkers a call", "emcee", True, "de"),
)


def main():
    options = parse()
    if options.case is not None:
        print(json.dumps(one(options)))
        return
    rows = []
    for chains in options.chains:
        found = {name: [] for name, *_ in CASES}
        for _ in range(options.repeats):
            for i, (name, tool, *_) in enumerate(CASES):
                print(f"{name}, {chains} chains ...", file=sys.stderr, flush=True)
                found[name].append(measure(options, i, tool, chains))
        rows += [{"what": name, "chains": chains, **middle(runs)} for name, runs in found.items()]
    about = f"emcee's line fit, a NumPy function; {WARMUP} + {options.draws} iterations, medians of {options.repeats}"
    path = common.save(options.out, about, rows, options.peers_python, ratios=compare(rows))
    print_tables(rows, about)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--draws", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a check that it works: 32 chains, few draws, one run")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has emcee")
    parser.add_argument("--out", default=str(common.RESULTS / "black_box.json"))
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--draws-file", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.chains, options.draws, options.repeats = [32], 1000, 1
    return options


# --- the problem --------------------------------------------------------------------------------------


def data():
    """The data of emcee's documentation: x, y and the errors as they were reported."""
    rng = np.random.RandomState(123)
    x = np.sort(10 * rng.rand(50))
    error = 0.1 + 0.5 * rng.rand(50)
    y = -0.9594 * x + 4.294
    y += np.abs(0.534 * y) * rng.randn(50)
    return x, y + error * rng.randn(50), error


X, Y, ERROR = data()


def log_likelihood(m, b, log_f):
    """Of one chain, or of all where the parameters have axes (chain, 1)."""
    model = m * X + b
    variance = ERROR**2 + model**2 * np.exp(2 * log_f)
    return -0.5 * np.sum((Y - model) ** 2 / variance + np.log(variance), axis=-1)


def starts(chains, seed):
    return np.array(NEAR) + 1e-2 * np.random.default_rng(seed).normal(size=(chains, 3))


# --- one case, in a process of its own ----------------------------------------------------------------


def one(options):
    _, tool, vectorized, moves = CASES[options.case]
    run = (ours if tool == "ours" else emcee_walkers)(options.chains[0], options.draws, vectorized, moves)
    began = time.perf_counter()
    run(0)
    first = time.perf_counter() - began
    began = time.perf_counter()
    draws, evaluations = run(1)
    seconds = time.perf_counter() - began
    np.save(options.draws_file, draws)
    return {"first": first, "seconds": seconds, "evaluations": evaluations}


def ours(chains, draws, vectorized, moves):
    import mcmc

    calls = [0]

    def single(p):
        calls[0] += 1
        return log_likelihood(p["m"], p["b"], p["log_f"])

    def every(p):
        calls[0] += len(p["m"])
        return log_likelihood(p["m"][:, None], p["b"][:, None], p["log_f"][:, None])

    supports = {name: mcmc.interval(*ends) for name, ends in BOUNDS.items()}
    target = mcmc.Target.black_box(every if vectorized else single, supports, vectorized=vectorized)
    kernel = mcmc.Stretch() if moves == "stretch" else None

    def run(seed):
        calls[0] = 0
        init = dict(zip(BOUNDS, starts(chains, seed).T, strict=True))
        with warnings.catch_warnings():  # short runs are not converged, and say so
            warnings.simplefilter("ignore")
            tree = mcmc.sample(target, kernel, init=init, warmup=WARMUP, draws=draws, seed=seed, progress=False)
        return np.stack([tree["posterior"][name].values for name in BOUNDS], -1), calls[0]

    return run


def emcee_walkers(chains, draws, vectorized, moves):
    import emcee

    calls = [0]
    low, high = np.array(list(BOUNDS.values())).T

    def single(q):
        calls[0] += 1
        return log_likelihood(*q) if np.all((q > low) & (q < high)) else -np.inf

    def every(q):
        calls[0] += len(q)
        lp = log_likelihood(*q.T[:, :, None])
        return np.where(np.all((q > low) & (q < high), axis=1), lp, -np.inf)

    mixed = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)] if moves == "de" else None

    def run(seed):
        calls[0] = 0
        np.random.seed(seed)  # noqa: NPY002  (what emcee draws from)
        sampler = emcee.EnsembleSampler(chains, 3, every if vectorized else single, vectorize=vectorized, moves=mixed)
        state = sampler.run_mcmc(starts(chains, seed), WARMUP)
        sampler.reset()
        sampler.run_mcmc(state, draws)
        return sampler.get_chain().swapaxes(0, 1), calls[0]

    return run


# --- accounting ---------------------------------------------------------------------------------------


def measure(options, case, tool, chains):
    """One run of a case: its figures, or a note where the tool is missing or fails."""
    import tempfile
    from pathlib import Path

    python = sys.executable if tool == "ours" else options.peers_python
    if tool != "ours" and not common.installed(python, tool):
        return {"note": "not installed"}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "draws.npy"
        command = [python, __file__, "--case", str(case), "--chains", str(chains), "--draws", str(options.draws)]
        done = subprocess.run([*command, "--draws-file", str(file)], capture_output=True, text=True)
        if done.returncode:
            return {"note": "failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1][:100]}
        found = json.loads(done.stdout.splitlines()[-1])
        return found | figures(np.load(file), found)


def figures(draws, found):
    import mcmc

    ess = min(float(np.min(mcmc.ess(x))) for x in (draws, draws**2))
    return {
        "ess": ess,
        "rhat": float(np.max(mcmc.rhat(draws))),
        "ess_per_second": ess / found["seconds"],
        "evaluations_per_second": found["evaluations"] / found["seconds"],
        "evaluations_per_ess": found["evaluations"] / ess,
        "means": draws.mean((0, 1)).tolist(),
    }


def middle(runs):
    """The run in the middle by ESS a second, with the smallest time of a first call."""
    if any("note" in run for run in runs):
        return next(run for run in runs if "note" in run)
    order = sorted(runs, key=lambda run: run["ess_per_second"])
    return order[(len(order) - 1) // 2] | {"first": statistics.median(run["first"] for run in runs)}


def compare(rows):
    """Effective draws a second by default, for each of the better of emcee's, by form and chains."""
    by = {(row["what"], row["chains"]): row.get("ess_per_second") for row in rows}
    ratios = []
    for chains in dict.fromkeys(row["chains"] for row in rows):
        ratio = {"chains": chains}
        for form, vectorized in (("one a call", False), ("all a call", True)):
            mine = next(by[name, chains] for name, tool, v, _ in CASES if tool == "ours" and v == vectorized)
            theirs = [by[name, chains] for name, tool, v, _ in CASES if tool == "emcee" and v == vectorized]
            ratio[form] = mine / max(theirs) if mine and all(theirs) else None
        ratios.append(ratio)
    return ratios


def print_tables(rows, about):
    columns = ("seconds", "ess", "ess_per_second", "evaluations_per_second", "evaluations_per_ess", "rhat", "first")
    table = []
    for row in rows:
        shown = [row["note"]] if "note" in row else [common.number(row[c], 4) for c in columns]
        table.append([row["what"], row["chains"], *shown, *[""] * (len(columns) - len(shown))])
    header = ["", "chains", "s", "ESS", "ESS/s", "evaluations/s", "evaluations/ESS", "R-hat", "first call, s"]
    common.show(about, header, table)
    for ratio in compare(rows):
        shown = ", ".join(f"{k} {common.number(v)}" for k, v in ratio.items() if k != "chains")
        print(f"ESS a second, ours / emcee's best, {ratio['chains']} chains: {shown}")


if __name__ == "__main__":
    main()
