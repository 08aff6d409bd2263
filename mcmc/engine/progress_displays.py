"""Displays of progress on stderr: lines, a live table in a terminal, and a text under a notebook's cell.

>>> with make_reporter(progress) as reporter:
...     reporter.start("64 chains of RandomWalk, 320 draws each")
...     reporter.update(Update("sampling", done=100, total=320, chains=64, elapsed=0.8))
"""

import atexit
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from mcmc.engine.progress import CallReporter, Reporter, Update
from mcmc.engine.progress_text import describe, pace, statistics
from mcmc.errors import WrongType

logger = logging.getLogger("mcmc")


def make_reporter(progress: bool | Callable[[Update], Any], *, stream: Any = None) -> Reporter:
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
