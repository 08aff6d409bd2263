"""How many chains, draws and warmup iterations, where the user does not say: by what a gradient costs."""

from __future__ import annotations

import math
from dataclasses import dataclass

STEPS = 12  # gradients an iteration, in a run of which nothing is known
LONG, VERY_LONG, SHORT, LEAST_SHARE = 20.0, 60.0, 5.0, 0.25
BY_ESS = 4  # draws for each effective draw that is asked for


@dataclass(frozen=True)
class Effort:
    """Chains, warmup iterations, and draws over all chains; `cost` is of one gradient, in seconds of one core.

    `asked`: the number of chains is the user's.
    """

    chains: int
    warmup: int
    draws: int
    cost: float = 0.0
    asked: bool = False

    @property
    def seconds(self) -> float:
        """About how long such a run takes on one core."""
        return STEPS * self.cost * (self.chains * self.warmup + self.draws)


EFFORTS = Effort(64, 200, 20_000), Effort(32, 200, 16_000), Effort(32, 200, 5_000), Effort(32, 100, 2_000)


def effort_for(cost: float, draws: int | None = None, ess: float | None = None) -> Effort:
    """The first of four efforts that is short enough for gradients of `cost` seconds, or the last.

    64 chains and 20,000 draws in all if that takes 20 s on a core; 32 chains and 16,000; 5,000 draws, if that
    takes a minute; else half the warmup and 2,000 draws. With `draws` a chain, or an effective sample size `ess`, asked
    for, draws are that many, four for each effective one; what is short is then as much less, down to a quarter.
    """
    for effort, limit in zip(EFFORTS, (LONG, LONG, VERY_LONG, math.inf), strict=True):
        total = effort.draws
        if ess is not None:
            total = math.ceil(BY_ESS * ess)
        elif draws is not None:
            total = effort.chains * draws
        share = min(1.0, max(LEAST_SHARE, total / effort.draws))
        found = Effort(effort.chains, effort.warmup, total, cost)
        if found.seconds <= limit * share:
            break
    return found


def said(effort: Effort, cores: int) -> str:
    """What a notice says: why so many chains, and about how long; nothing of a short run."""
    seconds = effort.seconds / cores
    long = f"about {_time(seconds)} on this machine" if seconds > SHORT else ""
    if effort.asked or effort.chains == EFFORTS[0].chains:
        return long and f"a gradient takes about {_time(effort.cost)}: {long}"
    return f"{effort.chains} chains, because a gradient takes about {_time(effort.cost)}{long and f': {long}'}"


def _time(seconds: float) -> str:
    """In the unit of its size, with one figure or two."""
    units = (("hours", 3600.0, 7200.0), ("minutes", 60.0, 120.0), ("s", 1.0, 1.0), ("ms", 1e-3, 0.0))
    unit, size, _ = next(u for u in units if seconds >= u[2])
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 10 else f"{float(f'{value:.1g}'):g} {unit}"
