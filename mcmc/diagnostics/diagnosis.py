"""Diagnosis: every convergence check of a run, with the verdict and advice."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.advice import FIRST, advised
from mcmc.diagnostics.check import Check, Limits, count_of
from mcmc.diagnostics.checks import all_checks
from mcmc.diagnostics.evidence import Evidence

if TYPE_CHECKING:
    import pandas


ROWS_SHOWN = 50
"""Rows of the table that a notebook shows."""


def _place(check: Check) -> int:
    """Causes come first, in their order."""
    return FIRST.index(check.code) if check.code in FIRST else len(FIRST)


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` found: `ok`, the checks and the table; prints as text."""

    checks: tuple[Check, ...]
    """All of them, also those that could not be made."""
    chains: int
    """How many chains were judged."""
    draws: int
    """How many draws each has."""
    quick: bool
    """Whether numbers are of the draws' values, not of their ranks."""
    chain_names: tuple[Any, ...] = field(repr=False)
    """The chains' labels, by which checks name them."""
    labels: Sequence[str] = field(repr=False)
    """Names of the scalar parameters, in the order of `columns`."""
    columns: dict[str, np.ndarray] = field(repr=False)
    """The table as arrays, without pandas."""

    @property
    def ok(self) -> bool:
        """Whether no check of severity error or warning failed."""
        return not any(check.failed and check.severity != "info" for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The failed errors and warnings, errors first, and of these what the others follow from."""
        failed = [check for check in self.checks if check.failed and check.severity != "info"]
        return tuple(sorted(failed, key=lambda check: (check.severity != "error", _place(check))))

    @property
    def next_step(self) -> dict[str, str] | None:
        """What to do first: `check`, what was `seen`, the likely `cause` and remedy, the `call`; None of a good run.

        `call` is empty where no single call is known to help. Errors come before warnings, and a failure with a call
        before others as severe.
        """
        if not self.failures:
            return None
        first = min(self.failures, key=lambda c: (c.severity != "error", _place(c), not c.call))
        return {"check": first.code, "seen": first.message, "cause": first.advice, "call": first.call}

    @property
    def verdict(self) -> str:
        """One line: may these draws be used?"""
        size = f"{count_of(self.chains, 'chain')} x {count_of(self.draws, 'draw')}"
        size += f", {count_of(len(self.labels), 'parameter')}"
        if self.ok:
            only = " by itself (one chain can't be compared)" if self.chains == 1 else ""
            return f"Good{only}: every check made passed ({size})."
        failed = ", ".join(check.code for check in self.failures)
        if any(check.severity == "error" for check in self.failures):
            return f"Do not use these draws: {failed} failed ({size})."
        return f"Use with care: {failed} failed ({size})."

    @cached_property
    def table(self) -> pandas.DataFrame:
        """One row a scalar parameter, named as ArviZ does: a `pandas.DataFrame`, nothing rounded."""
        import pandas

        return pandas.DataFrame(self.columns, index=pandas.Index(list(self.labels)))

    def __getitem__(self, code: str) -> Check:
        """Return the check with this code."""
        for check in self.checks:
            if check.code == code:
                return check
        raise KeyError(f"no check is called {code!r}; there are: {', '.join(check.code for check in self.checks)}")

    def to_dict(self, table: bool = True) -> dict[str, Any]:
        """Return everything as plain Python that JSON can hold: what is NaN or infinite is None."""
        found = {
            "ok": self.ok,
            "verdict": self.verdict,
            "chains": self.chains,
            "draws": self.draws,
            "quick": self.quick,
            "next_step": self.next_step,
            "checks": [_plain({**vars(check), "made": check.made}) for check in self.checks],
        }
        if table:
            columns = {name: _plain(values.tolist()) for name, values in self.columns.items()}
            found["table"] = [
                {"parameter": label, **{name: values[i] for name, values in columns.items()}}
                for i, label in enumerate(self.labels)
            ]
        return found

    @property
    def _more(self) -> str:
        """The command that says more of what was found; empty where nothing was."""
        notes = [check for check in self.checks if check.failed and check.severity == "info"]
        codes = [check.code for check in (*self.failures, *notes)]
        return f"mcmc explain {' '.join(codes)}" if codes else ""

    def __str__(self) -> str:
        lines = [self.verdict]
        notes = [c for c in self.checks if (c.severity == "info" and c.failed) or (c.passed and c.advice)]
        for check in (*self.failures, *notes):
            lines.append(f"  {_heading(check)}: {check.message}.")
            lines += [f"    {check.advice}"] if check.advice else []
            lines += [f"    Next: {check.call}"] if check.call else []
        more = self._more
        lines += [f"  More: {more}"] if more else []
        passed = [f"{c.code} ({_short(c.value)})" for c in self.checks if c.passed]
        if passed:
            lines.append(f"  passed: {', '.join(passed)}")
        not_made: dict[str, list[str]] = {}
        for check in self.checks:
            if not check.made:
                not_made.setdefault(check.message, []).append(check.code)
        lines += [f"  not made: {', '.join(codes)}: {why}" for why, codes in not_made.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = []
        for check in sorted(self.checks, key=lambda c: (not c.failed, not c.made)):
            state = "failed" if check.failed else "passed" if check.passed else "not made"
            colour = {"failed": "#b3261e", "passed": "#1b7f4b", "not made": "#777"}[state]
            if check.failed and check.severity != "error":
                colour = "#a15c00" if check.severity == "warning" else "#555"
            advice = f"<br><em>{html.escape(check.advice)}</em>" if check.advice else ""
            rows.append(
                f'<tr><td style="color:{colour};text-align:left"><b>{html.escape(state)}</b></td>'
                f'<td style="text-align:left"><code>{html.escape(check.code)}</code></td>'
                f'<td style="text-align:left">{html.escape(check.message)}{advice}</td></tr>'
            )
        shown = self.table.head(ROWS_SHOWN).to_html(float_format=lambda v: f"{v:.4g}", border=0)
        more = f"<p>... and {len(self.labels) - ROWS_SHOWN} more</p>" if len(self.labels) > ROWS_SHOWN else ""
        address = f"<p>More: <code>{self._more}</code></p>" if self._more else ""
        colour = "#1b7f4b" if self.ok else "#b3261e"
        return (
            f'<div><p style="color:{colour}"><b>{html.escape(self.verdict)}</b></p>'
            f"<table>{''.join(rows)}</table>{address}<details><summary>Parameters</summary>{shown}{more}</details></div>"
        )


def diagnosed(evidence: Evidence, limits: Limits) -> Diagnosis:
    """The diagnosis of what was found in the draws."""
    shown = {name: evidence.numbers[name] for name in evidence.plan.shown}
    for name in shown:
        if name not in ("mean", "sd", "eti90_lb", "eti90_ub"):
            shown[name] = np.where(evidence.structural, np.nan, shown[name])
    return Diagnosis(
        checks=advised(evidence, all_checks(evidence, limits)),
        chains=evidence.plan.chains,
        draws=evidence.plan.draws,
        quick=evidence.plan.quick,
        chain_names=tuple(evidence.chain_names),
        labels=evidence.labels,
        columns=shown,
    )


def _heading(check: Check) -> str:
    return f"note, {check.code}" if check.severity == "info" or check.passed else f"{check.severity}, {check.code}"


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(value: Any) -> Any:
    """Make a value fit for JSON: tuples are lists, NaN and infinities None."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
