"""The worst parameters of a run in order, and their draws, read one at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.circular import about_mean
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.inputs import Variable, groups_of, posterior_variables

SEVERITY = {"info": 0, "warning": 1, "error": 2}


def check_of(verdict: Diagnosis, code: str) -> Check | None:
    """The check with this code, or None where this run has no such check."""
    return next((check for check in verdict.checks if check.code == code), None)


def failed_codes(verdict: Diagnosis) -> dict[str, list[str]]:
    """The codes of the failed checks about each parameter that fails one."""
    codes: dict[str, list[str]] = {}
    for check in verdict.failures:
        for name in check.parameters:
            codes.setdefault(name, []).append(check.code)
    return codes


def agreement_column(verdict: Diagnosis) -> str | None:
    """The column that says whether chains agree: nested R-hat, R-hat where it judges, or none."""
    rhat = check_of(verdict, "rhat")
    if "nested_r_hat" in verdict.columns:
        return "nested_r_hat"
    return "r_hat" if "r_hat" in verdict.columns and rhat is not None and rhat.made else None


def size_columns(verdict: Diagnosis) -> list[str]:
    """The columns of effective sample sizes."""
    return [name for name in ("ess_bulk", "ess_tail", "ess_mean") if name in verdict.columns]


def ranking(verdict: Diagnosis, names: Sequence[str]) -> np.ndarray:
    """Column indices, worst first: by the severity of what they fail, then by R-hat and effective size."""
    score = np.full(len(names), np.nan)
    rhat, size = check_of(verdict, "rhat"), check_of(verdict, "ess_bulk")
    agreement = agreement_column(verdict)
    with np.errstate(all="ignore"):
        if agreement is not None:
            room = max(rhat.threshold - 1, 1e-3) if rhat is not None and rhat.threshold else 0.01
            score = np.fmax(score, (verdict.columns[agreement] - 1) / room)
        for name in size_columns(verdict):
            score = np.fmax(score, ((size.threshold if size is not None else 0) or 400) / verdict.columns[name])
    severity = np.zeros(len(names), int)
    place = {name: i for i, name in enumerate(names)}
    for check in verdict.failures:
        for name in check.parameters:
            at = place.get(name)
            if at is not None:
                severity[at] = max(severity[at], SEVERITY[check.severity])
    score = np.where(np.isnan(score), np.where(severity > 0, np.inf, -np.inf), score)
    return np.lexsort((-score, -severity))


@dataclass(frozen=True)
class Column:
    """One scalar parameter's draws."""

    name: str
    variable: str
    values: np.ndarray
    """`(chain, draw)`, float64."""

    @property
    def finite(self) -> bool:
        """Whether every draw is finite."""
        return bool(np.isfinite(self.values).all())

    @property
    def constant(self) -> bool:
        """Whether all draws are finite and equal."""
        return self.finite and bool(np.ptp(self.values) == 0)


def _drawn(variable: Variable, values: np.ndarray) -> np.ndarray:
    """Draws `(element, chain, draw)`; angles about their mean direction."""
    return np.moveaxis(about_mean(np.moveaxis(values, 0, -1)), -1, 0) if variable.circular else values


class Columns:
    """The scalar parameters of a tree by index, in the table's order; draws are read when asked for."""

    def __init__(self, draws: Any, names: Sequence[str]):
        self.groups = groups_of(draws)
        self.variables, self.chains, self.draws = posterior_variables(self.groups["posterior"])
        self.names = names
        self.ends = np.cumsum([variable.size for variable in self.variables])

    def __getitem__(self, index: int) -> Column:
        """Read one parameter."""
        variable, inside = self.where(index)
        values = self.read(variable, [inside], slice(None))[0]
        return Column(self.names[index], variable.name, values)

    def where(self, index: int) -> tuple[Variable, int]:
        """The variable that holds a column, and the column's place in it."""
        part = int(np.searchsorted(self.ends, index, side="right"))
        return self.variables[part], int(index - self.ends[part] + self.variables[part].size)

    @staticmethod
    def read(variable: Variable, inside: Sequence[int], chains: Any) -> np.ndarray:
        """Read these elements of these chains, and no others: `(element, chain, draw)`."""
        import xarray

        array = variable.array.isel(chain=chains)
        if not variable.event:
            return _drawn(variable, np.asarray(array.values, dtype=float)[None])
        at = np.unravel_index(np.asarray(inside), variable.event)
        picks = {dim: xarray.DataArray(i, dims="element") for dim, i in zip(array.dims[2:], at, strict=True)}
        return _drawn(variable, np.asarray(array.isel(picks).transpose("element", "chain", "draw").values, dtype=float))

    def recorded(self, name: str) -> np.ndarray | None:
        """A statistic `(chain, draw)` of `sample_stats`, or None where it isn't recorded for these draws."""
        stats = self.groups.get("sample_stats")
        if stats is None or name not in stats or set(stats[name].dims) != {"chain", "draw"}:
            return None
        values = np.asarray(stats[name].transpose("chain", "draw").values)
        return values if values.shape == (self.chains, self.draws) else None
