"""Draws of whole numbers from a table beside NumPy, SciPy and `jax.random`, in million draws a second.

    uv run python benchmarks/discrete.py [--values 1000] [--samples 1e7] [--repeats 5] [--quick]

The table has so many values with gamma weights. Rows (medians; compiling and setup apart; one process):
  floor: random bits                   the 64 bits a draw of a philox key, in blocks that stay in the cache
  mcmc.Discrete, philox / default key  `sample` of a table
  numpy Generator.choice               SFC64; it searches a cumulative sum
  scipy DiscreteAliasUrn.rvs           SFC64; an alias table of float64
  jax.random.choice                    p=...; it searches a cumulative sum of float32
  jax.random.categorical               a Gumbel number for each draw and value; a hundredth of the draws
and the milliseconds of setup of both tables. On a machine with other work only the seconds of the processor (a mean
over the runs) say what a draw costs.
"""

from __future__ import annotations

import argparse
import sys
import time

import common
import numpy as np


def main():
    options = parse()
    log_weights = np.log(np.random.default_rng(0).gamma(0.5, size=options.values))
    rows = [*ours(log_weights, options), *others(log_weights, options)]
    about = f"whole numbers from a table of {options.values:,}, million draws a second, {options.samples:,} draws a run"
    path = common.save(options.out, about, rows)
    columns = ("rate", "cpu_rate", "setup")
    table = [[row["what"], *(common.number(row.get(name)) for name in columns)] for row in rows]
    common.show("Discrete laws", ["", "M draws/s", "M draws by second of CPU", "setup, ms"], table)
    print(f"written: {path.name}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=1000)
    parser.add_argument("--samples", type=lambda text: int(float(text)), default=1 << 21)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a check that it works: few draws, one run")
    parser.add_argument("--out", default=str(common.RESULTS / "discrete.json"))
    options = parser.parse_args()
    if options.quick:
        options.samples, options.repeats = 100_000, 1
    return options


def measured(what, draw, samples, repeats, **more):
    """A row: draws by second of the clock and of the processor, the first run apart."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    draw(0)
    start = time.process_time()
    seconds = common.median_seconds(lambda: draw(1), repeats)
    busy = (time.process_time() - start) / (repeats + 1)  # one call does not count for the clock
    return {"what": what, "rate": 1e-6 * samples / seconds, "cpu_rate": 1e-6 * samples / max(busy, 1e-9), **more}


def ours(log_weights, options):
    import jax
    import jax.numpy as jnp
    from jax import lax

    import mcmc
    from mcmc.random import philox

    n, repeats, part = options.samples, options.repeats, 1 << 14
    law = mcmc.Discrete(log_weights)
    setup = 1e3 * common.median_seconds(lambda: mcmc.Discrete(log_weights), repeats)
    keys = {
        name: [jax.random.key(i, impl=impl) for i in range(2)]
        for name, impl in (("philox", philox.implementation), ("default key", None))
    }

    @jax.jit
    def random_bits(key):
        def write(i, out):
            for j, pair in enumerate(philox.pairs(jax.random.key_data(jax.random.fold_in(key, i)), part, 0)):
                with jax.enable_x64(True):
                    folded = lax.convert_element_type(pair ^ (pair >> np.uint64(32)), jnp.uint32)
                out = lax.dynamic_update_slice(out, folded, ((2 * i + j) * part,))
            return out

        blocks = -(-n // (2 * part))
        return lax.fori_loop(0, blocks, write, lax.empty((blocks * 2 * part,), jnp.uint32))

    yield measured("floor: random bits", lambda i: random_bits(keys["philox"][i]).block_until_ready(), n, repeats)
    for name, pair in keys.items():
        draw = lambda i, pair=pair: law.sample(pair[i], (n,)).block_until_ready()  # noqa: E731
        yield measured(f"mcmc.Discrete, {name}", draw, n, repeats, setup=setup)


def others(log_weights, options):
    import jax
    import jax.numpy as jnp
    from scipy.stats.sampling import DiscreteAliasUrn

    n, repeats, values = options.samples, options.repeats, len(log_weights)
    p = np.exp(log_weights - log_weights.max())
    p /= p.sum()
    generator = np.random.Generator(np.random.SFC64(0))
    yield measured("numpy Generator.choice", lambda _: generator.choice(values, n, p=p), n, repeats)
    urn = DiscreteAliasUrn(p, random_state=generator)
    setup = 1e3 * common.median_seconds(lambda: DiscreteAliasUrn(p, random_state=generator), repeats)
    yield measured("scipy DiscreteAliasUrn.rvs", lambda _: urn.rvs(n), n, repeats, setup=setup)
    single, logits = jnp.asarray(p, jnp.float32), jnp.asarray(log_weights, jnp.float32)
    keys, few = [jax.random.key(i) for i in range(2)], max(n // 100, 1000)
    choice = jax.jit(lambda key: jax.random.choice(key, values, (n,), p=single))
    yield measured("jax.random.choice", lambda i: choice(keys[i]).block_until_ready(), n, repeats)
    categorical = jax.jit(lambda key: jax.random.categorical(key, logits, shape=(few,)))
    draw = lambda i: categorical(keys[i]).block_until_ready()  # noqa: E731
    yield measured("jax.random.categorical", draw, few, min(repeats, 3))


if __name__ == "__main__":
    main()
