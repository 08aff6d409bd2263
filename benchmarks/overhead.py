"""What everything around the kernel costs: chunks, keys, copies, checks, progress, diagnosis, the result.

    uv run python benchmarks/overhead.py [--chains 4 1024] [--draws 10000] [--repeats 3] [--quick]

For each case the whole of `mcmc.sample` (its program compiled before, warmup 0, progress shown to a pipe) is
compared with two loops that do nothing else than the kernel:

  program   the engine's own compiled program, all draws in calls without host work
  lean      what a careful user would write: a jitted fori_loop of vmap(step), positions and log densities
            stored on the device, a key a chain and draw of our generator

`overhead` is (whole - program) / whole; `in sampling` leaves out what a run pays once (tracing, starts,
diagnosis, the result): it is (sampling_time - program) / sampling_time. Another run, with a stopwatch in each
room, says where the time went.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import time
import warnings

import common
import engine
import jax
import jax.numpy as jnp
import numpy as np

import mcmc

CHAINS = (4, 1024)
DRAWS = 10_000
LEAN_ROWS = 256  # draws that the lean loop holds before it overwrites them


def main():
    options = parse()
    rows = []
    for name in options.cases:
        for chains in options.chains:
            print(f"{name}, {chains} chains x {options.draws} ...", file=sys.stderr, flush=True)
            rows.append({"case": name, **measure(*CASES[name](), chains, options)})
    about = "seconds of mcmc.sample beside those of its program alone, medians; compiling apart"
    path = common.save(options.out, about, rows, draws=options.draws, dtype=options.dtype)
    print_tables(rows, options)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, nargs="+", default=list(CHAINS))
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3, help="runs of each case; the median counts")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--quick", action="store_true", help="a check that it works: few draws, one run")
    parser.add_argument("--out", default=str(common.RESULTS / "overhead.json"))
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.draws = 1, min(options.draws, 200)
    return options


# --- the cases: a target and a kernel that needs no tuning -----------------------------------------------


def random_walk():
    """A random walk on a 10-d standard normal."""
    target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(10)})
    return target, mcmc.RandomWalk(step_size=2.38 / 10**0.5, metric=np.ones(10))


def schools():
    """HMC on eight schools, non-centred."""
    from mcmc.demo import SIGMA, Y

    def log_density(p, data):
        theta = p["mu"] + p["tau"] * p["theta_trans"]
        prior = -0.5 * (p["mu"] / 5) ** 2 - jnp.log1p((p["tau"] / 5) ** 2)
        z = (data["y"] - theta) / data["sigma"]
        return prior - 0.5 * jnp.sum(p["theta_trans"] ** 2) - 0.5 * jnp.sum(z**2)

    parameters = {"mu": mcmc.real(), "tau": mcmc.positive(), "theta_trans": mcmc.real(8)}
    target = mcmc.Target(log_density, parameters, data={"y": np.array(Y), "sigma": np.array(SIGMA)})
    return target, mcmc.HMC(step_size=0.35, metric=np.r_[11.0, 1.5, np.ones(8)])


def logistic():
    """HMC on a Bayesian logistic regression: 1000 rows, 25 coefficients, correlated features."""
    generator = np.random.default_rng(20240501)
    n, dim = 1000, 25
    x = generator.standard_normal((n, dim)) @ np.linalg.cholesky(0.5 * np.eye(dim) + 0.5).T
    x[:, 0] = 1.0
    slopes = 0.7 * generator.standard_normal(dim)
    y = (generator.random(n) < 1 / (1 + np.exp(-x @ slopes))).astype(float)

    def log_density(p, data):
        z = data["x"] @ p["b"]
        return jnp.sum(data["y"] * z - jnp.logaddexp(0.0, z)) - 0.5 * jnp.sum(p["b"] ** 2)

    target = mcmc.Target(log_density, {"b": mcmc.real(dim)}, data={"x": x, "y": y})
    return target, mcmc.HMC(step_size=0.7, metric=laplace(x, y))


def laplace(x, y):
    """The covariance of the normal approximation at the mode."""
    b = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ b))
        hessian = (x.T * (p * (1 - p))) @ x + np.eye(len(b))
        b += np.linalg.solve(hessian, x.T @ (y - p) - b)
    return np.linalg.inv(hessian)


CASES = {"random walk, normal 10-d": random_walk, "HMC, eight schools": schools, "HMC, logistic": logistic}


# --- the measurement -------------------------------------------------------------------------------------


def measure(target, kernel, chains, options):
    """One row: seconds of the whole call, of its parts, of the program alone and of a lean loop."""
    draws = options.draws

    def whole(progress=True):
        start = time.perf_counter()
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            tree = mcmc.sample(
                target,
                kernel,
                chains=chains,
                draws=draws,
                warmup=0,
                dtype=options.dtype,
                progress=progress,
            )
        seconds = time.perf_counter() - start
        return {"whole": seconds, **{k: tree.attrs.get(k, 0.0) for k in ("sampling_time", "diagnosis_time")}}

    def seconds(function, *arguments):
        start = time.perf_counter()
        function(*arguments)
        return time.perf_counter() - start

    with engine.bare_run(target, kernel, chains, options.dtype) as (run, state):
        loop, first = engine.lean_loop(run, draws, min(LEAN_ROWS, draws))
        size = min(run.layout.rows, draws)

        def program():
            for start in range(0, draws, size):
                engine.call_program(run, state, min(size, draws - start), 1)

        def lean():
            jax.block_until_ready(loop(first))

        runs = []
        for i in range(options.repeats + 1):  # by turns, so that a busy minute is no one's
            found = whole()
            found |= {"program": seconds(program), "lean": seconds(lean)}
            found |= {"whole_without_progress": whole(progress=False)["whole"]}
            if i:  # the first compiles, and imports what is imported at first use
                runs.append(found)
    with stopwatches() as watch:
        total = whole()["whole"]
    watch["other"] = total - sum(watch.values())
    row = {"chains": chains, "draws": draws}
    row |= {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    row["parts"] = {part: x / total for part, x in watch.items()}
    row["overhead"] = (row["whole"] - row["program"]) / row["whole"]
    row["overhead_in_sampling"] = (row["sampling_time"] - row["program"]) / row["sampling_time"]
    row["overhead_beside_lean"] = (row["whole"] - row["lean"]) / row["whole"]
    return row


@contextlib.contextmanager
def stopwatches():
    """Seconds inside the engine's rooms, by part, while open. Calls of the program wait for its end."""
    from mcmc import arviz_bridge, sampling
    from mcmc.engine.recorder import Recorder
    from mcmc.engine.run import Run

    rooms = {
        "program": (Run, "_call"),
        "copies": (Recorder, "write"),
        "checks": (Run, "_check"),
        "progress": (Run, "_report"),
        "tracing": (sampling, "_make_run"),
        "starts": (sampling, "_starts"),
        "bridge": (arviz_bridge, "assemble"),
        "predictions": (sampling, "add_predictions"),
        "diagnosis": (sampling, "_judge"),
    }
    seconds, before, depth = {}, {}, []

    def timed(part, function):
        def call(*args, **kwargs):
            start, inside = time.perf_counter(), len(depth)
            depth.append(0.0)
            try:
                result = function(*args, **kwargs)
                return engine.wait(args[0], result) if part == "program" else result
            finally:
                spent = time.perf_counter() - start
                seconds[part] = seconds.get(part, 0.0) + spent - depth.pop()
                if inside:
                    depth[-1] += spent

        return call

    for part, (place, name) in rooms.items():
        if hasattr(place, name):  # a room that was renamed is left out
            before[place, name] = getattr(place, name)
            setattr(place, name, timed(part, before[place, name]))
    try:
        yield seconds
    finally:
        for (place, name), function in before.items():
            setattr(place, name, function)


def print_tables(rows, options):
    def share(x):
        return f"{100 * x:.1f} %"

    table = []
    for row in rows:
        numbers = [common.number(row[k]) for k in ("whole", "sampling_time", "program", "lean")]
        shares = [share(row[k]) for k in ("overhead", "overhead_in_sampling", "overhead_beside_lean")]
        table.append([row["case"], f"{row['chains']} x {row['draws']:,}", *numbers, *shares])
    header = ["case", "draws", "whole s", "sampling s", "program s", "lean s"]
    header += ["overhead", "in sampling", "beside lean"]
    common.show(f"Overhead around the kernel, {options.dtype}", header, table)
    names = list(dict.fromkeys(name for row in rows for name in row["parts"]))
    table = []
    for row in rows:
        parts = [share(row["parts"].get(name, 0.0)) for name in names]
        display = share((row["whole"] - row["whole_without_progress"]) / row["whole"])
        table.append([row["case"], row["chains"], *parts, display])
    header = ["case", "chains", *names, "display on - off"]
    common.show("Where the time goes, as a share of the whole (a run with stopwatches)", header, table)


if __name__ == "__main__":
    main()
