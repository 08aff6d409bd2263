"""More draws where their default number is all that a verdict lacks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcmc.engine.between_chunks import Outputs
from mcmc.engine.progress import Reporter
from mcmc.engine.sampling_loop import advance
from mcmc.sampling.steps import Drawn, held, no_room

if TYPE_CHECKING:
    import xarray

    from mcmc.diagnostics.diagnosis import Diagnosis

MENDED = frozenset(("rhat", "nested_rhat", "slow_tails", "ess_bulk", "ess_tail", "ess_square"))
MOST, MARGIN, ROUNDS = 4.0, 1.3, 3


def longer(done: Drawn, reporter: Reporter) -> tuple[xarray.DataTree, Diagnosis | None]:
    """The run with as many draws, up to four times their default, as its verdict takes, and this verdict where made.

    As it is where draws alone would not help, or their number was asked for.
    """
    tree = held(done)
    if not done.run.plan.may_go_on or done.status != "complete":
        return tree, None
    from mcmc.diagnostics.verdict import diagnose

    first, found = done.run.plan.settings.draws, diagnose(tree, quick=None)
    for _ in range(ROUNDS):
        now = done.recorder.filled
        wanted = min(math.ceil(MARGIN * now * shortage(found)), int(MOST * first))
        if wanted <= now or no_room(done.run, wanted - now):
            break
        reporter.note(f"{now:,} draws a chain are too few: on to {wanted:,}")
        _draw_on(done, wanted, reporter)
        tree = held(done)
        found = diagnose(tree, quick=None)
    return tree, found


def shortage(found: Diagnosis) -> float:
    """How many times as many draws every failed check takes; 0 where none failed, or some would not be mended so.

    Effective draws grow with the number of draws, and R̂ − 1 falls with it, of chains that mix.
    """
    most = 0.0
    for check in found.failures:
        if check.code not in MENDED or not check.value or not check.threshold:
            return 0.0
        over = check.code in ("rhat", "nested_rhat")
        times = (check.value - 1) / (check.threshold - 1) if over else check.threshold / check.value
        if not times <= MOST:  # or NaN
            return 0.0
        most = max(most, times)
    return most


def _draw_on(done: Drawn, draws: int, reporter: Reporter) -> None:
    """On to so many draws a chain; Ctrl-C leaves those that are complete."""
    settings = done.run.plan.settings
    done.recorder.reserve(draws)
    try:
        advance(done.run, done.state, settings.warmup + draws * settings.thin, Outputs(reporter, done.recorder))
    except KeyboardInterrupt:
        done.recorder.filled = (done.state.iteration - settings.warmup) // settings.thin
        reporter.note("interrupted: the draws so far are returned")
