"""Progress of a run, shown on stderr from the host, between two chunks of draws.

The engine makes one reporter a run and tells it about every chunk. A reporter redraws rarely, so an update
that is not due costs microseconds; it writes nothing to stdout; and no fault of the display ends a run.

>>> with make_reporter(progress) as reporter:
...     reporter.start("64 chains of RandomWalk, 320 draws each")
...     reporter.update(Update("sampling", done=100, total=320, chains=64, elapsed=0.8))
"""

import atexit
import logging
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from mcmc.engine.progress_text import describe, pace, statistics
from mcmc.errors import WrongType, kind_of

logger = logging.getLogger("mcmc")
Ending = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True)
class Update:
    """Where a run stands after a chunk.

    `done` and `total` count iterations of one chain in this phase (`total` is None where nobody knows),
    `elapsed` the seconds of this phase. `rhat` and `ess` are the worst of any parameter so far, or None where
    they were not computed: the last known ones are then shown, save at the end of a phase. `gradients` counts the
    gradient evaluations of all chains in this phase, None of a kernel that makes none.
    """

    phase: Literal["warmup", "sampling"]
    done: int
    total: int | None
    chains: int
    elapsed: float
    acceptance: float | None = None
    divergences: int = 0
    rhat: float | None = None
    ess: float | None = None
    bytes_written: int = 0
    gradients: int | None = None

    @property
    def draws_per_second(self) -> float:
        """Iterations of all chains together in a second of this phase."""
        return self.chains * self.done / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def gradients_per_second(self) -> float | None:
        """Gradient evaluations of all chains together in a second of this phase."""
        return None if self.gradients is None or self.elapsed <= 0 else self.gradients / self.elapsed

    @property
    def time_left(self) -> float | None:
        """Seconds to the end of this phase at the speed so far; None where that is unknown."""
        if self.total is None or self.done <= 0:
            return None
        return max(self.total - self.done, 0) * self.elapsed / self.done


def make_reporter(progress: bool | Callable[[Update], Any], *, stream: Any = None) -> "Reporter":
    """The reporter for an argument `progress`.

    True shows a live display in a terminal or a notebook and plain lines elsewhere, on `stream` (stderr by
    default); False shows nothing; a callable is called with each `Update`.
    """
    if progress is False:
        return Reporter()
    if progress is not True:
        if not callable(progress):
            raise WrongType.told("progress", f"progress must be True, False or a callable, got {progress!r}")
        return CallReporter(progress)
    stream = sys.stderr if stream is None else stream
    if stream is None:
        return Reporter()
    if stream is sys.stderr and _in_notebook():
        return NotebookReporter()
    return LiveReporter(stream) if _is_terminal(stream) else LineReporter(stream)


class Reporter:
    """Shows nothing; the base of the reporters that show something.

    A subclass says how to open, draw, note and shut; this class decides when, and keeps faults away from
    the run. `redraws` counts how often something was drawn.
    """

    interval = math.inf  # seconds between two drawings
    statistics_interval = math.inf  # seconds between two computations of R-hat and ESS
    takes_moments = False  # whether `take_moments` is called where R-hat and ESS are computed

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.redraws = 0
        self._clock = clock
        self._due = -math.inf
        self._statistics_due = -math.inf
        self._latest: Update | None = None
        self._pending = False
        self._statistics: tuple[float | None, float | None] = (None, None)
        self._broken = False
        self._opened = self._ended = self.started = False
        self._lock = threading.RLock()  # notes may come from a thread of their own

    @property
    def moving(self) -> bool:
        """Whether the run has told of a chunk."""
        return self._latest is not None

    def start(self, title: str) -> None:
        """Begin to show a run under this title."""
        self._opened = self.started = True
        self._safely(self._open, title)

    def update(self, update: Update) -> None:
        """Take notice of a chunk; draw it where a drawing is due, at the start and at the end of a phase."""
        previous, self._latest = self._latest, update
        same_phase = previous is not None and previous.phase == update.phase
        if update.rhat is not None or update.ess is not None:
            self._statistics = (update.rhat, update.ess)
        elif not same_phase or update.done == update.total:
            self._statistics = (None, None)
        now = self._clock()
        if same_phase and now < self._due and update.done != update.total:
            self._pending = True
            return
        if self._pending and previous is not None and not same_phase:
            self._show(previous, now)
        self._show(update, now)

    def note(self, text: str) -> None:
        """Show a notice on a line of its own."""
        self._safely(self._note, text)

    def wants_statistics(self, now: float | None = None, *, last: bool = False) -> bool:
        """Whether a new R-hat and ESS would be shown: at most about twice a second, and for the last update.

        True starts the next interval: ask once a chunk, and compute them where the answer is True. `now` is
        a reading of `time.monotonic()`, taken here where it is None.
        """
        now = self._clock() if now is None else now
        if self._broken or (now < self._statistics_due and not last):
            return False
        self._statistics_due = now + self.statistics_interval
        return self.statistics_interval < math.inf

    def statistics_took(self, seconds: float) -> None:
        """Say what R-hat and ESS cost; they are then wanted so rarely that they stay under 2 % of the run."""
        self._statistics_due = max(self._statistics_due, self._clock() + 50 * seconds)

    def take_moments(self, moments: Any, names: Sequence[str]) -> None:
        """Take notice of the `Moments` of the draws so far, of columns with these names."""
        self._safely(self._take_moments, moments, names)

    def end_run(self, status: Ending, why: str = "") -> None:
        """Say once how the run ended, and close; saying it again does nothing."""
        self.close()
        if not self._ended:
            self._ended = True
            self._safely(self._end_run, status, why)

    def close(self) -> None:
        """Show the last update and leave the screen in order. Closing again does nothing."""
        if self._pending and self._latest is not None:
            self._show(self._latest, self._clock())
        if self._opened:
            self._opened = False
            self._safely(self._shut)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        self.end_run(*ending(kind, error))

    def _show(self, update: Update, now: float) -> None:
        self._pending = False
        self._due = now + self.interval
        self.redraws += self.interval < math.inf
        rhat, ess = self._statistics if update is self._latest else (update.rhat, update.ess)
        self._safely(self._draw, replace(update, rhat=rhat, ess=ess))

    def _safely(self, act: Callable[..., None], *arguments: Any) -> None:
        if self._broken:
            return
        try:
            with self._lock:
                act(*arguments)
        except Exception as error:
            self._broken = True
            self._fail(error)

    def _open(self, title: str) -> None: ...

    def _draw(self, update: Update) -> None: ...

    def _note(self, text: str) -> None:
        logger.info("%s", text)

    def _shut(self) -> None: ...

    def _take_moments(self, moments: Any, names: Sequence[str]) -> None: ...

    def _end_run(self, status: Ending, why: str) -> None: ...

    def _fail(self, error: Exception) -> None: ...


class CallReporter(Reporter):
    """Calls a function of the user with every update; notices go to the logger `mcmc`.

    Where it has a method `take_moments(moments, names)`, that is given the moments of the draws so far; where it has
    `end_run(status, why)`, that is called at the end of the run. The first exception of any of them is turned into a
    warning, and none is called again. `KeyboardInterrupt` passes, and ends the run as Ctrl-C does.
    """

    interval = 0.0
    statistics_interval = 0.5

    def __init__(self, call: Callable[[Update], Any], clock: Callable[[], float] = time.monotonic):
        super().__init__(clock)
        self._call = call
        self._moments_to = getattr(call, "take_moments", None)
        self._ending_to = getattr(call, "end_run", None)
        self.takes_moments = callable(self._moments_to)

    def _draw(self, update: Update) -> None:
        self._call(update)

    def _take_moments(self, moments: Any, names: Sequence[str]) -> None:
        if self._moments_to is not None:
            self._moments_to(moments, names)

    def _end_run(self, status: Ending, why: str) -> None:
        if callable(self._ending_to):
            self._ending_to(status, why)

    def _fail(self, error: Exception) -> None:
        what = f"the callable given as progress raised {type(error).__name__}: {error}"
        warnings.warn(f"{what}. The run goes on; it is not called again.", RuntimeWarning, stacklevel=5)


class LineReporter(Reporter):
    """Plain lines for a pipe, a file or a simple terminal: the first and last of a phase, else one in 5 s."""

    interval = 5.0
    statistics_interval = 5.0

    def __init__(self, stream: Any, clock: Callable[[], float] = time.monotonic):
        super().__init__(clock)
        self._stream = stream

    def _write(self, line: str) -> None:
        self._stream.write(f"mcmc: {line}\n")
        self._stream.flush()

    def _open(self, title: str) -> None:
        self._write(title)

    def _note(self, text: str) -> None:
        self._write(text)

    def _draw(self, update: Update) -> None:
        self._write(describe(update))


class LiveReporter(Reporter):
    """A live display in a terminal, a row for each phase, redrawn ten times a second at most."""

    interval = 0.1
    statistics_interval = 0.5

    def __init__(self, stream: Any, clock: Callable[[], float] = time.monotonic, **console: Any):
        super().__init__(clock)
        self._stream = stream
        self._console_arguments = console
        self._title = ""
        self._rows: dict[str, Update] = {}
        self._live: Any = None

    def _open(self, title: str) -> None:
        self._title = title
        self._display().update(self._picture(), refresh=True)

    def _draw(self, update: Update) -> None:
        self._rows[update.phase] = update
        self._display().update(self._picture(), refresh=True)

    def _note(self, text: str) -> None:
        self._display().console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _display(self) -> Any:
        """The running display; the cursor, which it hides, comes back at `close` or at exit."""
        if self._live is None:
            from rich.live import Live

            console = _make_console(self._stream, **self._console_arguments)
            ours = self._stream is sys.stderr
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=ours)
            self._opened = True
            atexit.register(self.close)
            self._live.start()
        return self._live

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        rows: list[Any] = [Text(self._title)] if self._title else []
        for phase, update in self._rows.items():
            done = 16 if not update.total else min(16 * update.done // update.total, 16)
            bar = [("━" * done, "green"), ("╌" * (16 - done), "dim")]
            rows.append(Text.assemble((f"{phase:9}", "bold"), *bar, " " + ", ".join(pace(update))))
        if self._rows:
            rows.append(Text(", ".join(statistics(list(self._rows.values())[-1])), "dim"))
        for row in rows:
            row.no_wrap, row.overflow = True, "ellipsis"
        return Group(*rows)

    def _shut(self) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            atexit.unregister(self.close)
            live.stop()

    def _fail(self, error: Exception) -> None:
        try:
            self._shut()
        except Exception:
            logger.debug("the progress display could not be closed", exc_info=True)


class NotebookReporter(Reporter):
    """A text under a notebook's cell, replaced in place; it needs IPython alone."""

    interval = 0.25
    statistics_interval = 0.5

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        super().__init__(clock)
        self._lines: dict[str, str] = {}
        self._handle: Any = None

    def _open(self, title: str) -> None:
        self._lines["title"] = title
        self._redraw()

    def _note(self, text: str) -> None:
        self._lines[f"note {len(self._lines)}"] = text
        self._redraw()

    def _draw(self, update: Update) -> None:
        self._lines.pop(update.phase, None)
        self._lines[update.phase] = describe(update)
        self._redraw()

    def _redraw(self) -> None:
        from IPython.display import display  # pyright: ignore[reportMissingImports]

        content = {"text/plain": "\n".join(self._lines.values())}
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


def ending(kind: type[BaseException] | None, error: BaseException | None) -> tuple[Ending, str]:
    """How a run ended that left a `with` by this exception, and the exception in a line."""
    if kind is None:
        return "finished", ""
    if issubclass(kind, KeyboardInterrupt):
        return "interrupted", ""
    return "failed", " ".join(f"{kind_of(kind)}: {error}".split())


def _is_terminal(stream: Any) -> bool:
    """Whether a live display can be shown there."""
    try:
        unicode = (stream.encoding or "utf-8").lower().startswith("utf")
        return stream.isatty() and unicode and os.environ.get("TERM", "") not in ("dumb", "unknown")
    except Exception:
        return False


def _in_notebook() -> bool:
    """Whether this runs under a notebook's kernel (and not in IPython's terminal)."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ not in ("TerminalInteractiveShell", "InteractiveShell")


def _make_console(stream: Any, **arguments: Any) -> Any:
    """A rich console that leaves a broken pipe to us: rich's own ends the process."""
    from rich.console import Console

    class PatientConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError("the progress display's stream is closed")

    return PatientConsole(file=None if stream is sys.stderr else stream, stderr=stream is sys.stderr, **arguments)
