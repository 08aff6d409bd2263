"""The programs of several devices at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import jax
import numpy as np

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


@cache
def _threads(n: int) -> ThreadPoolExecutor:
    """Threads that wait for the programs of `n` devices; kept, because starting them takes longer than a short call."""
    return ThreadPoolExecutor(n)


def _in_thread(double: bool, finished: Callable, program: Any, args: tuple) -> Any:
    with jax.enable_x64(double):
        return finished(program, args)


def _finished(program: Any, args: tuple) -> Any:
    return jax.block_until_ready(program(*args))
