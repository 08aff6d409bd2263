"""Benchmark of the direct samplers: inverse CDF, reparameterised normals, categorical."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from mcmc.bench import floors
from mcmc.bench.measure import DTYPE, Plan, Row, free_memory, median_seconds
from mcmc.direct import categorical, reparam
from mcmc.direct.inverse_cdf.inverse_cdf import InverseCDF
from mcmc.engine.compilation import compile_program
from mcmc.random import philox

PART, UNIT = "direct", "draw"
CATEGORICAL = "categorical"
ARRAYS = 8
LOGITS = "logits read once"


def rows(plan: Plan) -> list[Row]:
    """The continuous samplers, then the categorical ones."""
    return [*_continuous(plan), *_categorical(plan)]


def _key() -> jax.Array:
    return jax.random.wrap_key_data(jnp.array([1, 2, 3, 4], jnp.uint32), impl=philox.implementation)


def _fitting(wanted: int, bytes_each: int) -> int:
    """So many, or as many of a power of two less as fit in half of the memory that is free."""
    while wanted * bytes_each * ARRAYS > free_memory() / 2 and wanted > 1:
        wanted //= 2
    return wanted


def _continuous(plan: Plan) -> list[Row]:
    n, key = _fitting(plan.samples, DTYPE.itemsize), _key()
    plan.say(f"direct draws, {n:,} at a time")
    alone = {floors.BITS: floors.bits_alone(key, n, plan.repeats), floors.BYTES: floors.bytes_alone(n, plan.repeats)}
    gamma = InverseCDF.fit(lambda x: 1.5 * jnp.log(x) - x, (0.0, math.inf))
    draws = {
        "InverseCDF of a gamma(2.5)": lambda key: gamma.sample(key, (n,), DTYPE),
        "reparam.normal": lambda key: reparam.normal(key, shape=(n,), dtype=DTYPE),
    }
    return [_row(PART, name, n, draw, (key,), alone, plan.repeats) for name, draw in draws.items()]


def _categorical(plan: Plan) -> list[Row]:
    batch, key = _fitting(plan.rows, plan.tokens * DTYPE.itemsize), _key()
    plan.say(f"categorical draws, {batch:,} rows of {plan.tokens:,}")
    logits = 2.0 * jax.random.normal(jax.random.key(0), (batch, plan.tokens), DTYPE)
    alone = {
        floors.BITS: floors.bits_alone(key, batch, plan.repeats),
        LOGITS: floors.bytes_read(logits, plan.repeats),
    }
    draws = {
        f"{plan.tokens:,} tokens": lambda key, x: categorical.sample(key, x),
        f"{plan.tokens:,} tokens, top_p=0.9": lambda key, x: categorical.sample(key, x, top_p=0.9),
    }
    return [_row(CATEGORICAL, name, batch, draw, (key, logits), alone, plan.repeats) for name, draw in draws.items()]


def _row(part: str, name: str, n: int, draw: Callable, arguments: tuple, alone: dict[str, float], repeats: int) -> Row:
    program, compiling = compile_program(draw, *arguments)
    seconds = median_seconds(lambda: jax.block_until_ready(program(*arguments)), repeats)
    found = {what: x / n * 1e9 for what, x in alone.items()}
    return Row(part, name, n, UNIT, seconds / n * 1e9, found, compiling, {"draws": n / seconds})
