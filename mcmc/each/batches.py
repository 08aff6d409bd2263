"""All data sets, batch after batch: how many go together, the program that runs them, and the threads that call it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from mcmc.diagnostics.arrays import available_cores
from mcmc.each.batch import Batch, Drawn, Programs, Warmed
from mcmc.each.settling import settling
from mcmc.each.together import Together
from mcmc.engine.compilation import compile_programs
from mcmc.engine.devices import devices_of
from mcmc.engine.loop import build
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.run import Run

BATCH_BYTES, MOST_SETS, MOST_ELSEWHERE = 256_000_000, 32, 512  # a CPU's cache holds few, an accelerator wants many
THREADS = 2  # an accelerator: one batch is judged while the next is drawn
AHEAD = 2  # batches a worker that may be done before they are used
CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": "",  # sums over short rows by YNNPACK take four times as long
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_multi_thread_eigen": False,  # a batch has a core of its own
}
ONE_PASS = {"xla_disable_hlo_passes": "tree_reduction_rewriter"}  # sums in two passes take a fifth longer
WINDOW = 4  # batches a worker whose data sets are mixed after warmup


def places() -> list:
    """Where batches run: the devices, a CPU once for each core, another twice."""
    devices = list(devices_of(None))
    return devices * (available_cores() if devices[0].platform == "cpu" else THREADS)


def most_sets(device: Any) -> int:
    """How many data sets go in a batch at most: `BATCH_BYTES` may allow fewer."""
    return MOST_SETS if device.platform == "cpu" else MOST_ELSEWHERE


class Batches:
    """The runs on data sets of equal shapes: their programs, and how many go in a batch.

    At most `most`. With `total` batches are as large as keeps all devices busy. Without, their size does not depend on
    how many data sets there are, so that neither do the bits of the draws: XLA's rounding may depend on shapes.
    """

    def __init__(
        self, shared: Together, data: list[np.ndarray], words: np.ndarray, total: int | None = None, most: int = 0
    ):
        self.shared, self.devices, self.mixes = shared, places(), total is None
        first = shared.alone([x[0] for x in data], words[0])
        workers = 1 if total is None else len(self.devices)
        size = _fitting(first, total, workers, most or most_sets(self.devices[0]))
        self.programs, self.size = _compiled(shared, data, words, self.devices, first, size)

    def each(
        self, shared: Together, data: list[np.ndarray], words: np.ndarray, use: Callable[[np.ndarray, Drawn], Any]
    ) -> Iterator[Any]:
        """`use(which data sets, what their runs drew)` of all data sets (set, ...), batch by batch.

        A batch a device at the same time. Data sets of some batches warm up, and then those whose trajectories are
        about as long draw together: a batch waits for its slowest. `shared` may have other numbers of iterations than
        those compiled for.
        """
        some = Work(self, shared, data, words, use)
        size = self.size * (WINDOW * len(self.devices) if self.mixes else 1)
        windows = [range(begin, min(begin + size, len(words))) for begin in range(0, len(words), size)]
        waiting: deque = deque()
        with ThreadPoolExecutor(len(self.devices)) as pool:
            try:
                ahead = AHEAD * len(self.devices) if not self.mixes else 1
                begun: deque = deque(some.warm_up(pool, window) for window in windows[:ahead])
                for k in range(len(windows)):
                    waiting += some.draw(pool, begun.popleft())
                    begun += [some.warm_up(pool, window) for window in windows[k + ahead : k + ahead + 1]]
                    while waiting and (self.mixes or len(waiting) > ahead):
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


class Work:
    """Warmup and draws of data sets, batch by batch in the threads of a pool."""

    def __init__(self, batches: Batches, shared: Together, data: list, words: np.ndarray, use: Callable):
        self.batches, self.shared, self.data, self.words, self.use = batches, shared, data, words, use
        self.submitted = 0

    def parts(self, which: np.ndarray) -> Iterator[np.ndarray]:
        """These data sets, as many at a time as go in a batch."""
        size = self.batches.size
        yield from (which[begin : begin + size] for begin in range(0, len(which), size))

    def warm_up(self, pool: ThreadPoolExecutor, window: range) -> list[tuple[np.ndarray, Future]]:
        """Warmup of these data sets, as it is going on."""
        return [(which, self._submit(pool, self._warm_up, which)) for which in self.parts(np.array(window))]

    def draw(self, pool: ThreadPoolExecutor, begun: list[tuple[np.ndarray, Future]]) -> list[Future]:
        """The draws of data sets whose warmup was begun."""
        warmed = {i: each for which, future in begun for i, each in zip(which, future.result(), strict=True)}
        order = sorted(warmed, key=lambda i: warmed[i].cost) if self.batches.mixes else list(warmed)
        return [self._submit(pool, self._draw, which, warmed) for which in self.parts(np.array(order))]

    def _submit(self, pool: ThreadPoolExecutor, function: Callable, *arguments: Any) -> Future:
        device = self.batches.devices[self.submitted % len(self.batches.devices)]
        self.submitted += 1
        return pool.submit(function, device, *arguments)

    def _batch(self, device: Any, which: np.ndarray) -> Batch:
        rows = self._padded(which)
        return Batch(self.shared, [x[rows] for x in self.data], self.words[rows], device, self.batches.programs[device])

    def _padded(self, which: np.ndarray) -> np.ndarray:
        return np.concatenate([which, np.repeat(which[-1:], self.batches.size - len(which))])

    def _warm_up(self, device: Any, which: np.ndarray) -> list[Warmed]:
        with jax.enable_x64(bool(self.shared.dtype == np.float64)):  # a setting of each thread
            return self._batch(device, which).warmed()[: len(which)]

    def _draw(self, device: Any, which: np.ndarray, warmed: dict[int, Warmed]) -> Any:
        with jax.enable_x64(bool(self.shared.dtype == np.float64)):
            return self.use(which, self._batch(device, which).draw([warmed[i] for i in self._padded(which)]))


def each_batch(
    shared: Together, data: list[np.ndarray], words: np.ndarray, use: Callable[[np.ndarray, Drawn], Any]
) -> Iterator[Any]:
    """`use(which data sets, what their runs drew)` of all data sets (set, ...), in batches that keep devices busy."""
    return Batches(shared, data, words, len(words)).each(shared, data, words, use)


def _fitting(first: Run, total: int | None, workers: int, most: int) -> int:
    """How many data sets go in a batch: as many as keep all devices busy, and whose rows are not too many bytes."""
    layout = first.layout
    numbers = layout.rows * (first.traced.width + len(first.statistics)) + layout.trail * first.programs.seen
    most = min(most, max(1, BATCH_BYTES // (2 * layout.share * numbers * first.plan.dtype.itemsize)))
    return most if total is None else -(-total // (workers * -(-total // (workers * most))))


def _compile(function: Callable, arguments: list[tuple], shared: Together, donate: tuple[int, ...] = ()) -> list:
    """The executables. In float32 long sums need the second pass, for their precision."""
    chosen = CPU_OPTIONS | (ONE_PASS if shared.dtype == np.float64 else {})
    options = chosen if shared.layout.devices[0].platform == "cpu" else None
    return compile_programs(function, arguments, donate, options=options)[0]


def _compiled(
    shared: Together, data: list, words: np.ndarray, devices: list, first: Run, size: int
) -> tuple[dict[Any, Programs], int]:
    """The programs for each device, and how many data sets they take: fewer, where they need too much memory."""
    advance = build(shared.layout.ensemble, first.statistics, first.traced, first.form.rebuild)
    function = jax.vmap(advance, in_axes=(0, 0, 0, 0, None, None, shared.axes))
    places = list(dict.fromkeys(devices))
    parts = first.traced.fingerprint, first.form.fingerprint
    while True:
        rows = np.arange(size) % len(words)
        batches = [Batch(shared, [x[rows] for x in data], words[rows], place) for place in places]
        blank = np.zeros((size, shared.settings.chains, shared.target.dim))
        arguments = [batch.arguments(batch.blank(blank), 0, 0) for batch in batches]
        shapes = tuple(str(jax.typeof(x)) for x in jax.tree.leaves(arguments[0]))
        key = ("batch", parts, first.statistics, shared.layout, shared.axes, tuple(places), shapes, options())
        compiling = partial(_compile, function, arguments, shared, donate=(3,))
        programs = compiling() if first.form.fixed else cache_of(shared.target, *parts).get(key, compiling)
        needed = getattr(programs[0].memory_analysis(), "temp_size_in_bytes", 0)
        if needed <= BATCH_BYTES or size == 1:
            break
        size = max(1, int(size * BATCH_BYTES / needed))
    settle = [None] * len(places)
    if batches[0].may_improve:
        function, arguments = settling(first.traced.log_density, shared.axes), [b.to_settle() for b in batches]
        key = ("settling", parts[0], shared.axes, tuple(places), shapes, options())
        settle = cache_of(shared.target, parts[0]).get(key, partial(_compile, function, arguments, shared))
    return dict(zip(places, map(Programs, programs, settle), strict=True)), size
