"""Processes that evaluate a black box's chains side by side."""

from __future__ import annotations

import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Executor, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from mcmc.errors import SamplingError, WrongType, WrongValue, got, how_to_install

GLANCE = 0.1  # seconds between two looks at whether the user has interrupted
IDLE = 300.0  # seconds after which a worker without calls ends; it is started again where there are more
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Workers:
    """Calls of one function in other processes: a number of own ones, or those of an executor.

    Own workers get the function and its data once, when they start; an executor's with each call, and a worker
    keeps the last function that it was sent. In workers that share this process's memory (threads) it is called as
    it is.

    Args:
        fn: the function.
        data: its arguments after the first.
        given: a number of processes, or a `concurrent.futures.Executor`.
    """

    def __init__(self, fn: Callable, data: tuple, given: int | Executor):
        self.given, self.seconds = given, 0.0  # of a call
        self.own: Executor | None = None
        self.stopped = threading.Event()
        if isinstance(given, ThreadPoolExecutor):
            self.call: Callable = partial(timed, fn, data)
        else:
            pickled = _pickled(fn, data)
            held = (id(self), time.time_ns()), b"" if isinstance(given, int) else pickled
            self.call, self.start = partial(_called, *held), partial(_hold, held[0], pickled)

    @property
    def count(self) -> int | None:
        """How many calls are made at a time; None where an executor does not say."""
        if isinstance(self.given, int):
            return self.given
        found = getattr(self.given, "_max_workers", getattr(self.given, "num_workers", None))
        return found if isinstance(found, int) else None

    def results(self, arguments: Sequence[Any]) -> Iterator[Any]:
        """What the function gives for each, in order; what it raises, with the worker's traceback as a note."""
        futures: list[Future] = []
        try:
            pool = self._pool()
            futures = [pool.submit(self.call, each) for each in arguments]
            while wait(futures, GLANCE, FIRST_EXCEPTION).not_done:
                if self.stopped.is_set():
                    raise KeyboardInterrupt
                if any(f.done() and f.exception() is not None for f in futures):
                    break
            made = [f.result() for f in futures]
        except BrokenExecutor as error:
            self.close()
            raise _died(error) from error
        finally:
            for f in futures:
                f.cancel()
        for value, seconds, raised in made:
            if raised is not None:
                raise _loaded(raised)
            self.seconds = seconds
            yield value

    def close(self) -> None:
        """End the own workers, whatever they do; others are started where there are more calls."""
        pool, self.own = self.own, None
        if pool is not None:
            pool.shutdown(wait=False, kill_workers=True)  # pyright: ignore[reportCallIssue]

    def _pool(self) -> Executor:
        if isinstance(self.given, Executor):
            return self.given
        if self.own is None:
            from loky import ProcessPoolExecutor  # pyright: ignore[reportMissingImports]

            self.own = ProcessPoolExecutor(self.given, timeout=IDLE, initializer=self.start, env=ONE_THREAD)
        assert self.own is not None
        return self.own


def check_workers(workers: Any) -> None:
    """Raise TypeError, ValueError or ImportError unless these are workers that can be had."""
    remedy = "Give a number of processes, or a concurrent.futures.Executor."
    if workers is None or isinstance(workers, Executor):
        return
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise WrongType("workers", workers, "a whole number or an Executor", remedy)
    if workers < 1:
        raise WrongValue("workers", workers, "at least 1", remedy)
    try:
        import loky  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        remedy = f"Install it: {how_to_install('loky')}; or pass an executor of your own."
        raise ImportError(f"workers={workers} needs loky, which is not installed. {remedy}") from error


# --- in the worker ----------------------------------------------------------------------------------------

_held: dict[Any, tuple[Callable, tuple]] = {}


def timed(fn: Callable, data: tuple, argument: Any) -> tuple[Any, float, bytes | None]:
    """What a call gives, the seconds that it took, and nothing raised."""
    began = time.perf_counter()
    return fn(argument, *data), time.perf_counter() - began, None


def _hold(name: Any, pickled: bytes) -> None:
    _held.clear()
    _held[name] = pickle.loads(pickled)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides


def _called(name: Any, pickled: bytes, argument: Any) -> tuple[Any, float, bytes | None]:
    try:
        if name not in _held:
            _hold(name, pickled)
        return timed(*_held[name], argument)
    except BaseException as error:
        return None, 0.0, _error_as_bytes(error)


def _error_as_bytes(error: BaseException) -> bytes:
    """The error with its traceback as a note; where it can't be sent, one that tells of it."""
    text = "".join(traceback.format_exception(error))
    error.add_note(f"In a worker:\n{text}")
    try:
        pickled = _dumps(error)
        pickle.loads(pickled)
        return pickled
    except Exception:
        return pickle.dumps(SamplingError(f"fn raised, in a worker, an error that can't be sent:\n{text}"))


# --- helpers ----------------------------------------------------------------------------------------------


def _dumps(value: Any) -> bytes:
    """Pickled; functions of a script or a notebook by what they are, not by their names."""
    try:
        import cloudpickle
    except ModuleNotFoundError:
        return pickle.dumps(value)
    return cloudpickle.dumps(value)


def _pickled(fn: Callable, data: tuple) -> bytes:
    try:
        return _dumps((fn, data))
    except Exception as error:
        remedy = "Let it open files, locks and libraries itself, on its first call."
        said = f"a function that can't be sent to another process: {error}"
        raise WrongType("fn", said, "one that can be pickled, with what it uses, for workers=", remedy) from error


def _loaded(raised: bytes) -> BaseException:
    return pickle.loads(raised)


def _died(error: BrokenExecutor) -> SamplingError:
    """What is said of a worker that ended within a call."""
    said = str(error).split("\n\n")[0].strip()
    remedy = (
        "Run it without workers= to see where: a crash of a compiled library and a lack of memory (fewer workers) are "
        "the usual causes. mcmc.resume goes on where a store was given."
    )
    return SamplingError(got("fn", f"the end of a worker within a call ({said})", "that it returns or raises", remedy))
