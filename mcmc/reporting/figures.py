"""Figures of the report, one function each: draws in, a `Panel` out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mcmc.diagnostics.check import count_of
from mcmc.diagnostics.columns import Plan, column_numbers
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.inputs import Variable
from mcmc.diagnostics.plot import BAD, CHAINS, INK, _draw_ranks, _draw_trace, _Row
from mcmc.reporting.drawing import LINE, SURFACE, Panel, Sketch
from mcmc.reporting.worst import Column, Columns, check_of

SIZES = "Effective sample size by length"
LENGTHS = 8
"""Lengths at which the effective sample size is computed."""

QUICK_ABOVE = 1 << 18
"""Draws of a parameter above which its effective sizes are of values, not of ranks."""

MAX_RANKED = 1 << 20
"""Draws of a parameter that are ranked; of more, every second, third, ... of each chain."""

MAX_POINTS = 1500
MAX_DIVERGENCES = 500
MAX_FOREST = 20
"""Elements of a variable in the forest."""


def trace(column: Column, chains: np.ndarray) -> Panel:
    """The draws of up to 8 chains, one after another."""
    if column.values.shape[1] < 2:
        return Panel("Trace", note="No trace: there is one draw a chain.")
    sketch = Sketch()
    _draw_trace(sketch.axis, _row(column, chains))
    sketch.axis.locator_params(axis="x", integer=True)
    note = "" if column.finite else "Draws that are NaN or infinite are left out."
    note = "All draws have one value." if column.constant else note
    return Panel("Trace", sketch.svg(f"Trace of {column.name}", f"trace {column.name}"), note)


def ranks(column: Column, chains: np.ndarray) -> Panel:
    """How far each chain's share of low ranks is from what it should be."""
    title = "Ranks, less expected"
    count, draws = column.values.shape
    if why := _unfit(column):
        return Panel(title, note=f"No ranks: {why}.")
    if count < 2:
        return Panel(title, note="No ranks: there is one chain, and nothing to compare it with.")
    if draws < 4:
        return Panel(title, note=f"No ranks: {count_of(draws, 'draw')} a chain are too few.")
    step = -(-column.values.size // MAX_RANKED)
    values = column.values[:, ::step]
    if np.ptp(values) == 0:
        return Panel(title, note="No ranks: nearly all draws have one value.")
    values = np.ldexp(values, -np.frexp(np.abs(values).max())[1])  # ranks know no scale; squares would overflow
    sketch = Sketch()
    _draw_ranks(sketch.axis, _row(replace(column, values=values), chains))
    note = "Chains that agree stay in the band." + (f" One draw of {step} is ranked." if step > 1 else "")
    return Panel(title, sketch.svg(f"Ranks of {column.name}", f"ranks {column.name}"), note)


def growth(values: np.ndarray, quick: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Effective sizes of the first draws of `(column, chain, draw)`: lengths, and by kind `(column, length)`."""
    _, chains, draws = values.shape
    lengths = np.unique(np.linspace(0, draws, LENGTHS + 1)[1:].astype(int))
    lengths = lengths[lengths >= 4]
    kinds = {"mean": "judged_ess_bulk"} if quick else {"bulk": "judged_ess_bulk", "tail": "judged_ess_tail"}
    found = {kind: np.full((len(values), len(lengths)), np.nan) for kind in kinds}
    with np.errstate(all="ignore"):
        for at, n in enumerate(lengths):
            numbers = column_numbers(values[:, :, :n].copy(), Plan(chains, int(n), None, quick))
            for kind, name in kinds.items():
                found[kind][:, at] = numbers[name]
    return lengths, found


def sizes(columns: Sequence[Column], verdict: Diagnosis) -> list[Panel]:
    """A panel a parameter: the effective sample size of the first draws, and of more and more of them."""
    draws = columns[0].values.shape[1]
    fit = [column for column in columns if not _unfit(column)]
    panels = {}
    if draws >= 8 and fit:
        quick = verdict.quick or fit[0].values.size > QUICK_ABOVE
        lengths, found = growth(np.stack([column.values for column in fit]), quick)
        for row, column in enumerate(fit):
            panels[column.name] = _size_panel(column, lengths, {k: v[row] for k, v in found.items()}, verdict)
    few = f"No effective sample sizes by length: {count_of(draws, 'draw')} a chain are too few."
    for column in columns:
        why = _unfit(column)
        note = f"No effective sample size: {why}." if why else few
        panels.setdefault(column.name, Panel(SIZES, note=note))
    return [panels[column.name] for column in columns]


def _size_panel(column: Column, lengths: np.ndarray, found: dict[str, np.ndarray], verdict: Diagnosis) -> Panel:
    sketch, size = Sketch(), check_of(verdict, "ess_bulk")
    axis, end = sketch.axis, lengths[-1]
    top = max([1.0, *(float(np.nanmax(series)) for series in found.values() if np.isfinite(series).any())])
    highest = max(found, key=lambda kind: np.nan_to_num(found[kind][-1]))
    for (kind, series), colour, style in zip(found.items(), CHAINS, ("o-", "s--"), strict=False):
        axis.plot(lengths, series, style, color=colour, ms=2.5, lw=1.1)
        if np.isfinite(series[-1]):
            shift = 2 if kind == highest else -8
            place = (end, series[-1])
            axis.annotate(kind, place, (4, shift), textcoords="offset points", fontsize=8, color=colour)
    if size is not None and size.threshold:
        asked = size.threshold
        top = max(top, asked)
        near = any(abs(series[-1] - asked) < 0.15 * top for series in found.values())
        axis.axhline(asked, color=BAD, lw=0.9, ls=":")
        at, side = (0.02 * end, "left") if near else (1.16 * end, "right")
        axis.text(at, asked, f"asked: {asked:g}", fontsize=8, color=BAD, va="bottom", ha=side)
    axis.set_xlim(0, 1.16 * end)
    axis.set_ylim(0, 1.14 * top)
    axis.locator_params(axis="y", nbins=4)
    axis.locator_params(axis="x", nbins=6, integer=True)
    note = "It should grow in proportion to the draws of each chain."
    return Panel(SIZES, sketch.svg(f"Effective sample size of {column.name}", f"sizes {column.name}"), note)


def pair(first: Column, second: Column, columns: Columns) -> Panel:
    """Draws of two parameters of all chains against each other, the diverging ones marked."""
    title = "The two worst together"
    sketch = Sketch(width=4.2, height=2.7, left=0.6, bottom=0.42)
    axis = sketch.axis
    x, y = first.values.ravel(), second.values.ravel()
    at = np.linspace(0, x.size - 1, min(x.size, MAX_POINTS)).round().astype(int)
    for name, values in (("x", x), ("y", y)):
        if values.min() > 0 and values.max() > 100 * values.min():
            axis.set(**{f"{name}scale": "log"})
    x, y = _spread(x, 0), _spread(y, 1)
    few = len(at) < MAX_POINTS / 3
    axis.plot(x[at], y[at], "o", ms=3.5 if few else 2.2, color=CHAINS[0], alpha=0.6 if few else 0.35, mew=0)
    diverging = columns.recorded("diverging")
    note = "Which draws diverge is not recorded."
    if diverging is not None:
        hits = np.flatnonzero(diverging.ravel())
        where = "In red: diverging draws; where they gather, the kernel can't follow the target."
        note = where if hits.size else "No draw is diverging."
        hits = hits[:: max(1, -(-hits.size // MAX_DIVERGENCES))]
        axis.plot(x[hits], y[hits], "o", ms=3.5, color=BAD, alpha=0.9, mew=0)
    axis.set_xlabel(sketch.name(first.name), fontsize=8.5, color=INK, labelpad=2)
    axis.set_ylabel(sketch.name(second.name), fontsize=8.5, color=INK, labelpad=2)
    axis.margins(0.04)
    if x.size > len(at):
        note += f" {len(at):,} of {x.size:,} draws, evenly chosen."
    return Panel(title, sketch.svg(f"{first.name} and {second.name}", "pair"), note)


def _spread(values: np.ndarray, seed: int) -> np.ndarray:
    """Few integers, moved a little at random, so that points don't hide each other; anything else as it is."""
    if np.ptp(values) > 60 or (values != np.round(values)).any():
        return values
    return values + np.random.default_rng(seed).uniform(-0.2, 0.2, values.shape)


def energy(columns: Columns) -> Panel:
    """How energies are spread, and how far they change from draw to draw."""
    title = "Energy"
    values = columns.recorded("energy")
    if values is None:
        return Panel(title, note="No picture: the energy is not recorded for these draws.")
    values = values.astype(float)
    change = np.diff(values, axis=1).ravel()
    level, change = values[np.isfinite(values)], change[np.isfinite(change)]
    if change.size < 4 or np.ptp(level) == 0:
        return Panel(title, note="No picture: the energy is constant, not finite or recorded for too few draws.")
    level = level - level.mean()
    sketch = Sketch(width=4.2, height=2.7, left=0.2, bottom=0.42)
    low, high = np.quantile(np.concatenate([level, change]), (0.001, 0.999))
    edges = np.linspace(low, high, 61) if high > low else np.linspace(low - 1, high + 1, 61)
    for data, colour in ((level, CHAINS[0]), (change, CHAINS[1])):
        count = np.histogram(data, edges)[0] / data.size
        sketch.axis.fill_between((edges[1:] + edges[:-1]) / 2, 0, count, color=colour, alpha=0.3, lw=0)
        sketch.axis.plot((edges[1:] + edges[:-1]) / 2, count, color=colour, lw=1.2)
    for at, (text, colour) in enumerate((("energy, less its mean", CHAINS[0]), ("change by draw", CHAINS[1]))):
        sketch.axis.text(
            0.99, 0.96 - 0.09 * at, text, transform=sketch.axis.transAxes, color=colour, ha="right", fontsize=8.5
        )
    sketch.axis.set_yticks([])
    sketch.axis.set_ylim(0, None)
    note = "The change should spread about as wide as the energy; where it is far narrower, tails take long to reach."
    return Panel(title, sketch.svg("Energy, and its change from draw to draw", "energy"), note)


def forest(
    variable: Variable, start: int, shown: Sequence[int], columns: Columns, verdict: Diagnosis, chains: np.ndarray
) -> Panel:
    """Means and 90 % intervals of a variable's elements on one scale, with the means of the chosen chains."""
    rows = len(shown)
    sketch = Sketch(height=0.36 + 0.19 * rows, left=1.3, bottom=0.24, top=0.1)
    axis, table = sketch.axis, verdict.columns
    at = start + np.asarray(shown)
    mean, sd = table["mean"][at], table["sd"][at]
    low, high = table.get("eti90_lb"), table.get("eti90_ub")
    low, high = (mean - 1.645 * sd, mean + 1.645 * sd) if low is None or high is None else (low[at], high[at])
    y = np.arange(rows)[::-1]
    axis.hlines(y, low, high, color=INK, lw=1.4)
    with np.errstate(all="ignore"):
        means = columns.read(variable, shown, chains).mean(axis=2)
    for i, colour in zip(range(len(chains)), CHAINS, strict=False):
        axis.plot(np.where(np.isfinite(means[:, i]), means[:, i], np.nan), y + 0.18, "|", color=colour, ms=5, mew=1.2)
    axis.plot(mean, y, "o", ms=4.5, mfc=SURFACE, mec=INK, mew=1.3)
    axis.set_ylim(-0.6, rows - 0.3)
    axis.set_yticks(y, [sketch.name(str(columns.names[start + i]), 19) for i in shown])
    axis.tick_params(axis="y", length=0, labelsize=8.5, labelcolor=INK)
    ends = np.concatenate([low, high])
    if np.isfinite(ends).any():
        room = 0.06 * np.ptp(ends[np.isfinite(ends)]) or 0.5
        axis.set_xlim(np.nanmin(ends[np.isfinite(ends)]) - room, np.nanmax(ends[np.isfinite(ends)]) + room)
    axis.grid(axis="x", color=LINE, lw=0.6)
    axis.set_axisbelow(True)
    axis.locator_params(axis="x", nbins=5)
    note = f"{rows} of {variable.size:,} elements, the worst of them." if variable.size > rows else ""
    unfit = int((~np.isfinite(mean)).sum())
    note += f" {unfit} not finite, left out." if unfit else ""
    return Panel(variable.name, sketch.svg(f"Intervals of {variable.name}", f"forest {variable.name}"), note.strip())


def _unfit(column: Column) -> str:
    """Why nothing can be ranked; empty where it can."""
    if not column.finite:
        return "some draws are NaN or infinite"
    return "all draws have one value" if column.constant else ""


def _row(column: Column, chains: np.ndarray) -> Any:
    return _Row(column.name, column.values, column.finite, (0.0, 1.0), chains, "", "")
