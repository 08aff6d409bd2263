"""Lower bounds of the work, measured alone: its random bits, its bytes, its log densities and gradients.

Chains' floors run in the engine's layout: the same blocks of lanes, the same threads, the same keys.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mcmc.bench.chains import WORDS, Bare
from mcmc.bench.measure import DTYPE, median_seconds
from mcmc.engine.compilation import compile_program
from mcmc.engine.dispatch import run_programs
from mcmc.random import keys
from mcmc.random.draws import bits

BITS, BYTES, DENSITY, GRADIENT = "random bits", "bytes written", "log density", "log density and gradient"


def bits_of_chains(bare: Bare, repeats: int) -> float:
    """ns a chain-step: a word for each coordinate and one to accept with, by the engine's keys."""
    layout, dim, iterations = bare.run.layout, bare.run.target.dim, bare.iterations

    def one(words: Any, t: Any, chain: Any) -> jax.Array:
        key = keys.draw_key(words, chain, t)
        mixed = lax.reduce(bits(key, 32, (dim,)), np.uint32(0), lax.bitwise_xor, (0,))
        return mixed ^ bits(key, 32, (), stream=1)

    def numbers(words: Any, ids: Any) -> jax.Array:
        def block(lane_ids: Any) -> jax.Array:
            def body(t: Any, mixed: Any) -> Any:
                held, t = lax.optimization_barrier((words, t))
                return mixed ^ jax.vmap(partial(one, held, t))(lane_ids)

            return lax.fori_loop(0, np.int32(iterations), body, jnp.zeros(layout.lanes, jnp.uint32))

        return lax.map(block, ids)

    ids = np.arange(len(layout.devices) * layout.blocks * layout.lanes, dtype=np.uint32)
    parts = [(np.asarray(WORDS), part) for part in ids.reshape(-1, layout.blocks, layout.lanes)]
    return _in_layout(bare, numbers, parts, repeats) / bare.chain_steps * 1e9


def bytes_of_chains(bare: Bare, repeats: int) -> float:
    """ns a chain-step: the bytes of its draw and its statistics written once, to memory that was touched before."""
    layout = bare.run.layout
    words = math.ceil(bare.bytes_kept / 4)
    shape = (layout.blocks * layout.lanes, bare.iterations, words)
    filled = jax.jit(lambda held, value: jnp.broadcast_to(value, held.shape), donate_argnums=0, keep_unused=True)
    held = [jax.device_put(np.zeros(shape, np.int32), device) for device in layout.devices]
    program = filled.lower(held[0], np.int32(1)).compile()

    def run() -> None:
        work = [(program, (part, np.int32(1))) for part in held]
        held[:] = run_programs(work, bare.seconds, DTYPE, None)

    return median_seconds(run, repeats) / bare.chain_steps * 1e9


def densities_of_chains(bare: Bare, repeats: int, evaluations: int, gradient: bool) -> float:
    """ns an evaluation of the log density, or of it and its gradient, at points that move."""
    run, layout = bare.run, bare.run.layout

    def move(y: Any, shift: Any, arrays: Any) -> Any:
        density = partial(run.traced.log_density, arrays)
        if not gradient:
            return y + shift * density(y)
        lp, grad = jax.value_and_grad(density)(y)
        return y + shift * (grad + lp)

    def evaluate(at: Any, shift: Any, arrays: Any) -> jax.Array:
        def block(y: Any) -> jax.Array:
            return lax.fori_loop(
                0, np.int32(evaluations), lambda _, y: jax.vmap(move, (0, None, None))(y, shift, arrays), y
            )

        return lax.map(block, at)

    positions = run.joined(bare.progress).state.position
    shift = np.asarray(1e-12, DTYPE)
    parts = [(part, shift, run.traced.arrays) for part in layout.split(positions)]
    return _in_layout(bare, evaluate, parts, repeats) / (evaluations * layout.chains) * 1e9


def _in_layout(bare: Bare, function: Callable, parts: list[tuple], repeats: int) -> float:
    """Seconds of a function on every device of the layout, each with its part."""
    placed = [jax.device_put(part, device) for part, device in zip(parts, bare.run.layout.devices, strict=True)]
    program, _ = compile_program(function, *placed[0])
    work = [(program, part) for part in placed]
    return median_seconds(lambda: run_programs(work, bare.seconds, DTYPE, None), repeats)


def bits_alone(key: jax.Array, words: int, repeats: int) -> float:
    """Seconds for so many random words of 32 bits, written."""
    program, _ = compile_program(lambda key: bits(key, 32, (words,)), key)
    return median_seconds(lambda: jax.block_until_ready(program(key)), repeats)


def bytes_alone(words: int, repeats: int) -> float:
    """Seconds to write so many words of 4 bytes into memory that was touched before."""
    held = [jnp.zeros(words, DTYPE)]
    program = jax.jit(lambda x, value: jnp.broadcast_to(value, x.shape), donate_argnums=0, keep_unused=True)
    program = program.lower(held[0], DTYPE.type(1)).compile()

    def run() -> None:
        held[0] = jax.block_until_ready(program(held[0], DTYPE.type(1)))

    return median_seconds(run, repeats)


def bytes_read(x: jax.Array, repeats: int) -> float:
    """Seconds to read an array once: its greatest number in each row."""
    program, _ = compile_program(lambda x: jnp.max(x, -1), x)
    return median_seconds(lambda: jax.block_until_ready(program(x)), repeats)
