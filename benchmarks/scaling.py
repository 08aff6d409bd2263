"""Time and memory of a run against its chains and its draws, with the slope, beside NumPyro and BlackJAX.

    uv run --extra bench python benchmarks/scaling.py [--peers-python PYTHON] [--tools mcmc] [--quick]

A 10-d normal with variances 1 to 10, float32, `--warmup` iterations of warmup; every case in a process of its own:
  chains   1 to 1,000,000, with 20 draws each
  draws    100 to 1,000,000, of 8 chains
  stages   25,000 to 100,000 chains with 100 draws each: `sample`, its verdict, `summary`, `plot`, `resume`
Seconds are those of a whole run, draws copied to NumPy arrays, less what JAX spends tracing and compiling; ours leave
out the verdict, which the peers do not give and the stages show. Memory is the process's largest. A slope is that of
log seconds, or of log memory above the smallest case's, against log size over the last two decades: 1 is linear.

NumPyro runs NUTS with `chain_method="vectorized"`; BlackJAX runs the loop of its documentation: window adaptation and
a scan of NUTS, under vmap.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import time
import warnings

import common
import numpy as np

sys.path.insert(0, str(common.HERE / "peers"))

DIM, DRAWS, CHAINS = 10, 20, 8
SIZES = {
    "chains": [10**k for k in range(7)],
    "draws": [10**k for k in range(2, 7)],
    "stages": [25_000, 50_000, 100_000],
}
QUICK = {"chains": [1, 10, 100], "draws": [100, 1000], "stages": [200, 400]}
STAGE_DRAWS, RESUMED = 100, 10
TOOLS = {"mcmc": "mcmc", "numpyro": "numpyro", "blackjax": "blackjax"}
STAGES = ("warmup", "sampling", "verdict", "rest of sample", "summary, quick", "plot", "resume, 10 draws")


def main():
    options = parse()
    sizes = QUICK if options.quick else SIZES
    rows = []
    for sweep in options.sweeps:
        for tool in ["mcmc"] if sweep == "stages" else options.tools:
            rows += swept(sweep, tool, sizes[sweep], options)
    slopes = [slope for sweep in options.sweeps for slope in slopes_of(sweep, rows)]
    about = f"a run of a {DIM}-d normal, float32: seconds without compiling, and the process's largest memory"
    more = {"slopes": slopes, "limit": options.limit, "warmup": options.warmup, "quick": options.quick}
    path = common.save(options.out, about, rows, options.peers_python, **more)
    tables(rows, slopes)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--tools", nargs="+", choices=tuple(TOOLS), default=list(TOOLS))
    parser.add_argument("--warmup", type=int, default=100, help="iterations of warmup, of all tools alike")
    parser.add_argument("--limit", type=float, default=40.0, help="seconds that a case may take")
    parser.add_argument("--quick", action="store_true", help="a check that it works: the smallest sizes")
    parser.add_argument("--peers-python", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--out", default=str(common.RESULTS / "scaling.json"))
    parser.add_argument("--alone", choices=(*TOOLS, "stages"), help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.alone, *options.size, options.warmup)))
        sys.exit()
    return options


def shape_of(sweep, size):
    """The chains and draws of a case."""
    return {"chains": (size, DRAWS), "draws": (CHAINS, size), "stages": (size, STAGE_DRAWS)}[sweep]


def swept(sweep, tool, sizes, options):
    """The rows of a tool, from the smallest size to the largest; those that would take too long are left out."""
    python = sys.executable if tool == "mcmc" else options.peers_python
    if not common.installed(python, TOOLS[tool]):
        return [{"sweep": sweep, "tool": tool, "size": size, "note": "not installed"} for size in sizes]
    rows = []
    for size in sizes:
        row = {"sweep": sweep, "tool": tool, "size": size}
        expected = forecast(rows, size)
        if expected > 1.5 * options.limit:
            rows.append(row | {"note": f"left out: about {expected:.0f} s"})
            continue
        print(f"{sweep}: {tool}, {size:,} ...", file=sys.stderr, flush=True)
        rows.append(row | case(python, "stages" if sweep == "stages" else tool, shape_of(sweep, size), options))
    return rows


def forecast(rows, size):
    """About how many seconds a case will take: in proportion to the last one, or to one that took too long."""
    last = next((row for row in reversed(rows) if "seconds" in row or "least" in row), None)
    return (last.get("seconds") or last["least"]) * size / last["size"] if last else 0.0


def case(python, what, shape, options):
    """One process: its line, or why there is none."""
    command = [python, __file__, "--alone", what, "--size", *map(str, shape), "--warmup", str(options.warmup)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * options.limit)
    except subprocess.TimeoutExpired:
        return {"note": f"took longer than {2 * options.limit:.0f} s, compiling included", "least": 2 * options.limit}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        killed = (
            "killed (memory)" if done.returncode == -9 else (done.stderr.strip().splitlines() or ["no message"])[-1]
        )
        return {"note": f"failed: {killed[:150]}"}
    return json.loads(lines[-1])


# --- one case, in a process of its own ------------------------------------------------------------------------


def alone(what, chains, draws, warmup):
    """Seconds, seconds of compiling and the largest memory of one run."""
    import jax
    from child import CompileClock

    importlib.import_module("mcmc" if what == "stages" else what)
    clock = CompileClock(jax)
    before = largest_memory()
    began, cpu = time.perf_counter(), time.process_time()
    run = {"mcmc": ours, "numpyro": numpyro_run, "blackjax": blackjax_run, "stages": staged}[what]
    parts = run(chains, draws, warmup)
    ended = time.perf_counter()
    cpu = time.process_time() - cpu
    compiling = min(clock.between(began, ended), ended - began)
    verdict = 0.0 if what == "stages" else parts.get("verdict", 0.0)
    seconds = ended - began - compiling - verdict
    found = {"chains": chains, "draws": draws, "seconds": seconds, "compiling": compiling, "parts": parts}
    found["cpu"] = cpu
    return found | {"peak MB": largest_memory() / 1e6, "MB before": before / 1e6}


def largest_memory():
    """The largest resident memory that this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def log_density(x):
    """A normal with variances 1 to 10."""
    import jax.numpy as jnp

    return -0.5 * jnp.sum(x**2 / jnp.arange(1.0, DIM + 1.0))


def drawn(chains, draws, warmup):
    """A run of ours: the target and the tree."""
    import mcmc

    target = mcmc.Target(lambda p: log_density(p["x"]), {"x": mcmc.real(DIM)})
    warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
    settings = {"chains": chains, "draws": draws, "warmup": warmup, "dtype": "float32", "progress": False}
    return target, mcmc.sample(target, mcmc.HMC(), **settings)


def ours(chains, draws, warmup):
    """`mcmc.sample`, HMC for every number of chains."""
    return parts_of(drawn(chains, draws, warmup)[1])


def parts_of(tree):
    """The seconds that a run of ours writes down."""
    named = {"warmup": "warmup_time", "sampling": "sampling_time", "verdict": "diagnosis_time"}
    return {name: float(tree.attrs.get(attribute, 0.0)) for name, attribute in named.items()}


def staged(chains, draws, warmup):
    """`mcmc.sample` and what is done with its draws, part by part."""
    import mcmc

    began = time.perf_counter()
    target, tree = drawn(chains, draws, warmup)
    whole = time.perf_counter() - began
    parts = parts_of(tree)
    parts["rest of sample"] = whole - sum(parts.values()) - float(tree.attrs["compile_time"])
    after = {
        "summary, quick": lambda: mcmc.summary(tree, quick=None),
        "plot": lambda: mcmc.plot(tree),
        "resume, 10 draws": lambda: mcmc.resume(target, tree, RESUMED, progress=False),
    }
    for name, function in after.items():
        began = time.perf_counter()
        function()
        parts[name] = time.perf_counter() - began
    return parts


def numpyro_run(chains, draws, warmup):
    """NUTS on the potential, all chains vectorised."""
    import jax
    import jax.numpy as jnp
    from numpyro.infer import MCMC, NUTS

    settings = {"num_warmup": warmup, "num_samples": draws, "num_chains": chains, "progress_bar": False}
    mcmc = MCMC(NUTS(potential_fn=lambda x: -log_density(x)), chain_method="vectorized", **settings)
    starts = np.random.default_rng(0).uniform(-2, 2, (chains, DIM)).astype(np.float32)
    mcmc.run(jax.random.PRNGKey(0), init_params=jnp.asarray(starts if chains > 1 else starts[0]))
    made = np.asarray(mcmc.get_samples(group_by_chain=True))
    return {"numbers": made.size}


def blackjax_run(chains, draws, warmup):
    """Window adaptation and a scan of NUTS for each chain, under vmap."""
    import blackjax
    import jax

    tuning = blackjax.window_adaptation(blackjax.nuts, log_density)

    def one(key, start):
        warm, cold = jax.random.split(key)
        (state, tuned), _ = tuning.run(warm, start, num_steps=warmup)
        step = blackjax.nuts(log_density, **tuned).step

        def body(state, key):
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(body, state, jax.random.split(cold, draws))[1]

    starts = np.random.default_rng(0).uniform(-2, 2, (chains, DIM)).astype(np.float32)
    made = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), chains), starts))
    return {"numbers": made.size}


# --- slopes and tables ----------------------------------------------------------------------------------------


def slope(sizes, values):
    """The slope of log values against log sizes over the last two decades; None of fewer than two points."""
    points = [(n, v) for n, v in zip(sizes, values, strict=True) if v and v > 0]
    points = [(n, v) for n, v in points if 100 * n >= points[-1][0]]
    if len(points) < 2:
        return None
    return float(np.polyfit(*np.log(np.array(points, float)).T, 1)[0])


def slopes_of(sweep, rows):
    """The slopes of each tool: of seconds, of memory above the smallest case's, of each stage."""
    found = []
    for tool in TOOLS:
        mine = [row for row in rows if (row["sweep"], row["tool"]) == (sweep, tool) and "seconds" in row]
        sizes = [row["size"] for row in mine]
        if not sizes:
            continue
        memory = [row["peak MB"] - row["MB before"] for row in mine]
        above = memory if sweep == "stages" else [value - memory[0] for value in memory]
        measured = {"seconds": [row["seconds"] for row in mine], "memory": above, "cpu": [row["cpu"] for row in mine]}
        if sweep == "stages":
            measured |= {name: [row["parts"][name] for row in mine] for name in STAGES}
        found += [{"sweep": sweep, "tool": tool, "of": name, "slope": slope(sizes, v)} for name, v in measured.items()]
    return found


def tables(rows, slopes):
    for sweep in dict.fromkeys(row["sweep"] for row in rows):
        mine = [row for row in rows if row["sweep"] == sweep]
        by = {(s["tool"], s["of"]): s["slope"] for s in slopes if s["sweep"] == sweep}
        if sweep == "stages":
            stages(mine, by)
            continue
        tools = list(dict.fromkeys(row["tool"] for row in mine))
        cells = {(row["tool"], row["size"]): shown(row) for row in mine}
        table = [
            [f"{size:,}", *(cells[tool, size] for tool in tools)] for size in dict.fromkeys(r["size"] for r in mine)
        ]
        for of, title in (("seconds", "seconds"), ("cpu", "CPU seconds, compiling included"), ("memory", "memory")):
            table.append([f"slope of {title}", *(common.number(by.get((tool, of)), 2) for tool in tools)])
        title = f"{DRAWS} draws each, against chains" if sweep == "chains" else f"{CHAINS} chains, against draws"
        common.show(f"{title}: seconds without compiling, largest memory", [sweep, *tools], table)


def shown(row):
    return row["note"] if "note" in row else f"{common.number(row['seconds'])} s, {common.number(row['peak MB'])} MB"


def stages(rows, by):
    done = [row for row in rows if "parts" in row]
    table = [
        [name, *(common.number(r["parts"][name]) for r in done), common.number(by.get(("mcmc", name)), 2)]
        for name in STAGES
    ]
    memory = [common.number(row["peak MB"]) for row in done]
    cpu = [common.number(row["cpu"]) for row in done]
    table.append(["CPU seconds, compiling included", *cpu, common.number(by.get(("mcmc", "cpu")), 2)])
    table.append(["largest memory, MB", *memory, common.number(by.get(("mcmc", "memory")), 2)])
    header = ["", *(f"{row['size']:,} chains" for row in done), "slope"]
    common.show(f"{STAGE_DRAWS} draws each, stage by stage: seconds", header, table)
    for row in rows:
        if "note" in row:
            print(f"{row['size']:,} chains: {row['note']}")


if __name__ == "__main__":
    main()
