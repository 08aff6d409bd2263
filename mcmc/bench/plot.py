"""The plot of the measured rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcmc.bench import direct, floors, hmc, walk
from mcmc.bench.measure import Row

COLOURS = ("#1b4f9c", "#c8501e", "#4f9d69", "#b08a2e")
OURS, FLOOR = COLOURS[:2]


def draw(rows: Sequence[Row], device: str, path: Path) -> None:
    """Write the picture: chain steps, gradients and direct draws, each over its floors."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"mcmc bench, float32: {device}", fontsize=11)
    steps, gradients, draws = figure.subplots(1, 3)
    _nanoseconds(steps, _measured(rows, walk.PART), walk.UNIT)
    _per_second(gradients, _measured(rows, hmc.PART))
    _bars(draws, _measured(rows, direct.PART) + _measured(rows, direct.CATEGORICAL))
    figure.savefig(path, dpi=110)


def _measured(rows: Sequence[Row], part: str) -> list[Row]:
    return [row for row in rows if row.part == part and row.ns is not None]


def _nanoseconds(axes: Any, rows: list[Row], unit: str) -> None:
    """ns a unit against the number of chains, floors dashed."""
    lines = {walk.PART: [row.ns for row in rows]}
    lines |= {f"floor: {name}": [row.floors[name] for row in rows] for row in rows[:1] for name in row.floors}
    _lines(axes, [row.size for row in rows], lines)
    axes.set_title(f"{walk.PART}: ns a {unit}", fontsize=10)


def _per_second(axes: Any, rows: list[Row]) -> None:
    """Gradients and least effective draws a second, and gradients alone dashed."""
    lines = {f"{name} / s": [row.per_second[name] for row in rows] for name in ("gradients", "min ESS")}
    lines["gradients alone / s"] = [1e9 / row.floors[floors.GRADIENT] for row in rows]
    _lines(axes, [row.size for row in rows], lines)
    axes.set_title(f"{hmc.PART}, logistic regression: a second", fontsize=10)


def _lines(axes: Any, sizes: list[int], lines: dict[str, list]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="chains")
    if not sizes:
        return
    for i, (name, values) in enumerate(lines.items()):
        dashed = name.startswith("floor") or "alone" in name
        style = {"ls": "--", "lw": 1, "marker": "."} if dashed else {"marker": "o", "ms": 5}
        axes.plot(sizes, values, color=COLOURS[i], label=name, **style)
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], fontsize=8, rotation=30)
    axes.xaxis.minorticks_off()
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.24))


def _bars(axes: Any, rows: list[Row]) -> None:
    """ns a draw of the direct samplers, the largest floor marked."""
    axes.set(xscale="log", xlabel="ns a draw")
    axes.set_title("direct and categorical draws: ns a draw", fontsize=10)
    names = [f"{row.part},\n{row.case}" if row.part == direct.CATEGORICAL else row.case for row in rows]
    at = range(len(rows))
    axes.barh(at, [row.ns for row in rows], color=OURS, height=0.55)
    for i, row in enumerate(rows):
        name = max(row.floors, key=lambda floor: row.floors[floor])
        axes.plot([row.floors[name]] * 2, [i - 0.38, i + 0.38], color=FLOOR, lw=2)
        axes.annotate(f"floor: {name}", (row.floors[name], i - 0.4), fontsize=7, color=FLOOR, ha="left", va="bottom")
    axes.set_yticks(at, names, fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25)
