"""Progress of a run, reported from the host between two chunks of draws.

The engine makes one reporter a run and tells it about every chunk. A reporter redraws rarely, so an update
that is not due costs microseconds; it writes nothing to stdout; and no fault of the display ends a run.
`progress_displays.py` has those that show something.
"""

import logging
import math
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from mcmc.errors import kind_of

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


def ending(kind: type[BaseException] | None, error: BaseException | None) -> tuple[Ending, str]:
    """How a run ended that left a `with` by this exception, and the exception in a line."""
    if kind is None:
        return "finished", ""
    if issubclass(kind, KeyboardInterrupt):
        return "interrupted", ""
    return "failed", " ".join(f"{kind_of(kind)}: {error}".split())
