"""How often a run that stops when it has converged stops with a wrong answer, and what that costs.

    uv run python benchmarks/stopping.py [--seeds 200] [--quick]

Five laws, `mcmc.sample(target, until=mcmc.Converged(ess=400))` with each seed, against runs of a fixed length (the
default). A mean is wrong where it is off by more than four of the Monte Carlo standard errors that 400 effective draws
give and by more than 0.2 standard deviations; a standard deviation where it is off by more than a quarter. `stopped`
counts the runs that said `converged`; `wrong` those of them that were wrong, `flagged` those of the wrong ones whose
diagnosis found something else (divergences, energy).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings

import common
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

import mcmc

ESS = 400
SETTINGS = {"progress": False}


def main():
    options = parse()
    rows = []
    for name, (target, kernel, chains, means, sds) in laws().items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        until = mcmc.Converged(ess=ESS, max_draws=options.most)
        runs = [one(target, kernel, chains, seed, means, sds, until=until) for seed in range(options.seeds)]
        fixed = [one(target, kernel, chains, seed, means, sds) for seed in range(max(options.seeds // 10, 2))]
        beside = {f"fixed {key}": value for key, value in counted(fixed).items()}
        rows.append({"law": name, "chains": chains, **counted(runs), **beside})
    show(rows)
    path = common.save(options.out, __doc__.splitlines()[0].rstrip("."), rows, seeds=options.seeds, ess=ESS)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200, help="runs of each law")
    parser.add_argument("--most", type=int, default=20_000, help="the most draws a chain")
    parser.add_argument("--quick", action="store_true", help="a check that it works: four seeds")
    parser.add_argument("--out", default=str(common.RESULTS / "stopping.json"))
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.most = 4, 1000
    return options


def laws():
    """Targets with known moments: kernel, chains, and the mean and standard deviation of every scalar."""
    rho = 0.9
    inverse = np.linalg.inv(np.array([[1.0, rho], [rho, 1.0]]))
    normal = mcmc.Target(lambda p: -0.5 * p["x"] @ inverse @ p["x"], {"x": mcmc.real(2)})
    heavy = mcmc.Target(lambda p: -3.0 * jnp.sum(jnp.log1p(p["x"] ** 2 / 5.0)), {"x": mcmc.real(2)})
    gamma = mcmc.Target(lambda p: jnp.sum(1.5 * jnp.log(p["x"]) - p["x"]), {"x": mcmc.positive(2)})
    modes = mcmc.Target(lambda p: logsumexp(norm.logpdf(p["x"], jnp.array([-2.5, 2.5]))), {"x": mcmc.real()})

    def funnel(p):
        return norm.logpdf(p["v"], 0.0, 1.5) + jnp.sum(norm.logpdf(p["x"], 0.0, jnp.exp(0.5 * p["v"])))

    neal = mcmc.Target(funnel, {"v": mcmc.real(), "x": mcmc.real(2)})
    wide = float(np.exp(0.25 * 1.5**2))
    return {
        "normal, correlation 0.9": (normal, mcmc.RandomWalk(), 4, [0.0, 0.0], [1.0, 1.0]),
        "Student t, 5 degrees": (heavy, mcmc.HMC(), 64, [0.0, 0.0], [(5 / 3) ** 0.5] * 2),
        "gamma, shape 2.5": (gamma, mcmc.NUTS(), 4, [2.5, 2.5], [2.5**0.5] * 2),
        "two modes 5 sd apart": (modes, mcmc.RandomWalk(), 4, [0.0], [(1 + 2.5**2) ** 0.5]),
        "funnel, 3-d": (neal, mcmc.HMC(), 64, [0.0, 0.0, 0.0], [1.5, wide, wide]),
    }


def one(target, kernel, chains, seed, means, sds, **settings):
    """One run: whether it stopped, was wrong, and was flagged; its draws and seconds."""
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", mcmc.ConvergenceWarning)
        draws = mcmc.sample(target, kernel, chains=chains, seed=seed, **SETTINGS, **settings)
    seconds = time.perf_counter() - began - draws.attrs["compile_time"]
    values = [v.values.reshape(*v.shape[:2], -1) for v in draws["posterior"].data_vars.values()]
    x = np.concatenate(values, 2).reshape(-1, len(means))
    off = np.abs(x.mean(0) - means) / sds
    wrong = (off > max(4 / ESS**0.5, 0.2)).any() or (np.abs(x.std(0) / sds - 1) > 0.25).any()
    flagged = any(issubclass(w.category, mcmc.ConvergenceWarning) for w in caught)
    stopped = draws.attrs.get("stopped", "converged") == "converged"
    worst = float(np.min(mcmc.summary(draws)["ess_bulk"]))
    return {"stopped": stopped, "wrong": bool(wrong), "flagged": flagged, "n": len(x), "s": seconds, "ess": worst}


def counted(runs):
    stopped = [run for run in runs if run["stopped"]]
    wrong = [run for run in stopped if run["wrong"]]
    return {
        "runs": len(runs),
        "stopped": len(stopped),
        "wrong": len(wrong),
        "flagged": sum(run["flagged"] for run in wrong),
        "draws": statistics.median(run["n"] for run in runs),
        "ess": statistics.median(run["ess"] for run in runs),
        "seconds": statistics.median(run["s"] for run in runs),
    }


def show(rows):
    for row in rows:
        stop = f"{row['stopped']}/{row['runs']} stopped, {row['wrong']} wrong ({row['flagged']} flagged)"
        cost = f"{row['draws']:,.0f} draws, ESS {row['ess']:,.0f}, {row['seconds']:.2f} s"
        fixed = f"fixed: {row['fixed wrong']}/{row['fixed runs']} wrong, {row['fixed draws']:,.0f} draws, "
        fixed += f"ESS {row['fixed ess']:,.0f}, {row['fixed seconds']:.2f} s"
        print(f"{row['law']:24} {stop}; {cost}; {fixed}")


if __name__ == "__main__":
    main()
