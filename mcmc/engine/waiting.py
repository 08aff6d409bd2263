"""A line now and then while a run has nothing to show yet: JAX traces and XLA compiles, which may take minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mcmc.engine.progress import Reporter

FIRST, THEN, LATER = 4.0, 5.0, 30.0
"""Seconds to the first line, between those after it, and between those after half a minute."""
READING = "reading the target: JAX traces the log density, {:.0f} s so far"
COMPILING = "compiling and looking for starts, {:.0f} s so far"
UNROLLED = " (loops of Python are unrolled: array operations, jax.vmap and jax.lax.scan trace and compile faster)"


@contextmanager
def not_silent(reporter: Reporter, first: float = FIRST, then: float = THEN) -> Iterator[None]:
    """Within, and until the first update of the run, a note says what is being waited for."""
    if type(reporter) is Reporter:  # one that shows nothing
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_watch, args=(reporter, over, first, then), name="mcmc waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(reporter: Reporter, over: threading.Event, pause: float, then: float) -> None:
    began, hint = time.monotonic(), UNROLLED
    while not over.wait(pause) and not reporter.moving:
        what, passed = COMPILING if reporter.started else READING, time.monotonic() - began
        reporter.note(what.format(passed) + hint)
        hint, pause = "", then if passed < LATER else LATER
