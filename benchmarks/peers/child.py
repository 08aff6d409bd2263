"""What every tool's script does: read the settings, run, save draws, print one line of JSON.

A script gives `main` its `build(problem, settings) -> run`, where `run(seed)` makes one whole run, warmup and
sampling, and returns a `Run`. With `--once` the process does just that, as a user's would, and ends. Otherwise a first
run, which compiles, does not count, and `--repeats` runs with other seeds follow, whose draws are saved.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import problems

MOST_NUMBERS, LEAST_DRAWS = 8_000_000, 400


@dataclass
class Run:
    """One run: draws (chain, draw, dim), seconds without compiling, gradients of all chains together."""

    draws: Any
    warmup: float
    sampling: float
    gradients: int | None
    warmup_gradients: int | None
    divergences: int | None
    call: float | None = None  # the whole call, where it does more than warmup and sampling
    note: str = ""


def settings(argv=None, **defaults):
    """The command line; `defaults` are the tool's chains, draws and warmup, and switches of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--problem", choices=problems.NAMES, required=True)
    parser.add_argument("--folder", type=Path, help="where the draws of every repeat are saved")
    parser.add_argument("--once", action="store_true", help="one run, as a user's process makes it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    for name, value in defaults.items():
        kind = int if value is None else type(value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    return parser.parse_args(argv)


def main(build, **defaults):
    """Run the tool as the command line says."""
    options = settings(**defaults)
    run = build(options.problem, options)
    if options.once:
        shape = np.shape(run(1).draws)
        print(json.dumps({"once": list(shape)}), flush=True)
        return
    run(1)
    lines = []
    for i in range(options.repeats):
        gc.collect()  # not in anyone's seconds
        made = run(2 + i)
        lines.append(line_of(made))
        if options.folder:
            np.savez(options.folder / f"draws {i}.npz", draws=thinned(made.draws))
    print(json.dumps({"dtype": str(np.asarray(made.draws).dtype), "runs": lines}), flush=True)


def line_of(run):
    """A run in plain numbers, without its draws."""
    chains, draws, _ = np.shape(run.draws)
    plain = vars(replace(run, draws=None, call=run.call or run.warmup + run.sampling)) | {"chains": chains}
    return plain | {"draws": draws}


def thinned(draws):
    """Every k-th draw, k such that a huge run can be judged in seconds; all draws of runs of usual size."""
    draws = np.asarray(draws)
    step = 1
    while draws.size / step > MOST_NUMBERS and draws.shape[1] / (2 * step) >= LEAST_DRAWS:
        step *= 2
    return draws[:, ::step]


def jax_problem(problem, options):
    """`jax`, `jax.numpy` and the log density of one position, its data as arrays of the default type."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", options.dtype == "float64")
    check_device(jax, options.device)
    data = jax.tree.map(jnp.asarray, problems.data(problem))
    f = problems.log_density(problem, jnp)
    return jax, jnp, lambda q: f(q, data)


def check_device(jax, device):
    """Refuse to run where JAX's default device is another one."""
    found = jax.default_backend()
    if found != device:
        raise SystemExit(f"--device {device} was asked for, and JAX finds {found}")


def timed(jax, function, *args):
    """What a compiled function returns, once it is there, and the seconds."""
    start = time.perf_counter()
    found = jax.block_until_ready(function(*args))
    return found, time.perf_counter() - start


class CompileClock:
    """Seconds that JAX spends tracing and compiling, nested events counted once."""

    def __init__(self, jax):
        self.intervals = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event, seconds, **_):
        if event.startswith("/jax/core/compile/"):
            now = time.perf_counter()
            self.intervals.append((now - seconds, now))

    def between(self, start, stop):
        """The seconds of `start` to `stop` in which something was compiling."""
        return covered([(max(a, start), min(b, stop)) for a, b in self.intervals])


def covered(intervals):
    """The length of a union of intervals."""
    total, reached = 0.0, -float("inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return total


def host_devices(n):
    """Make JAX, which must not run yet, see `n` CPU devices."""
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={n}".strip()
