"""The result of `peers.py` as Markdown tables."""

from __future__ import annotations

import accounting
import problems
from common import number
from report import markdown


def tables(result):
    """The comparison, whole processes and gradients for every number of chains, then every problem in full."""
    parts = []
    for found in result["summaries"]:
        rows = [row for row in result["rows"] if row["asked"] == found["chains"]]
        parts.append(f"{found['chains']:,} chains asked for; min(ESS of x, ESS of x²) per hot second:")
        parts.append(comparison(found))
        if any(row.get("cold") for row in rows):
            parts += ["Whole process, seconds, empty cache / warm cache:", whole_process(rows)]
        parts += ["Gradients of sampling per effective draw:", gradients(rows, found)]
    for problem in dict.fromkeys(row["problem"] for row in result["rows"]):
        parts += [f"**{problems.TITLES[problem]}**", in_full([r for r in result["rows"] if r["problem"] == problem])]
    return "\n\n".join(parts)


def comparison(found):
    """Ours against the best peer of each problem, beside what is asked."""
    names = list(found["geometric_means"])
    table = []
    for one in found["problems"]:
        line = [one["problem"], one["best_peer"] or "none good", number(one["best_rate"])]
        for name in names:
            line += [rate_or_mark(one["rates"][name]), times(one["ratios"][name])]
        table.append([*line, times(one["asked"])])
    line = ["geometric mean without the funnel", "", ""]
    for name in names:
        line += ["", times(found["geometric_means"][name])]
    table.append([*line, times(found["asked_mean"])])
    header = ["problem", "best peer", "its rate"]
    for name in names:
        header += [name, "ratio"]
    return markdown([*header, "asked"], table)


def rate_or_mark(rate):
    return "(!)" if rate is None else number(rate)


def times(ratio):
    return "-" if ratio is None else f"{number(ratio)} ×"


def whole_process(rows):
    """Problems down, tools across."""
    names = list(dict.fromkeys(row["tool"] for row in rows))
    cells = {(row["problem"], row["tool"]): f"{whole(row, 'cold')} / {whole(row, 'warm')}" for row in rows}
    shown = dict.fromkeys(row["problem"] for row in rows)
    return markdown(["problem", *names], [[p, *(cells.get((p, name), "-") for name in names)] for p in shown])


def whole(row, cache):
    seconds = row.get(cache)
    return "-" if seconds is None else f"{seconds:.1f}"


def gradients(rows, found):
    """Ours beside the fewest of the peers' NUTS."""
    counts = accounting.fewest_gradients(rows, found["chains"])
    names = [*found["geometric_means"], "NUTS"]
    header = [*names[:-1], "fewest of peers' NUTS"]
    table = [[p, *(number(counts[p].get(name)) for name in names)] for p in counts]
    return markdown(["problem", *header], table)


HEADER = (
    "tool",
    "chains × draws",
    "type",
    "cold s",
    "warm s",
    "hot warmup s",
    "hot sampling s",
    "hot call s",
    "ESS of x / of x²",
    "per hot s",
    "gradients per effective draw",
    "with warmup",
    "R-hat",
    "mean error / sd",
    "sd error",
    "diverging",
    "note",
)


def in_full(rows):
    """Every figure of one problem; (!) marks a row that can't be a best peer."""
    table = []
    for row in sorted(rows, key=lambda row: row["asked"]):
        if "ess" not in row:
            table.append([row["tool"], *["-"] * (len(HEADER) - 2), row["note"]])
            continue
        why = row["why_not"]
        per_draw = [number(accounting.per_effective(row, warmup)) for warmup in (False, True)]
        cells = [
            row["tool"] + (" (!)" if why else ""),
            f"{row['chains']:,} × {row['draws']}",
            row["dtype"],
            whole(row, "cold"),
            whole(row, "warm"),
            *(f"{row[name]:.3f}" for name in ("warmup", "sampling", "call")),
            f"{row['ess']:,.0f} / {row['square_ess']:,.0f}",
            number(accounting.per_second(row)),
            *per_draw,
            "-" if row["rhat"] is None else f"{row['rhat']:.3f}",
            f"{row['mean_error']:.3f}",
            f"{row['sd_error']:.3f}",
            "-" if row["divergences"] is None else f"{row['divergences']:.0f}",
            "; ".join(text for text in (row["note"], why) if text),
        ]
        table.append(cells)
    return markdown(HEADER, table)
