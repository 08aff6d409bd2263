"""Check: one finding of a diagnosis; the limits, and the text helpers that checks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.diagnostics.evidence import Evidence


@dataclass(frozen=True)
class Limits:
    """What `diagnose` was asked to accept."""

    rhat: float = 1.01
    ess: float = 400.0
    ebfmi: float = 0.3


@dataclass(frozen=True)
class Check:
    """One question put to the draws, and the answer."""

    code: str
    """What was checked, as a code to test for: `rhat`, `divergences`, ..."""
    severity: str
    """`error`: the draws are wrong; `warning`: not to be relied on yet; `info`: for your information."""
    passed: bool | None
    """None where the check was not made; `message` says why."""
    message: str
    """What was found, in a sentence."""
    value: float | None = None
    """The worst value found."""
    threshold: float | None = None
    """What it is held against."""
    parameters: tuple[str, ...] = ()
    """The scalar parameters that fail, worst first."""
    chains: tuple[Any, ...] = ()
    """The chains that fail."""
    advice: str = ""
    """The likely cause, and what to do next; empty where nothing is to be done."""
    call: str = ""
    """The call to make next, of a run that `mcmc.sample` made; empty where none is known to help."""
    groups: tuple[dict[str, Any], ...] = ()
    """Of the check `modes`, the chains that sit together: `chains`, their `share`, `log_density` and `centre`."""

    @property
    def made(self) -> bool:
        """Whether the draws allowed the check."""
        return self.passed is not None

    @property
    def failed(self) -> bool:
        """Whether it was made and did not pass."""
        return self.passed is False


def worst_first(value: np.ndarray, fails: np.ndarray) -> np.ndarray:
    """Return the failing columns, largest value (NaN before all) first."""
    index = np.flatnonzero(fails)
    return index[np.argsort(-np.nan_to_num(value[index], nan=np.inf), kind="stable")]


def extreme(e: Evidence, value: np.ndarray, judged: np.ndarray, sign: int = 1) -> tuple[float, str]:
    """Return the largest (`sign=-1`: smallest) judged value and its parameter; a NaN counts as the worst."""
    at = worst_first(sign * value, judged)[0]
    return float(value[at]), e.labels[int(at)]


def labels(e: Evidence, order: np.ndarray) -> tuple[str, ...]:
    """The names of these scalar parameters."""
    return tuple(e.labels[int(i)] for i in order)


def named(e: Evidence, order: np.ndarray) -> str:
    """These scalar parameters as text, three at most."""
    return listed(tuple(e.labels[int(i)] for i in order[:3]), len(order))


def listed(names: Sequence[Any], total: int | None = None) -> str:
    """Write `a, b, c and 4 more`."""
    total = len(names) if total is None else total
    shown = ", ".join(map(str, names[:3]))
    return f"{shown} and {total - 3} more" if total > 3 else shown


def failing_chains(e: Evidence, mask: np.ndarray) -> tuple[Any, ...]:
    """The names of the chains in a mask (chain,)."""
    return tuple(name for name, hit in zip(e.chain_names, mask, strict=True) if hit)


def of_chains(names: Sequence[Any]) -> str:
    """Chains as text."""
    return f"chain {names[0]}" if len(names) == 1 else f"chains {listed(names)}"


def count_of(n: int, noun: str) -> str:
    """Write `1 chain`, `4 chains`."""
    return f"{n} {noun}{'s' * (n != 1)}"


def percent(share: float) -> str:
    """Write a share: `0.005 %`, `16 %`, `100 %`."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def as_ratio(value: float) -> str:
    """Write an R-hat: three decimals, or its size where it is huge; one more about the usual 1.01."""
    if 1.0095 < value < 1.0105:
        return f"{value:.4f}"
    return f"{value:.3f}" if value < 100 else f"{value:.1g}"


def quickly(e: Evidence) -> str:
    """What to add where values were judged instead of ranks."""
    return " (quick: of values, not ranks)" if e.plan.quick else ""
