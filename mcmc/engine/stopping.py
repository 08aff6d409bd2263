"""When a run that was asked for a precision has it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.errors import WrongValue
from mcmc.words import until_words

FIRST_CHECK, GROWTH, MARGIN = 100, 1.4, 1.1
MOST_DRAWS = 10_000
CLEARLY = 3.0  # how many times worse than asked a streaming number is where the exact one need not be computed
LENGTH_MENDS = frozenset(
    ("rhat", "nested_rhat", "drift", "astray_chain", "memory", "slow_tails", "ess_bulk", "ess_tail", "ess_square")
)


@until_words
@dataclass(frozen=True)
class Converged:
    r"""Sample until chains agree and every scalar has so many effective draws, or a budget is spent.

    The run is checked after 100, 140, 196, ... kept draws a chain (warmup never counts), because a check at every
    draw would stop by luck. It stops at the first one at which every check of `mcmc.diagnose` that more draws can
    mend passes, with 1.1 times the effective draws asked for and at most R̂ = 1 + (rhat − 1) / 1.1.

    Args:
        ess: effective draws in total, of every scalar: bulk, tails (5 and 95 %) and squares.
        rhat: the largest R̂ (of many chains with superchains: nested R̂ above its floor).
        mcse: the largest Monte Carlo standard error of a mean, in posterior standard deviations; None: not asked.
        max_draws: the most kept draws a chain; None: 10,000.
        max_seconds: the most seconds from the first draw on; None: any.

    The attribute `stopped` of the result is `converged`, `max_draws`, `max_seconds`, `memory` or `improper`; where it
    is not the first, the diagnosis says what is missing, and `mcmc.resume(target, draws, until=...)` goes on.

    Where no kernel was named, a run that would not get there changes its settings: it warms up again, tries other
    kernels, and where chains sit in different modes `Tempered`; `attempts` says what was left and why.

    Raises:
        ValueError: a number out of range.

    Example:
        >>> import mcmc
        >>> target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
        >>> draws = mcmc.sample(target, until=mcmc.Converged(ess=1000), progress=False)
        >>> draws.attrs["stopped"]
        'converged'
    """

    ess: float = 400
    rhat: float = 1.01
    mcse: float | None = None
    max_draws: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        _check("ess", self.ess, 0, "Use 400.")
        _check("rhat", self.rhat, 1, "Use 1.01.")
        for name, remedy in (("mcse", "Use 0.05, a twentieth of a standard deviation."), ("max_seconds", "Use 60.")):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), 0, remedy)
        if self.max_draws is not None:
            _check("max_draws", self.max_draws, 0, "Use 10_000.", whole=True)

    @property
    def most(self) -> int:
        """The most kept draws a chain."""
        return MOST_DRAWS if self.max_draws is None else int(self.max_draws)

    def checks(self, done: int) -> Iterator[int]:
        """The kept draws a chain after which a run that has `done` is checked, up to the most."""
        draws = FIRST_CHECK
        while draws < self.most:
            if draws > done:
                yield draws
            draws = math.ceil(GROWTH * draws)
        yield max(self.most, done)

    def hopeless(self, moments: Moments) -> bool:
        """Whether streaming numbers are so far off that the exact ones need not be computed."""
        with np.errstate(all="ignore"):
            rhat, ess = moments.rhat(), moments.ess()
        return bool(np.any(rhat - 1 > CLEARLY * (self.rhat - 1)) or np.any(CLEARLY * ess < self.ess))

    def missing(self, groups: Mapping[str, Any]) -> list[str]:
        """What the draws (posterior and run_state, as dicts of arrays) lack; nothing where they may stop."""
        from mcmc.diagnostics.verdict import diagnose

        found = diagnose(groups, rhat=1 + (self.rhat - 1) / MARGIN, ess=MARGIN * self.ess, quick=None)
        lacking = [c.message for c in found.checks if c.failed and c.severity != "info" and c.code in LENGTH_MENDS]
        if self.mcse is not None:
            table = found.table
            error = float(np.nanmax((table["mcse_mean"] / table["sd"]).to_numpy()))
            if not error <= self.mcse:
                lacking.append(f"a mean's Monte Carlo error is {error:.3g} standard deviations, above {self.mcse:g}")
        return lacking

    def to_json(self) -> str:
        """As text, for `run_state`."""
        return json.dumps(dataclasses.asdict(self))


def _check(name: str, value: Any, above: float, remedy: str, whole: bool = False) -> None:
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool) and above < value < math.inf
    if not good or (whole and value != int(value)):
        raise WrongValue(name, value, f"a {'whole ' if whole else ''}number above {above:g}", remedy)
