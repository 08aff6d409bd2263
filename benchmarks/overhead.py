"""What everything around the kernel costs: chunks, keys, copies, checks and progress; and what a run pays once.

    uv run python benchmarks/overhead.py [--chains 4 1024] [--draws 10000] [--repeats 3] [--quick]

For each case:

  sampling   `sampling_time` of mcmc.sample, with warmup 0 and progress shown to a pipe
  touched    the same phase once more into arrays that were touched before: the steady state of a long run
  program    the engine's compiled program alone, for as many draws; they stay in its device rows
  fixed      the whole call less `sampling_time`: tracing, starts, the tree, the diagnosis. It is compiled before

Overhead of sampling is (sampling - program) / sampling. A case that would take long makes fewer draws, and the
table says so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import sys
import time
import warnings
from unittest.mock import patch

import common
import engine
import jax
import jax.numpy as jnp
import numpy as np

import mcmc
from mcmc.engine.between_chunks import Monitor
from mcmc.engine.programs import Programs
from mcmc.engine.progress_displays import make_reporter
from mcmc.engine.run import Run
from mcmc.sampling import run as sampling_run
from mcmc.sampling import steps as sampling_steps
from mcmc.storage import datatree
from mcmc.storage.recorder import Recorder

CHAINS = (4, 1024)
DRAWS = 10_000
WARM = 32  # draws of the first round, which compiles and does not count
AROUND = ("copies", "checks", "progress")
ONCE = ("tracing", "starts", "tree", "diagnosis")


def main():
    options = parse()
    rows = []
    for name in options.cases:
        case, most = CASES[name]
        for chains in options.chains:
            draws = min(options.draws, max(most // chains, WARM))
            print(f"{name}, {chains} chains x {draws} ...", file=sys.stderr, flush=True)
            rows.append({"case": name, **measure(*case(), chains, draws, options)})
    about = "seconds of the sampling of mcmc.sample beside its program alone, and of what a run pays once; medians"
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
    from mcmc.cli.demo import SIGMA, Y

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


CASES = {  # and the most draws of all chains together
    "random walk, normal 10-d": (random_walk, 20_000_000),
    "HMC, eight schools": (schools, 20_000_000),
    "HMC, logistic": (logistic, 1024 * 200),
}


# --- the measurement -------------------------------------------------------------------------------------


def measure(target, kernel, chains, draws, options):
    """One row: seconds of a whole call and of its parts, of its sampling in touched memory, of the program alone."""

    def whole(draws):
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), stopwatches() as parts:
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            tree = mcmc.sample(target, kernel, chains=chains, draws=draws, warmup=0, dtype=options.dtype)
            seconds = time.perf_counter() - start
        sampling = tree.attrs["sampling_time"]
        return {"whole": seconds, "sampling": sampling, "fixed": seconds - sampling, **parts}

    with engine.bare_run(target, kernel, chains, options.dtype) as (run, progress):
        recorder = engine.fresh_recorder(run, draws)

        def touched(draws):
            with make_reporter(True, stream=io.StringIO()) as reporter:
                return engine.sampling_phase(run, progress, draws, recorder, reporter)

        def program(draws):
            start = time.perf_counter()
            engine.program_alone(run, progress, draws)
            return time.perf_counter() - start

        def by_turns(draws):  # so that a busy minute is no one's
            return whole(draws) | {"touched": touched(draws), "program": program(draws)}

        by_turns(min(WARM, draws))
        runs = [by_turns(draws) for _ in range(options.repeats)]
    row = {"chains": chains, "draws": draws}
    row |= {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    row["overhead"] = (row["sampling"] - row["program"]) / row["sampling"]
    row["overhead_touched"] = (row["touched"] - row["program"]) / row["touched"]
    row["fixed_share"] = row["fixed"] / row["whole"]
    return row


@contextlib.contextmanager
def stopwatches():
    """Seconds inside the engine's rooms, by part, while open; of rooms within rooms the outer one counts."""
    rooms = (
        ("copies", Recorder, "write"),
        ("checks", Monitor, "check"),
        ("progress", Monitor, "see"),
        ("progress", Monitor, "report"),
        ("tracing", mcmc.Target, "trace"),
        ("tracing", sampling_run, "make_run"),
        ("starts", sampling_steps, "find_positions"),
        ("starts", Run, "begin"),
        ("tree", datatree, "assemble"),
        ("tree", sampling_run, "add_predictions"),
        ("diagnosis", sampling_run, "judge"),
    )
    seconds, inside = dict.fromkeys((*AROUND, *ONCE), 0.0), []

    def timed(part, function):
        def call(*args, **kwargs):
            if inside:
                return function(*args, **kwargs)
            inside.append(part)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[part] += time.perf_counter() - start
                inside.pop()

        return call

    def waiting(call):  # the wait for the program is no part of the check that comes after it
        return lambda *args: jax.block_until_ready(call(*args))

    with contextlib.ExitStack() as patches:
        patches.enter_context(patch.object(Programs, "call", waiting(Programs.call)))
        for part, place, name in rooms:
            patches.enter_context(patch.object(place, name, timed(part, getattr(place, name))))
        yield seconds


def print_tables(rows, options):
    header, table = seconds_table(rows, options.draws)
    common.show(f"Overhead of sampling, and what a run pays once, {options.dtype}", header, table)
    header, table = parts_table(rows)
    common.show("Where they go, in seconds", header, table)


def seconds_table(rows, asked):
    """The header and the rows of the table of seconds and shares."""
    table = []
    for row in rows:
        size = f"{row['chains']} × {row['draws']:,}" + (" (fewer)" if row["draws"] < asked else "")
        numbers = [common.number(row[k]) for k in ("program", "touched", "sampling")]
        shares = [f"{100 * row[k]:.1f} %" for k in ("overhead_touched", "overhead")]
        fixed = [common.number(row["fixed"]), f"{100 * row['fixed_share']:.0f} %"]
        table.append([row["case"], size, *numbers, *shares, *fixed])
    header = ["case", "chains × draws", "program s", "sampling s, touched memory", "sampling s"]
    return [*header, "overhead, touched memory", "overhead", "fixed s", "of the whole"], table


def parts_table(rows):
    """The header and the rows of the table of where the seconds go."""
    table = []
    for row in rows:
        rest = row["fixed"] - sum(row[part] for part in ONCE)
        parts = [*(row[part] for part in (*AROUND, *ONCE)), max(rest, 0.0)]
        table.append([row["case"], row["chains"], *map(common.number, parts)])
    return ["case", "chains", *AROUND, *(f"once: {part}" for part in ONCE), "once: rest"], table


if __name__ == "__main__":
    main()
