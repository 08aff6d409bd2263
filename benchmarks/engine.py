"""The inside of `mcmc` that the benchmarks touch, in one place: a run without `sample` around it.

Nothing here is public in the package; when the package changes, this file follows.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc import sampling
from mcmc.engine import keys
from mcmc.engine.loop import Span

WORDS = keys.run_words(0)


@contextmanager
def bare_run(target, kernel, chains, dtype, thin=1):
    """A run without warmup, begun: (run, its chains); JAX's 64-bit mode is set to match inside."""
    with sampling._precision(dtype, None) as precision:
        settings = sampling.Settings(chains, 1, 0, thin, None)
        traced = target.trace(precision)
        run = sampling._make_run(target, traced, kernel, settings, WORDS, precision, None, None, None)
        begun = run.begin(np.random.default_rng(0).normal(0, 0.1, (chains, target.dim)))
        yield run, (begun[0] if isinstance(begun, tuple) else begun)


def call_program(run, progress, iterations, thin):
    """One call of the run's program: so many iterations of all chains, a row kept every `thin`; waits."""
    numbers = (np.int32(x) for x in (0, iterations, run.warmup, thin))
    return wait(run, run._call(progress, Span(np.bool_(False), *numbers)))


def wait(run, returned):
    """What the program returned, once it is there: its chains, and the rows that the run holds."""
    progress = returned[0] if isinstance(returned, tuple) else returned
    jax.block_until_ready((progress.chains, getattr(run, "_rows", None)))
    return returned


def lean_loop(run, iterations, kept):
    """The loop that a careful user would write: one fori_loop of vmap(step) over all chains, each with a key.

    Positions and log densities of the last `kept` draws are stored. Returns a compiled function of a state.
    """
    chains, density = run.layout.chains, partial(run.traced.log_density, run.traced.arrays)
    kernel = run.rebuild(run.start_leaves)
    ids = jnp.arange(chains, dtype=jnp.uint32)

    def body(t, carry):
        state, positions, lps = carry
        each_draw = getattr(kernel, "each_draw", None)
        now = each_draw(keys.shared_key(WORDS, t)) if each_draw else kernel
        step = jax.vmap(lambda c, s: now.step(keys.draw_key(WORDS, c, t), s, density)[0])
        state = step(ids, state)
        row = lax.rem(t, np.int32(kept))
        positions = lax.dynamic_update_index_in_dim(positions, state.position, row, 0)
        return state, positions, lax.dynamic_update_index_in_dim(lps, state.lp, row, 0)

    @jax.jit
    def loop(state):
        rows = jnp.zeros((kept, *state.position.shape), run.dtype), jnp.zeros((kept, chains), run.dtype)
        return lax.fori_loop(0, np.int32(iterations), body, (state, *rows))

    @jax.jit
    def start(positions):
        return jax.vmap(lambda y: kernel.init(y, density))(positions)

    state = start(np.random.default_rng(0).normal(0, 0.1, (chains, run.target.dim)).astype(run.dtype))
    return loop.lower(state).compile(), state


def floor_loops(run, iterations, dim):
    """What a random-walk step can't do without, in blocks of lanes: random numbers; the log density.

    Returns two compiled functions without arguments.
    """
    from mcmc.random import symmetric_normal, uniform_open

    blocks, lanes = run.layout.blocks, run.layout.lanes
    ids = jnp.arange(blocks * lanes, dtype=jnp.uint32).reshape(blocks, lanes)
    density = partial(run.traced.log_density, run.traced.arrays)

    def numbers(words):
        def one(chain, t):
            key = keys.draw_key(words, chain, t)
            z = symmetric_normal(key, (dim,), run.dtype)
            return jnp.sum(z) + uniform_open(key, (), run.dtype, stream=1)

        def block(lane_ids):
            def body(t, total):
                held, t = lax.optimization_barrier((words, t))
                del held
                return total + jax.vmap(one, (0, None))(lane_ids, t)

            return lax.fori_loop(0, np.int32(iterations), body, jnp.zeros(lanes, run.dtype))

        return lax.map(block, ids)

    def densities(shift):
        def block(lane_ids):
            at = jnp.ones((lanes, dim), run.dtype) + lane_ids[:, None].astype(run.dtype)

            def body(t, y):
                return y + shift * jax.vmap(density)(y)[:, None]

            return lax.fori_loop(0, np.int32(iterations), body, at)

        return lax.map(block, ids)

    words, shift = jnp.asarray(WORDS), jnp.asarray(1e-12, run.dtype)
    first, second = jax.jit(numbers).lower(words).compile(), jax.jit(densities).lower(shift).compile()
    return lambda: jax.block_until_ready(first(words)), lambda: jax.block_until_ready(second(shift))
