"""The programs of several devices at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.errors import JaxRuntimeError

from mcmc.errors import SamplingError, got

SHORT_CALL = 1e-3


def run_programs(work: list[tuple], seconds: float, dtype: Any, finished: Callable | None) -> list:
    """What each (program, arguments) gives, awaited: in one thread a device, if they take long enough to be worth it.

    `seconds` is about what they take; `finished(program, arguments)`, where given, calls one and awaits it.
    """
    if seconds < SHORT_CALL:
        if finished is None:
            return jax.block_until_ready([program(*args) for program, args in work])
        return [finished(*each) for each in work]
    finished = finished or _finished
    double = dtype == np.float64  # a setting of each thread
    others = [_threads(len(work)).submit(_in_thread, double, finished, *each) for each in work[1:]]
    return [finished(*work[0]), *(other.result() for other in others)]


@contextmanager
def everywhere(dtype: Any, wanted: bool) -> Iterator[None]:
    """Within, where a user's callbacks are called, XLA's threads too hold floats of 64 bits in a float64 run.

    A callback runs in a thread of XLA's, where only JAX's global flag counts: without it its arrays would be float32.
    """
    if not wanted or dtype != np.float64:
        yield
        return
    before = _threads(1).submit(lambda: bool(jax.config.jax_enable_x64)).result()  # pyright: ignore[reportAttributeAccessIssue]
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    except JaxRuntimeError as error:
        if "Incorrect output dtype" not in str(error):
            raise
        said = "a callback whose result is " + str(error).partition("return value ")[2].strip()[:60]
        remedy = (
            'Declare jax.ShapeDtypeStruct(shape, p["x"].dtype) inside the function, and return that type; '
            'or pass dtype="float32".'
        )
        raise SamplingError(got("jax.pure_callback", said, f"results in the run's type, {dtype}", remedy)) from error
    finally:
        jax.config.update("jax_enable_x64", before)


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    """Threads that wait for the programs of `n` devices; kept, because starting them takes longer than a short call."""
    return ThreadPoolExecutor(n)


def _in_thread(double: bool, finished: Callable, program: Any, args: tuple) -> Any:
    with jax.enable_x64(double):
        return finished(program, args)


def _finished(program: Any, args: tuple) -> Any:
    return jax.block_until_ready(program(*args))
