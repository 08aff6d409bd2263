"""Direct samplers beside SciPy's on the same densities, and beside the floor: random bits and one gather.

    uv run python benchmarks/direct.py [--samples 1e7] [--repeats 5] [--quick]

Rows, in million draws a second (medians; compiling apart; ours in one thread unless it says two):
  floor: uniforms and one gather         `uniform_open` of philox keys and one look-up among 1024 numbers,
                                         in blocks that stay in the cache, as the sampler does it
  mcmc.InverseCDF, float32 / float64     `sample` of a fitted density
  ... of two threads                     the same from two threads, each with half of the draws
  scipy NumericalInversePolynomial.rvs   the same density, SFC64, one thread
and for each density the seconds of setup of both, again and again in one process. The rows of the rejection sampler
follow where that is installed.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import common
import numpy as np

INF = math.inf
BLOCK, CACHED = 1 << 21, 1 << 16  # of BLOCK, the memory is used again: larger blocks come as fresh pages each time
SETUPS = 25


def densities():
    """Name: (log density in jax.numpy, support, density in NumPy for SciPy, its centre)."""
    import jax.numpy as jnp

    def two(x, xp):
        return xp.logaddexp(math.log(0.6) - 0.5 * (x + 2) ** 2 / 0.25, math.log(0.7) - 0.5 * (x - 2) ** 2)

    return {
        "normal": (lambda x: -0.5 * x**2, (-INF, INF), lambda x: math.exp(-0.5 * x * x), 0.0),
        "gamma(2.5)": (
            lambda x: 1.5 * jnp.log(x) - x,
            (0.0, INF),
            lambda x: x**1.5 * math.exp(-x) if x > 0 else 0.0,
            1.5,
        ),
        "student t(1.5)": (
            lambda x: -1.25 * jnp.log1p(x * x / 1.5),
            (-INF, INF),
            lambda x: (1 + x * x / 1.5) ** -1.25,
            0.0,
        ),
        "two normals": (lambda x: two(x, jnp), (-INF, INF), lambda x: math.exp(two(x, np)), 2.0),
    }


def main():
    options = parse()
    samples = int(options.samples)
    floors(samples, 1)  # memory that the process never had costs more the first time
    rows = [*floors(samples, options.repeats)]
    for name, case in densities().items():
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += ours(name, case, samples, options.repeats) + scipys(name, case, samples, options.repeats)
    rows += rejection(samples)
    about = f"direct samplers, million draws a second, {samples:.0e} draws a run, medians of {options.repeats}"
    path = common.save(options.out, about, rows)
    table = [[row["what"], row.get("density", ""), shown(row, "rate"), shown(row, "setup")] for row in rows]
    common.show("Direct sampling", ["", "density", "M draws/s", "setup, ms"], table)
    common.show("Ratios", ["", "density", "ratio"], [list(r.values()) for r in ratios(rows)])
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=float, default=1 << 24, help="draws a run, in blocks of 2 million")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a check that it works: few draws, one run")
    parser.add_argument("--out", default=str(common.RESULTS / "direct.json"))
    options = parser.parse_args()
    if options.quick:
        options.samples, options.repeats = 1e5, 1
    return options


def shown(row, name):
    return common.number(row.get(name))


def philox_key():
    import jax

    from mcmc.random import philox

    return jax.random.wrap_key_data(np.array([1, 2, 3, 4], np.uint32), impl=philox.implementation)


def seconds_of(sample, samples, repeats, threads=1):
    """Seconds for so many draws, a block after another, each ready before it is dropped."""
    import jax

    size = min(samples, BLOCK)
    blocks = math.ceil(samples / size)
    keys = list(jax.random.split(philox_key(), blocks))
    jax.block_until_ready(sample(keys[0], size))

    def run(mine):
        for key in mine:
            jax.block_until_ready(sample(key, size))

    def all_of_them():
        if threads == 1:
            return run(keys)
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(run, [keys[i::threads] for i in range(threads)]))

    return common.median_seconds(all_of_them, repeats) / (size * blocks)


def floors(samples, repeats):
    import jax
    import jax.numpy as jnp

    from mcmc.random.draws import uniform_open

    table = jnp.asarray(np.random.default_rng(0).normal(size=1024), jnp.float32)
    rows = []
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            numbers = table.astype(dtype)

            def block(i, state, dtype=dtype):
                key, numbers, out = state
                at = (uniform_open(jax.random.fold_in(key, i), (CACHED,), dtype) * 1024).astype(jnp.int32)
                found = numbers.at[at].get(mode="promise_in_bounds")
                return key, numbers, jax.lax.dynamic_update_slice(out, found, (i * CACHED,))

            def gather(key, numbers, size, block=block):
                blocks = math.ceil(size / CACHED)
                out = jax.lax.empty((blocks * CACHED,), numbers.dtype)
                return jax.lax.fori_loop(0, blocks, block, (key, numbers, out))[2][:size]

            compiled = jax.jit(gather, static_argnums=2)
            each = seconds_of(lambda key, n, f=compiled, t=numbers: f(key, t, n), samples, repeats)
        rows.append({"what": f"floor: uniforms and one gather, {dtype}", "density": "", "rate": 1e-6 / each})
    return rows


def ours(name, case, samples, repeats):
    from mcmc.direct.inverse_cdf.inverse_cdf import InverseCDF

    log_density, support = case[:2]
    s = InverseCDF.fit(log_density, support)
    setup = common.median_seconds(lambda: InverseCDF.fit(log_density, support), SETUPS if repeats > 1 else 3) * 1e3
    rows = []
    for dtype in ("float32", "float64"):
        for threads in (1, 2):
            each = seconds_of(lambda key, n, d=dtype: s.sample(key, (n,), d), samples, repeats, threads)
            what = f"mcmc.InverseCDF, {dtype}" + (", two threads" if threads == 2 else "")
            row = {"what": what, "density": name, "rate": 1e-6 / each}
            rows.append(row | ({"setup": setup} if dtype == "float64" and threads == 1 else {}))
    return rows


def scipys(name, case, samples, repeats):
    from scipy.stats.sampling import NumericalInversePolynomial

    _, support, pdf, centre = case
    law = type("Law", (), {"pdf": staticmethod(pdf), "support": staticmethod(lambda: support)})()
    generator = np.random.Generator(np.random.SFC64(0))

    def make():
        return NumericalInversePolynomial(law, center=centre, u_resolution=1e-10, random_state=generator)

    sampler = make()
    setup = common.median_seconds(make, SETUPS if repeats > 1 else 3) * 1e3
    size = min(samples, BLOCK)
    blocks = math.ceil(samples / size)
    each = common.median_seconds(lambda: [sampler.rvs(size) for _ in range(blocks)], repeats) / (size * blocks)
    what = "scipy NumericalInversePolynomial.rvs"
    return [{"what": what, "density": name, "rate": 1e-6 / each, "setup": setup}]


def rejection(samples):
    try:
        import direct_rejection
    except ImportError:
        return []
    rows = direct_rejection.rows(samples)
    return [row | {"rate": row.get("millions_per_second"), "setup": 1e3 * row["setup_seconds"]} for row in rows]


def ratios(rows):
    """Ours over the floor and over SciPy, and SciPy's setup over ours."""
    found = {(row["what"], row.get("density")): row for row in rows}
    for name in densities():
        scipy = found["scipy NumericalInversePolynomial.rvs", name]
        for dtype in ("float32", "float64"):
            mine = found[f"mcmc.InverseCDF, {dtype}", name]
            floor = found[f"floor: uniforms and one gather, {dtype}", ""]
            yield {"what": f"ours / floor, {dtype}", "density": name, "x": f"{mine['rate'] / floor['rate']:.2f}"}
            yield {"what": f"ours / scipy, {dtype}", "density": name, "x": f"{mine['rate'] / scipy['rate']:.2f}"}
        setup = found["mcmc.InverseCDF, float64", name]["setup"] / scipy["setup"]
        yield {"what": "setup, ours / scipy", "density": name, "x": f"{setup:.2f}"}


if __name__ == "__main__":
    main()
