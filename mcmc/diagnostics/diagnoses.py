"""The diagnosis of draws on many data sets: a table with a row for each, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.check import Limits, count_of
from mcmc.diagnostics.diagnosis import Diagnosis, diagnosed
from mcmc.diagnostics.evidence import gather
from mcmc.diagnostics.evidence_each import DATASET, gather_each
from mcmc.errors import more

if TYPE_CHECKING:
    import pandas

BYTES, SHOWN = 64_000_000, 5
MISSING = "not drawn yet"
"""The message of a data set that an interrupted run has not come to."""
SIZES = ("ess_bulk", "ess_tail", "ess_mean")


@dataclass(frozen=True, eq=False)
class Diagnoses:
    """What `diagnose` found in draws of `sample_each`: `ok`, a `table` with a row a data set, worst first."""

    datasets: np.ndarray
    """The labels of the data sets."""
    columns: dict[str, np.ndarray] = field(repr=False)
    """The table as arrays (data set,), in the order of the data sets."""
    numbers: dict[str, np.ndarray] = field(repr=False)
    """Of each scalar parameter what `summary` shows, (data set, parameter)."""
    labels: Sequence[str] = field(repr=False)
    """Names of the scalar parameters."""
    size: str = ""
    """How many chains and draws each data set has."""
    draws: Any = field(default=None, repr=False)
    """The draws themselves."""
    limits: Limits = field(default=Limits(1.01, 400, 0.3), repr=False)
    """What each data set was judged by."""

    @property
    def ok(self) -> bool:
        """Whether the draws of all data sets can be used."""
        return bool(self.columns["ok"].all())

    @property
    def failing(self) -> tuple[Any, ...]:
        """The data sets whose draws should not be used as they are, worst first."""
        return tuple(self.datasets[i].item() for i in self._order if not self.columns["ok"][i])

    @cached_property
    def _order(self) -> np.ndarray:
        return np.lexsort((self.columns["ess"], -np.nan_to_num(self.columns["r_hat"], nan=np.inf), self.columns["ok"]))

    @cached_property
    def table(self) -> pandas.DataFrame:
        """One row a data set, worst first: `ok`, the checks that `failed`, the largest `r_hat` and the smallest `ess`
        of any parameter, `divergences`, at which `stage` the draws were made and the `message` of a failure.
        """
        import pandas

        whole = pandas.DataFrame(self.columns, index=pandas.Index(self.datasets, name=DATASET))
        return whole.iloc[self._order]

    @cached_property
    def parameters(self) -> pandas.DataFrame:
        """One row a data set and scalar parameter: what `mcmc.summary` of that data set alone would say."""
        import pandas

        index = pandas.MultiIndex.from_product([self.datasets, list(self.labels)], names=[DATASET, "parameter"])
        return pandas.DataFrame({name: values.reshape(-1) for name, values in self.numbers.items()}, index=index)

    def __getitem__(self, dataset: Any) -> Diagnosis:
        """Return the diagnosis of one data set."""
        return diagnosed(gather(self.draws.sel({DATASET: dataset}), None), self.limits)

    @property
    def verdict(self) -> str:
        """One line: may these draws be used?"""
        total, bad = len(self.datasets), len(self.failing)
        if not bad:
            return f"Good: every check made passed for all {count_of(total, 'data set')} ({self.size})."
        missing = int((self.columns["message"] == MISSING).sum())
        if not missing:
            return f"Use with care: checks failed for {bad:,} of {count_of(total, 'data set')} ({self.size})."
        drawn = total - missing
        found = f"of {drawn:,} that are, checks failed for {bad - missing:,}"
        return f"Not finished: {missing:,} of {count_of(total, 'data set')} not drawn yet; {found} ({self.size})."

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python that JSON can hold: what is NaN or infinite is None."""
        rows = self.table.reset_index().to_dict("records")
        plain = [{k: None if v != v or v in (np.inf, -np.inf) else v for k, v in row.items()} for row in rows]
        return {"ok": self.ok, "verdict": self.verdict, "table": plain}

    def __str__(self) -> str:
        lines = [self.verdict]
        bad = [i for i in self._order if not self.columns["ok"][i]]
        for i in bad[:SHOWN]:
            why = self.columns["message"][i] or f"{self.columns['failed'][i]} failed"
            lines.append(f"  data set {self.datasets[i]}: {why}")
        if len(bad) > SHOWN:
            lines.append(f"  and {len(bad) - SHOWN:,} more: see table")
        failed = [code for i in bad for code in str(self.columns["failed"][i]).split(", ") if code]
        lines += [more(*dict.fromkeys(failed))] if failed else []
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        shown = self.table.head(50).to_html(float_format=lambda v: f"{v:.4g}", border=0)
        return f"<div><p><b>{self.verdict}</b></p>{shown}</div>"


def diagnose_each(draws: Any, limits: Limits, quick: bool | None) -> Diagnoses:
    """Judge the draws of each data set; those that were flagged when they were drawn stay so."""
    posterior = draws["posterior"].to_dataset() if hasattr(draws["posterior"], "to_dataset") else draws["posterior"]
    rows: list[dict[str, Any]] = []
    numbers: list[dict[str, np.ndarray]] = []
    verdict = None
    for verdict in each_verdict(_pieces(draws, posterior), limits, quick):
        rows.append(row_of(verdict))
        numbers.append(verdict.columns)
    assert verdict is not None
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]} | _recorded(draws, len(rows))
    columns["ok"] = columns["ok"] & (columns["message"] == "")
    size = f"{count_of(verdict.chains, 'chain')} x {count_of(verdict.draws, 'draw')}"
    shown = {name: np.stack([each[name] for each in numbers]) for name in numbers[0]}
    return Diagnoses(np.asarray(posterior[DATASET]), columns, shown, list(verdict.labels), size, draws, limits)


def each_verdict(pieces: Iterator[dict[str, Any]], limits: Limits, quick: bool | None) -> Iterator[Diagnosis]:
    """The diagnosis of each data set, of groups with some data sets at a time."""
    for groups in pieces:
        for evidence in gather_each(groups, quick):
            yield diagnosed(evidence, limits)


def row_of(verdict: Diagnosis) -> dict[str, Any]:
    """What the table says of a data set."""
    columns = verdict.columns
    sizes = np.concatenate([columns[name] for name in SIZES if name in columns] or [np.array([np.nan])])
    ratios = columns.get("nested_r_hat", columns.get("r_hat", np.array([np.nan])))
    made = [check for check in verdict.checks if check.code == "divergences" and check.value is not None]
    with np.errstate(all="ignore"):
        largest = np.nan if np.isnan(ratios).all() else float(np.nanmax(ratios))
        smallest = np.nan if np.isnan(sizes).all() else float(np.nanmin(sizes))
    return {
        "ok": verdict.ok,
        "failed": ", ".join(check.code for check in verdict.failures),
        "r_hat": largest,
        "ess": smallest,
        "divergences": int(made[0].value or 0) if made else 0,
    }


def _recorded(draws: Any, count: int) -> dict[str, np.ndarray]:
    """What was said of each data set when it was drawn."""
    state = draws.get("run_state") if hasattr(draws, "get") else None
    if state is None or "message" not in state:
        return {"message": np.full(count, "", object)}
    return {"stage": np.asarray(state["stage"].values), "message": np.asarray(state["message"].values, object)}


def _pieces(draws: Any, posterior: Any) -> Iterator[dict[str, Any]]:
    """Some data sets at a time, in memory."""
    total = posterior.sizes[DATASET]
    step = max(1, int(BYTES * total // max(posterior.nbytes, 1)))
    for begin in range(0, total, step):
        groups = {}
        for name in ("posterior", "sample_stats", "run_state"):
            if name in draws:
                group = draws[name].to_dataset() if hasattr(draws[name], "to_dataset") else draws[name]
                groups[name] = group.isel({DATASET: slice(begin, begin + step)}) if DATASET in group.dims else group
                groups[name] = groups[name].load()
        yield groups
