"""The pictures of steps: each function draws the first k steps into a figure, the last one in words beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.steps.inverse_cdf import InverseCDFSteps
from mcmc.steps.metropolis import MetropolisSteps
from mcmc.steps.rejection import RejectionSteps

INK, QUIET, BLUE, RED, GREEN = "#1f2328", "#8b949e", "#1f6fb4", "#c8501e", "#1b7f4b"
BINS = 40


def rejection(figure: Any, steps: RejectionSteps, k: int) -> None:
    """Points under the envelope c g, those under f kept; below, what is kept."""
    axis, lower, words = _panels(figure)
    x, kept = steps.proposal[:k].reshape(k, -1), steps.accepted[:k]
    plane = x.shape[1] == 2
    top = _top(steps.grid_log_envelope, steps.log_envelope)
    envelope, f = (np.exp(np.asarray(a, float) - top) for a in (steps.log_envelope, steps.log_density))
    height = x[:, 1] if plane else (steps.uniform * envelope)[:k]
    if steps.grid.size:
        axis.plot(steps.grid, np.exp(steps.grid_log_envelope - top), color=INK, lw=1.2, label="envelope c g(x)")
        axis.plot(steps.grid, np.exp(steps.grid_log_density - top), color=BLUE, lw=2, label="density f(x)")
        axis.set_xlim(*steps.grid[[0, -1]])
        axis.set_ylim(0, 1.1)
        axis.legend(frameon=False, fontsize=8, loc="upper right")
    axis.scatter(x[~kept, 0], height[~kept], s=12, color=RED, alpha=0.7)
    axis.scatter(x[kept, 0], height[kept], s=12, color=BLUE, alpha=0.7)
    last, colour = k - 1, BLUE if kept[-1] else RED
    if not plane:
        axis.vlines(x[last, 0], 0, envelope[last], color=colour, lw=1, ls=":")
    axis.plot(x[last, 0], height[last], "o", ms=9, mfc="none", mec=colour, mew=2)
    _histogram(lower, x[kept, 0], axis.get_xlim(), "kept")
    shown = f"({_num(x[last, 0])}, {_num(x[last, 1])})" if plane else _num(x[last, 0])
    ratio, u = float(steps.ratio[last]), float(steps.uniform[last])
    lines = [
        ("1  propose   x ~ g", f"x = {shown}"),
        ("2  envelope   c g(x) ≥ f(x)", f"{_num(envelope[last])} ≥ {_num(f[last])}"),
        ("3  ratio   r = f(x) / (c g(x))", f"r = {_num(ratio)}" + (": c is too small!" if ratio > 1.0001 else "")),
        ("4  uniform   u ~ U(0, 1)", f"u = {_num(u)}"),
        ("5  keep x where u < r", f"{_num(u)} {'<' if kept[-1] else '≥'} {_num(ratio)}"),
    ]
    decision = "kept" if kept[-1] else "rejected"
    _tell(words, lines, decision, colour, f"{kept.sum()} of {k} kept: {kept.mean():.0%}")


def metropolis(figure: Any, steps: MetropolisSteps, k: int) -> None:
    """The density, where the chain is and where it would go; below, where it has been."""
    axis, lower, words = _panels(figure)
    at = steps.position[: k + 1].reshape(k + 1, -1)
    to, accepted = steps.proposal[:k].reshape(k, -1), steps.accepted[:k]
    last, colour = k - 1, BLUE if accepted[-1] else RED
    top = _top(steps.grid_log_density, steps.log_density)
    pi = np.exp(steps.grid_log_density.astype(float) - top)
    levels = [float(np.exp(a[last] - top)) for a in (steps.log_density, steps.proposal_log_density)]
    if at.shape[1] == 1:
        ends = at[last, 0], to[last, 0]
        axis.plot(steps.grid, pi, color=INK, lw=1.5)
        axis.set_xlim(*steps.grid[[0, -1]])
        axis.set_ylim(0, 1.25)
        axis.vlines(ends, 0, levels, color=[INK, colour], lw=2)
    else:
        axis.contour(*steps.grid, pi, levels=[0.05, 0.2, 0.5, 0.8], colors=QUIET, linewidths=0.8)
        axis.plot(*at.T, color=BLUE, lw=0.6, alpha=0.6, marker=".", ms=3)
        axis.plot(*to[~accepted].T, ".", color=RED, ms=3, alpha=0.5)
    tip, tail = ((to[last, 0], levels[1]), (at[last, 0], levels[0])) if at.shape[1] == 1 else (to[last], at[last])
    arrow = {"arrowstyle": "->", "color": colour, "lw": 1.5, "ls": "-" if accepted[-1] else "--"}
    axis.annotate("", xy=tip, xytext=tail, arrowprops=arrow)
    lower.plot(np.arange(k + 1), at[:, 0], color=BLUE, lw=1, marker=".", ms=4, label="chain")
    lower.plot(np.arange(1, k + 1)[~accepted], to[~accepted, 0], "x", color=RED, ms=4, label="rejected")
    lower.set_xlim(0, max(k, 10))
    lower.set_xlabel("step", fontsize=8)
    lower.legend(frameon=False, fontsize=7, loc="upper left", ncol=2)
    ratio, u = float(np.exp(min(steps.log_ratio[last], 700))), float(steps.uniform[last])
    symmetric = np.isclose(steps.log_ratio, steps.proposal_log_density - steps.log_density[:-1], equal_nan=True).all()
    law = "π(x′) / π(x)" if symmetric else "π(x′) q(x|x′) / (π(x) q(x′|x))"
    lines = [
        ("1  the chain is at", f"x = {_point(at[last])}"),
        ("2  propose   x′ ~ q(· | x)", f"x′ = {_point(to[last])}"),
        (f"3  ratio   r = {law}", f"r = {_num(ratio)}"),
        ("4  uniform   u ~ U(0, 1)", f"u = {_num(u)}"),
        ("5  go to x′ where u < r, else stay", f"{_num(u)} {'<' if accepted[-1] else '≥'} {_num(ratio)}"),
    ]
    decision = "accepted" if accepted[-1] else "rejected: x counts once more"
    _tell(words, lines, decision, colour, f"{accepted.sum()} of {k} accepted: {accepted.mean():.0%}")


def inverse_cdf(figure: Any, steps: InverseCDFSteps, k: int) -> None:
    """From u across to F and down to x; below, the draws under their density."""
    axis, lower, words = _panels(figure)
    x, u = steps.x[:k], steps.uniform[:k]
    last = k - 1
    axis.plot(steps.grid, steps.grid_cdf, color=INK, lw=1.5, label="F(x)")
    left, right = steps.grid[[0, -1]].astype(float)
    axis.set_xlim(left, right)
    axis.set_ylim(0, 1.02)
    axis.plot(np.full(k, left), u, "_", color=BLUE, ms=10, alpha=0.5, clip_on=False)
    seen = x[(x >= left) & (x <= right)]
    axis.plot(seen, np.zeros(len(seen)), "|", color=BLUE, ms=10, alpha=0.5, clip_on=False)
    axis.axvspan(max(steps.low[last], left), min(steps.high[last], right), color=GREEN, alpha=0.12, lw=0)
    axis.plot([left, x[last], x[last]], [u[last], u[last], 0], color=BLUE, lw=1.8)
    axis.plot(x[last], u[last], "o", color=BLUE, ms=5)
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    _histogram(lower, x, (left, right), "draws")
    lower.plot(steps.grid, np.exp(steps.grid_log_density.astype(float)), color=INK, lw=1.2)
    lines = [
        ("1  uniform   u ~ U(0, 1)", f"u = {_num(u[last])}"),
        ("2  the panel with F(a) ≤ u < F(b)", f"a = {_num(steps.low[last])},  b = {_num(steps.high[last])}"),
        ("3  quantile   x = Q(u), in the panel", f"x = {_num(x[last])}"),
        ("4  check   F(x) = u", f"F(x) = {_num(steps.cdf[last])}"),
    ]
    _tell(words, lines, "every u is a draw", BLUE, f"{k} draws, none lost")


# --- parts of them -----------------------------------------------------------------------------------------


def _panels(figure: Any) -> tuple[Any, Any, Any]:
    """Empty axes: the picture, a lower one, and a column for words."""
    figure.clear()
    grid = figure.add_gridspec(
        2, 2, width_ratios=(1.75, 1), height_ratios=(2, 1), left=0.06, right=0.99, top=0.96, bottom=0.1, wspace=0.06
    )
    axis, lower, words = (figure.add_subplot(grid[i]) for i in ((0, 0), (1, 0), (slice(None), 1)))
    for a in (axis, lower):
        a.spines[["top", "right"]].set_visible(False)
        a.tick_params(labelsize=8, colors=INK, length=2)
    words.axis("off")
    return axis, lower, words


def _tell(axis: Any, lines: list[tuple[str, str]], decision: str, colour: str, count: str) -> None:
    for i, (formula, numbers) in enumerate(lines):
        y = 0.97 - 0.155 * i
        axis.text(0.02, y, formula, fontsize=10.5, color=INK, va="top", parse_math=False)
        axis.text(0.10, y - 0.06, numbers, fontsize=10.5, color=BLUE, va="top", parse_math=False)
    axis.text(0.02, 0.13, decision, fontsize=13, weight="bold", color=colour, va="top")
    axis.text(0.02, 0.05, count, fontsize=9.5, color=QUIET, va="top")


def _histogram(axis: Any, x: np.ndarray, limits: tuple[float, float], label: str) -> None:
    x = x[(x >= limits[0]) & (x <= limits[1])]
    if len(x):
        axis.hist(x, bins=BINS, range=limits, density=True, color=BLUE, alpha=0.35, label=label)
        axis.plot(x, np.zeros(len(x)), "|", color=BLUE, ms=8, alpha=0.6)
        axis.legend(frameon=False, fontsize=8, loc="upper right")
    axis.set_xlim(*limits)
    axis.set_yticks([])


def _top(curve: np.ndarray, seen: np.ndarray) -> float:
    """The highest finite log density shown, which is drawn at 1."""
    values = curve[np.isfinite(curve)] if curve.size else seen[np.isfinite(seen)]
    return float(values.max()) if values.size else 0.0


def _num(x: Any) -> str:
    return f"{float(x):.3g}".replace("-", "−")


def _point(x: np.ndarray) -> str:
    return _num(x[0]) if len(x) == 1 else f"({', '.join(map(_num, x))})"
