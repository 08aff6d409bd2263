"""The inside of `mcmc` that the benchmarks touch, in one place: a run without `sample` around it.

Nothing here is public in the package; when the package changes, this file follows.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.engine.between_chunks import Outputs
from mcmc.engine.devices import devices_of
from mcmc.engine.loop import Span
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.sampling_loop import advance
from mcmc.random import keys
from mcmc.sampling import steps as sampling_steps
from mcmc.settings import precision_of

WORDS = keys.run_words(0)


@contextmanager
def bare_run(target, kernel, chains, dtype):
    """A run without warmup, begun: (run, where it stands); JAX's 64-bit mode is set to match inside."""
    with precision_of(dtype, None) as precision:
        settings = Settings(chains, 1, 0, 1, None)
        traced = target.trace(precision)
        plan = Plan(target, traced, kernel, settings, WORDS, precision, devices=devices_of(None))
        run = sampling_steps.make_run(plan)
        yield run, run.begin(np.random.default_rng(0).normal(0, 0.1, (chains, target.dim)))[0]


def program_alone(run, progress, draws):
    """So many draws by the run's program and nothing else: they are written to its device rows and left there."""
    progress = replace(progress)
    while progress.iteration < draws:
        stop = min(progress.iteration + run.layout.rows, draws)
        span = Span.of(progress.iteration, stop)
        progress.chains = run.programs.call(progress.leaves, progress.chains, span)
        progress.iteration = stop
    jax.block_until_ready(progress.chains)


def fresh_recorder(run, draws):
    """Room on the host for so many draws, every page of it touched."""
    recorder = run.recorder(draws)
    for array in (*recorder.parameters.values(), *recorder.stats.values()):
        array.fill(0)
    return recorder


def sampling_phase(run, progress, draws, recorder, reporter):
    """Seconds of what `sample` calls `sampling_time`, with a recorder whose memory was touched before."""
    recorder.filled, before = 0, run.timings.sampling_time
    advance(run, replace(progress), draws, Outputs(reporter, recorder))
    return run.timings.sampling_time - before


def floor_loops(run, iterations):
    """What a random-walk step can't do without, in blocks of lanes: random numbers; the log density.

    Returns two compiled functions without arguments.
    """
    from mcmc.random.draws import symmetric_normal, uniform_open

    blocks, lanes, dim = run.layout.blocks, run.layout.lanes, run.target.dim
    ids = jnp.arange(blocks * lanes, dtype=jnp.uint32).reshape(blocks, lanes)
    density = partial(run.traced.log_density, run.traced.arrays)

    def numbers(words):
        def one(chain, t):
            key = keys.draw_key(words, chain, t)
            z = symmetric_normal(key, (dim,), run.plan.dtype)
            return jnp.sum(z) + uniform_open(key, (), run.plan.dtype, stream=1)

        def block(lane_ids):
            def body(t, total):
                held, t = lax.optimization_barrier((words, t))
                del held
                return total + jax.vmap(one, (0, None))(lane_ids, t)

            return lax.fori_loop(0, np.int32(iterations), body, jnp.zeros(lanes, run.plan.dtype))

        return lax.map(block, ids)

    def densities(shift):
        def block(lane_ids):
            at = jnp.ones((lanes, dim), run.plan.dtype) + lane_ids[:, None].astype(run.plan.dtype)

            def body(t, y):
                return y + shift * jax.vmap(density)(y)[:, None]

            return lax.fori_loop(0, np.int32(iterations), body, at)

        return lax.map(block, ids)

    words, shift = jnp.asarray(WORDS), jnp.asarray(1e-12, run.plan.dtype)
    first, second = jax.jit(numbers).lower(words).compile(), jax.jit(densities).lower(shift).compile()
    return lambda: jax.block_until_ready(first(words)), lambda: jax.block_until_ready(second(shift))
