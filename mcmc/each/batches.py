"""All data sets, batch after batch: how many go together, the program that runs them, and the threads that call it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from mcmc.diagnostics.arrays import available_cores
from mcmc.each.batch import Batch, Drawn
from mcmc.each.together import Together
from mcmc.engine.compilation import compile_programs
from mcmc.engine.devices import devices_of
from mcmc.engine.loop import build
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.run import Run

BATCH_BYTES, MOST_SETS = 256_000_000, 32
AHEAD = 2  # batches a worker that may be done before they are used


def places() -> list:
    """Where batches run: the devices, a CPU once for each core."""
    devices = list(devices_of(None))
    return devices * (available_cores() if devices[0].platform == "cpu" else 1)


class Batches:
    """The runs on data sets of equal shapes: their program, and how many go in a batch.

    With `total` batches are as large as keeps all devices busy. Without, their size does not depend on how many data
    sets there are, so that neither do the bits of the draws: XLA's rounding may depend on the shapes of arrays.
    """

    def __init__(self, shared: Together, data: list[np.ndarray], words: np.ndarray, total: int | None = None):
        self.shared, self.devices = shared, places()
        first = shared.alone([x[0] for x in data], words[0])
        workers = 1 if total is None else len(self.devices)
        self.programs, self.size = _compiled(shared, data, words, self.devices, first, _fitting(first, total, workers))

    def each(
        self, shared: Together, data: list[np.ndarray], words: np.ndarray, use: Callable[[range, Drawn], Any]
    ) -> Iterator[Any]:
        """`use(which data sets, what their runs drew)` of all data sets (set, ...), batch by batch in order.

        A batch a device at the same time. `shared` may have other numbers of iterations than those compiled for.
        """
        total, size = len(words), self.size
        begins = range(0, total, size)

        def one(k: int) -> Any:
            which, device = range(begins[k], min(begins[k] + size, total)), self.devices[k % len(self.devices)]
            rows = np.minimum(np.arange(begins[k], begins[k] + size), total - 1)
            with jax.enable_x64(bool(shared.dtype == np.float64)):  # a setting of each thread
                batch = Batch(shared, [x[rows] for x in data], words[rows], device, self.programs[device])
                return use(which, batch.draw())

        waiting: deque = deque()
        with ThreadPoolExecutor(len(self.devices)) as pool:
            try:
                for k in range(len(begins)):
                    waiting.append(pool.submit(one, k))
                    if len(waiting) > AHEAD * len(self.devices):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def each_batch(
    shared: Together, data: list[np.ndarray], words: np.ndarray, use: Callable[[range, Drawn], Any]
) -> Iterator[Any]:
    """`use(which data sets, what their runs drew)` of all data sets (set, ...), in batches that keep devices busy."""
    return Batches(shared, data, words, len(words)).each(shared, data, words, use)


def _fitting(first: Run, total: int | None, workers: int) -> int:
    """How many data sets go in a batch: as many as keep all devices busy, and whose rows are not too many bytes."""
    layout = first.layout
    numbers = layout.rows * (first.traced.width + len(first.statistics)) + layout.trail * first.programs.seen
    most = min(MOST_SETS, max(1, BATCH_BYTES // (2 * layout.share * numbers * first.plan.dtype.itemsize)))
    return most if total is None else -(-total // (workers * -(-total // (workers * most))))


def _compile(function: Callable, arguments: list[tuple]) -> list:
    return compile_programs(function, arguments, donate=(3,))[0]


def _compiled(
    shared: Together, data: list, words: np.ndarray, devices: list, first: Run, size: int
) -> tuple[dict, int]:
    """The program for each device, and how many data sets it takes: fewer, where it needs too much memory."""
    advance = build(shared.layout.ensemble, first.statistics, first.traced, first.form.rebuild)
    function = jax.vmap(advance, in_axes=(0, 0, 0, 0, None, None, shared.axes))
    places = list(dict.fromkeys(devices))
    while True:
        rows = np.arange(size) % len(words)
        batches = [Batch(shared, [x[rows] for x in data], words[rows], place) for place in places]
        blank = np.zeros((size, shared.settings.chains, shared.target.dim))
        arguments = [batch.arguments(batch.blank(blank), 0, 0) for batch in batches]
        shapes = tuple(str(jax.typeof(x)) for x in jax.tree.leaves(arguments[0]))
        parts = first.traced.fingerprint, first.form.fingerprint
        key = ("batch", parts, first.statistics, shared.layout, shared.axes, tuple(places), shapes, options())
        compiling = partial(_compile, function, arguments)
        programs = compiling() if first.form.fixed else cache_of(shared.target, *parts).get(key, compiling)
        needed = getattr(programs[0].memory_analysis(), "temp_size_in_bytes", 0)
        if needed <= BATCH_BYTES or size == 1:
            return dict(zip(places, programs, strict=True)), size
        size = max(1, int(size * BATCH_BYTES / needed))
