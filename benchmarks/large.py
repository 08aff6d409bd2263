"""Seconds and gradients to an effective sample size of 400 in thousands of dimensions, or where gradients are dear.

    uv run --extra bench python benchmarks/large.py [--quick] [--only volatility many_rows] [--tools mcmc numpyro]

Ours is `mcmc.sample(target, until=mcmc.Converged(ess=400))`; NumPyro's NUTS makes 4 chains of 1000 draws after 1000,
and its seconds after warmup are scaled to 400. Effective draws are the least over all coordinates x and over x².
Besides, what a gradient costs of either tool, in those of a plain jitted value and gradient.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
from large_targets import PROBLEMS, QUICK

sys.path.insert(0, str(common.HERE / "peers"))

import accounting

import mcmc

ESS, CHAINS, REPEATS = 400, 4, 20


def main():
    options = parse()
    rows = []
    for name in options.only:
        with jax.enable_x64(True):
            problem = PROBLEMS[name](QUICK[name]) if options.quick else PROBLEMS[name]()
            plain = gradient_seconds(problem)
        for tool, run in TOOLS.items():
            if options.tools and not any(word in tool for word in options.tools):
                continue
            print(f"{problem.name}: {tool} ...", file=sys.stderr, flush=True)
            row = {"target": problem.name, "dim": problem.dim, "tool": tool, "plain_gradient": plain}
            rows.append(row | run(problem, options.quick))
            common.save(options.out, __doc__.splitlines()[0].rstrip("."), rows, settings={"quick": options.quick})
    show(rows)
    print(f"written: {Path(options.out).name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(PROBLEMS), default=list(PROBLEMS), help="these targets")
    parser.add_argument("--tools", nargs="+", help="tools whose name has one of these words")
    parser.add_argument("--quick", action="store_true", help="a check that it works: small targets")
    parser.add_argument("--out", default=str(common.RESULTS / "large.json"))
    return parser.parse_args()


def gradient_seconds(problem):
    """The least seconds of a compiled log density and gradient at one position."""
    evaluate, at = jax.jit(jax.value_and_grad(problem.log_density)), jnp.zeros(problem.dim)
    jax.block_until_ready(evaluate(at))
    found = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(evaluate(at))
        found.append(time.perf_counter() - began)
    return min(found)


def ours(problem, quick):
    """`mcmc.sample` until 400 effective draws."""
    target = mcmc.Target(lambda p: problem.log_density(p["x"]), {"x": mcmc.real(problem.dim)})
    counted = {}

    def watch(update):
        counted[update.phase] = update.gradients

    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = mcmc.sample(target, until=mcmc.Converged(ess=ESS), seed=1, progress=watch)
    seconds = time.perf_counter() - began - tree.attrs["compile_time"]
    gradients = sum(counted.values())
    return figures(tree["posterior"]["x"].values, gradients, seconds, seconds) | {"ok": mcmc.diagnose(tree).ok}


def numpyro_nuts(problem, quick):
    """NUTS with a diagonal metric, its chains one after the other."""
    if importlib.util.find_spec("numpyro") is None:
        return {"note": "not installed"}
    from numpyro.infer import MCMC, NUTS

    n = 200 if quick else 1000
    with jax.enable_x64(True):
        kernel = NUTS(potential_fn=lambda q: -problem.log_density(q))
        run = MCMC(
            kernel, num_warmup=n, num_samples=n, num_chains=CHAINS, chain_method="sequential", progress_bar=False
        )
        start = jnp.asarray(np.random.default_rng(7).uniform(-2, 2, (CHAINS, problem.dim)))
        run.warmup(jax.random.PRNGKey(0), init_params=start, collect_warmup=True, extra_fields=("num_steps",))
        warm = int(np.sum(run.get_extra_fields()["num_steps"]))
        run.run(run.post_warmup_state.rng_key, extra_fields=("num_steps",))
        began = time.perf_counter()  # once more, all compiled
        run.warmup(jax.random.PRNGKey(1), init_params=start, collect_warmup=True, extra_fields=("num_steps",))
        middle = time.perf_counter()
        run.run(run.post_warmup_state.rng_key, extra_fields=("num_steps",))
        jax.block_until_ready(run.get_samples())
        end = time.perf_counter()
    draws = np.asarray(run.get_samples(group_by_chain=True))
    gradients = warm + int(np.sum(run.get_extra_fields()["num_steps"]))
    found = figures(draws, gradients, end - began, end - began)
    return found | {"seconds_to_ess": middle - began + (end - middle) * ESS / found["ess"], "ok": None}


def figures(draws, gradients, seconds, to_ess):
    """Gradients per effective draw, and seconds."""
    found = accounting.judge(draws, draws.mean((0, 1)))
    ess = min(found["ess"], found["square_ess"])
    return {
        "chains": draws.shape[0],
        "draws": draws.shape[1],
        "gradients": gradients,
        "ess": ess,
        "per_effective": gradients / ess,
        "rhat": found["rhat"],
        "seconds": seconds,
        "seconds_to_ess": to_ess,
    }


TOOLS = {"mcmc, until ess 400": ours, "numpyro: NUTS": numpyro_nuts}


def show(rows):
    header = ("target", "tool", f"s to ESS {ESS}", "gradients", "per effective draw", "cost of one", "R-hat", "ok")
    table = []
    for row in rows:
        if "note" in row:
            table.append((row["target"], row["tool"], row["note"], *["-"] * 5))
            continue
        one = row["seconds"] / row["gradients"] / row["plain_gradient"]
        numbers = (f"{row['seconds_to_ess']:.1f}", f"{row['gradients']:,}", f"{row['per_effective']:.0f}", f"{one:.2f}")
        ok = "-" if row["ok"] is None else "yes" if row["ok"] else "no"
        table.append((row["target"], row["tool"], *numbers, f"{row['rhat']:.3f}", ok))
    common.show("Large targets", header, table)


if __name__ == "__main__":
    main()
