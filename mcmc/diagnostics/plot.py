"""The diagnostic plot: intervals, traces and rank ECDFs of the parameters that matter most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.inputs import groups_of, posterior_variables
from mcmc.diagnostics.ranks import sort_columns
from mcmc.diagnostics.verdict import diagnose_one
from mcmc.errors import WrongValue

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mcmc.diagnostics.inputs import Draws

MAX_PARAMETERS = 12
MAX_CHAINS = 8
MAX_POINTS = 600
"""Points along a trace, a chain."""
MAX_VALUES = 400_000
"""Draws, of chains spread over all, that intervals and ranks are made of."""
LABEL_SIZE = 8.5
"""Points of the parameters' names, all alike."""
DRAWN = 1e60
"""Matplotlib squares what it draws, and float64 ends at 1e308."""

INK, QUIET, GOOD, BAD, CARE = "#1f2328", "#8b949e", "#1b7f4b", "#b3261e", "#a15c00"
CHAINS = ("#2f6fb0", "#e07b39", "#3a9d6e", "#b5508f", "#8a7a2f", "#5b5fc7", "#2f9aa8", "#a85a4a")


def plot(draws: Draws, parameters: Sequence[str] | None = None, *, verdict: Diagnosis | None = None) -> Figure:
    """Draw the verdict, and a row for each of up to 12 parameters: interval, trace and ranks by chain.

    Left the mean with its 50 % and 90 % intervals, on one scale for all elements of a variable; in the middle
    the draws of up to 8 chains, spread over all; right how far each chain's share of low ranks is from what
    it should be (the ECDF of its ranks less the diagonal), with the band in which about 95 % of good chains
    stay.

    Args:
        draws: a DataTree with a `posterior`, or what else `diagnose` takes.
        parameters: names as in the table (`"theta[2]"`), or of variables (`"theta"`: all its elements). None:
            those that fail a check, worst first, then the others in order.
        verdict: what `diagnose(draws)` returned, if it is at hand.

    Returns:
        A `matplotlib.figure.Figure`, 12 inches wide (1200 pixels at its 100 dpi); no pyplot state is touched.

    Raises:
        ValueError: a name that is no parameter, or fewer than 4 draws per chain.
        TypeError, ValueError: as in `diagnose`.

    Source of the rank plot: Säilynoja, Bürkner, Vehtari (2022), Statistics and Computing, arXiv:2103.10522.

    Example:
        >>> import numpy as np
        >>> figure = plot({"posterior": {"mu": np.random.default_rng(0).normal(size=(4, 500))}})
        >>> figure.savefig("run.png")  # doctest: +SKIP
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    verdict = diagnose_one(draws, quick=None) if verdict is None else verdict
    if verdict.draws < 4:
        raise WrongValue.told("x", f"draws has {verdict.draws} draws per chain; expected at least 4: draw more.")
    rows, left_out = _rows(draws, verdict, parameters)
    height = 1.5 + 0.98 * len(rows)
    figure = Figure(figsize=(12, height), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(rows),
        3,
        squeeze=False,
        gridspec_kw={"width_ratios": (3.2, 5.2, 2.6), "hspace": 0.32, "wspace": 0.14},
    )
    figure.subplots_adjust(left=0.135, right=0.985, top=1 - 1.12 / height, bottom=0.36 / height)
    _headline(figure, verdict, left_out, height)
    for row, (interval, trace, ranks) in zip(rows, axes, strict=True):
        for axis in (interval, trace, ranks):
            _plain_axis(axis)
        _draw_interval(interval, row)
        _draw_trace(trace, row)
        _draw_ranks(ranks, row)
        _label(interval, row)
        interval.set_yticks([])
        ranks.set_yticks([])
    for axis, title in zip(axes[0], ("mean, 50 % and 90 %", "draws", "ranks, less expected"), strict=True):
        axis.set_title(title, fontsize=9, color=QUIET, loc="left", pad=5)
    for axis in axes[:-1, 1]:
        axis.set_xticklabels([])
    for axis in axes[:-1, 2]:
        axis.set_xticklabels([])
    return figure


@dataclass
class _Row:
    """What one parameter's row shows."""

    name: str
    values: np.ndarray
    """`(chain, draw)`, finite ones only where `finite`."""
    finite: bool
    limits: tuple[float, float]
    """The interval's scale, shared by its variable."""
    chains: np.ndarray
    """Which chains are drawn."""
    failed: str
    """Severity of the worst failed check about it; empty if none."""
    note: str
    """R-hat and ESS."""

    @property
    def colour(self) -> str:
        return {"error": BAD, "warning": CARE}.get(self.failed, INK)


def _rows(draws: Any, verdict: Diagnosis, parameters: Sequence[str] | None) -> tuple[list[_Row], int]:
    """Choose parameters and read their draws; also return how many are left out."""
    variables, n_chains, _ = posterior_variables(groups_of(draws)["posterior"])
    names = verdict.labels
    failed = _failed_parameters(verdict)
    if parameters is None:
        first = [*list(failed)[: MAX_PARAMETERS // 2], *names[:MAX_PARAMETERS], *list(failed)]
        chosen = list(dict.fromkeys(first))[:MAX_PARAMETERS]
    else:
        chosen = _asked_for(parameters, variables, names)
    wanted = set(chosen)
    marked = {chain for check in verdict.failures for chain in check.chains}
    shown = _spread_chains(n_chains, [i for i, name in enumerate(verdict.chain_names) if name in marked])
    kept = _kept_chains(n_chains, verdict.draws, shown)
    place = np.searchsorted(kept, shown)
    rows, start = {}, 0
    for variable in variables:
        mine = [i for i in range(variable.size) if names[start + i] in wanted] if wanted else []
        if mine:
            found = {}
            for part, values in variable.pieces():
                for i in mine:
                    if part.start <= i < part.stop:
                        found[i] = np.asarray(values[:, :, i - part.start][kept], dtype=float)
            unit = _unit(list(found.values()))
            found = {i: _in_units(values, unit) for i, values in found.items()}
            limits = _shared_limits(list(found.values()))
            for i, values in found.items():
                name = str(names[start + i])
                note = _note(verdict, start + i) + (f"\nin units of {unit:.0e}" if unit != 1 else "")
                note += f"\nsome cut at {DRAWN:.0e}" if (np.abs(values) == DRAWN).any() else ""
                rows[name] = _Row(
                    name, values, bool(np.isfinite(values).all()), limits, place, failed.get(name, ""), note
                )
        start += variable.size
    return [rows[name] for name in chosen], len(names) - len(chosen)


def _failed_parameters(verdict: Diagnosis) -> dict[str, str]:
    """Names in failed checks, worst first, with the severity; errors before warnings."""
    failed: dict[str, str] = {}
    for check in verdict.failures:
        for name in check.parameters:
            failed.setdefault(name, check.severity)
    return failed


def _asked_for(parameters: Sequence[str], variables: Sequence[Any], names: Sequence[str]) -> list[str]:
    chosen: list[str] = []
    for name in [parameters] if isinstance(parameters, str) else parameters:
        start = 0
        for variable in variables:
            every = range(start, start + variable.size)
            if name == variable.name:
                chosen += [names[i] for i in every[:MAX_PARAMETERS]]
                break
            hits = [str(names[i]) for i in every if names[i] == name] if "[" in name else []
            if hits:
                chosen += hits
                break
            start += variable.size
        else:
            raise WrongValue.told(
                "x",
                f"parameters has {name!r}; expected names of parameters, such as {', '.join(names[:3])}: "
                "take them from the table's index.",
            )
    return list(dict.fromkeys(chosen))[:MAX_PARAMETERS]


def _spread_chains(chains: int, marked: Sequence[int]) -> np.ndarray:
    """Choose up to 8 chains: those that failed a check first (up to 3), then evenly over all."""
    even = np.linspace(0, chains - 1, min(chains, MAX_CHAINS)).round().astype(int)
    first = [int(i) for i in marked[:3]]
    rest = [int(i) for i in even if i not in first]
    return np.sort(np.array((first + rest)[:MAX_CHAINS]))


def _kept_chains(chains: int, draws: int, shown: np.ndarray) -> np.ndarray:
    """All chains, or of very many those that are drawn and others spread evenly, `MAX_VALUES` draws in all."""
    most = max(MAX_CHAINS, MAX_VALUES // draws)
    if chains <= most:
        return np.arange(chains)
    return np.union1d(shown, np.linspace(0, chains - 1, most).round().astype(int))


def _shared_limits(columns: Sequence[np.ndarray]) -> tuple[float, float]:
    ends = [np.quantile(x[np.isfinite(x)], (0.01, 0.99)) for x in columns if np.isfinite(x).any()]
    if not ends:
        return 0.0, 1.0
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    room = 0.06 * (high - low) or 0.5 * abs(low) or 0.5
    return float(low - room), float(high + room)


def _unit(columns: Sequence[np.ndarray]) -> float:
    """A power of ten near the draws where they are too large or too small to be drawn as they are; else 1."""
    sizes = np.abs(np.concatenate([x[np.isfinite(x)] for x in columns]))
    size = np.quantile(sizes, 0.99, method="lower") if sizes.size else 1.0
    return 1.0 if size == 0 or 1 / DRAWN < size < DRAWN else 10.0 ** np.floor(np.log10(size))


def _in_units(values: np.ndarray, unit: float) -> np.ndarray:
    """The draws in that unit, the few that are still too large to be drawn at the largest that can be."""
    with np.errstate(over="ignore"):
        return np.where(np.isfinite(values), np.clip(values / unit, -DRAWN, DRAWN), values)


def _note(verdict: Diagnosis, index: int) -> str:
    columns, many = verdict.columns, verdict["rhat"].passed is None
    size = columns.get("ess_bulk", columns.get("ess_mean"))
    agreement = columns.get("nested_r_hat", None if many else columns.get("r_hat"))
    parts = []
    if agreement is not None and np.isfinite(agreement[index]):
        title = "nested R-hat" if "nested_r_hat" in columns else "R-hat"
        parts.append(f"{title} {agreement[index]:.3f}" if agreement[index] < 100 else f"{title} > 100")
    if size is not None and np.isfinite(size[index]):
        parts.append(f"ESS {size[index]:,.0f}")
    return "\n".join(parts)


# --- drawing ----------------------------------------------------------------------------------------------


def _headline(figure: Any, verdict: Diagnosis, left_out: int, height: float) -> None:
    errors = any(check.severity == "error" for check in verdict.failures)
    colour = GOOD if verdict.ok else BAD if errors else CARE
    title = fill(verdict.verdict, 108).split("\n")
    if len(title) > 2:
        title = [title[0], title[1] + " ..."]
    figure.text(0.015, 1 - 0.16 / height, "\n".join(title), fontsize=13.5, weight="bold", color=colour, va="top")
    advice = verdict.failures[0].advice if verdict.failures else ""
    shown = f"{len(verdict.labels) - left_out} of {len(verdict.labels)} parameters"
    shown += f", {min(verdict.chains, MAX_CHAINS)} of {verdict.chains} chains"
    figure.text(
        0.015,
        1 - (0.16 + 0.25 * len(title) + 0.02) / height,
        fill(advice or f"Shown: {shown}.", 165),
        fontsize=9,
        color=INK if advice else QUIET,
        va="top",
    )


def _plain_axis(axis: Any) -> None:
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color("#d0d7de")
    axis.tick_params(colors=QUIET, labelsize=7.5, length=2, pad=2)
    axis.margins(x=0)


def _label(axis: Any, row: _Row) -> None:
    name = row.name if len(row.name) <= 18 else f"{row.name[:8]}...{row.name[-7:]}"
    axis.text(
        -0.03, 0.78, name, transform=axis.transAxes, ha="right", va="center", color=row.colour,
        fontsize=LABEL_SIZE, weight="bold" if row.failed else "normal",
        parse_math=False,
    )  # fmt: skip
    axis.text(
        -0.03, 0.56, row.note, transform=axis.transAxes, ha="right", va="top", fontsize=7.8, color=QUIET,
        linespacing=1.25,
    )  # fmt: skip


def _draw_interval(axis: Any, row: _Row) -> None:
    axis.set_xlim(*row.limits)
    axis.set_ylim(-0.25, 1.05)
    axis.locator_params(axis="x", nbins=5)
    if not row.finite:
        axis.text(0.5, 0.5, "not finite", transform=axis.transAxes, ha="center", color=BAD, fontsize=9)
        return
    values = row.values.ravel()
    colour = row.colour if row.failed else CHAINS[0]
    if np.ptp(values) <= 60 and (values == np.round(values)).all():
        at, count = np.unique(values, return_counts=True)
        axis.bar(at, 0.9 * count / count.max(), 0.8, 0.12, color=colour, alpha=0.18, lw=0)
    else:
        edges = np.linspace(*row.limits, 61)
        count = np.convolve(np.histogram(values, edges)[0], (0.1, 0.2, 0.4, 0.2, 0.1), mode="same")
        middle, top = (edges[1:] + edges[:-1]) / 2, 0.12 + 0.9 * count / max(count.max(), 1)
        axis.fill_between(middle, 0.12, top, color=colour, alpha=0.16, lw=0)
    low, quarter, three_quarters, high = np.quantile(values, (0.05, 0.25, 0.75, 0.95))
    axis.plot([low, high], [0.02, 0.02], color=colour, lw=1.6, solid_capstyle="butt")
    axis.plot([quarter, three_quarters], [0.02, 0.02], color=colour, lw=4.5, solid_capstyle="butt")
    axis.plot(values.mean(), 0.02, "o", ms=5.5, mfc="white", mec=colour, mew=1.5)


def _draw_trace(axis: Any, row: _Row) -> None:
    draws = row.values.shape[1]
    step = max(1, -(-draws // MAX_POINTS))
    position = np.arange(0, draws, step)
    many = len(row.chains) > 4
    for colour, chain in zip(CHAINS, row.chains, strict=False):
        values = np.where(np.isfinite(row.values[chain]), row.values[chain], np.nan)
        axis.plot(position, values[::step], color=colour, lw=0.6, alpha=0.55 if many else 0.7)
    axis.set_xlim(0, draws - 1)
    finite = row.values[np.isfinite(row.values)]
    if finite.size and finite.min() < finite.max():
        low, high = np.quantile(finite, (0.0005, 0.9995))
        room = 0.08 * (high - low) or 0.5
        axis.set_ylim(low - room, high + room)
        axis.locator_params(axis="y", nbins=3)
    axis.locator_params(axis="x", nbins=6)


def _draw_ranks(axis: Any, row: _Row) -> None:
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["low", "", "high"])
    axis.axhline(0, color="#d0d7de", lw=0.8)
    if not row.finite or row.values.shape[0] < 2 or np.ptp(row.values) == 0:
        why = "one chain: nothing to compare" if row.finite and row.values.shape[0] < 2 else "no ranks"
        axis.text(0.5, 0.6, why, transform=axis.transAxes, ha="center", color=QUIET, fontsize=8)
        return
    at = np.linspace(0, 1, 101)
    chains, draws = row.values.shape
    fraction = _fractional_ranks(row.values)
    effective = _draws_by_chain(row.values)
    band = 2.9 * np.sqrt(at * (1 - at) * (1 - 1 / chains) / effective)
    axis.fill_between(at, -band, band, color=QUIET, alpha=0.18, lw=0)
    reach = 1.6 * band.max()
    for colour, chain in zip(CHAINS, row.chains, strict=False):
        difference = np.searchsorted(np.sort(fraction[chain]), at, side="right") / draws - at
        reach = max(reach, 1.1 * np.abs(difference).max())
        axis.plot(at, difference, color=colour, lw=1.0, alpha=0.85)
    axis.set_ylim(-reach, reach)


def _fractional_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks among all draws, in (0, 1), ties broken by position in the row of draws (not by chain)."""
    flat = values.T.reshape(1, -1)
    order, _ = sort_columns(np, flat)
    rank = np.empty(flat.size)
    rank[order[0]] = (np.arange(flat.size) + 0.5) / flat.size
    return rank.reshape(values.T.shape).T


def _draws_by_chain(values: np.ndarray) -> float:
    """Effective draws of one chain, the chains taken as agreeing, for the width of the band."""
    from mcmc.diagnostics.autocorrelation import ess_of

    with np.errstate(all="ignore"):
        centred = values - values.mean(axis=1, keepdims=True)
        return float(np.clip(ess_of(np, centred[None])[0] / len(values), 2, values.shape[1]))
