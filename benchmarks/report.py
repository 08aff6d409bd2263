"""The results as Markdown tables, from the JSON in `results/`.

uv run python benchmarks/report.py            prints them
uv run python benchmarks/report.py --write    puts them into benchmarks/README.md, below its mark
"""

from __future__ import annotations

import argparse
import json

import common

MARK = "<!-- results: written by report.py -->"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into benchmarks/README.md")
    parser.add_argument("--results", default=str(common.RESULTS), help="the folder with the JSON files")
    options = parser.parse_args()
    text = report(options.results)
    if not options.write:
        print(text)
        return
    page = common.HERE / "README.md"
    kept = page.read_text().split(MARK)[0].rstrip()
    page.write_text(f"{kept}\n\n{MARK}\n\n{text}\n")


def report(folder):
    """All tables that there are results for."""
    parts = []
    for name, table in TABLES.items():
        path = common.Path(folder) / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            parts += [f"### {name}", f"{result['about']}.", table(result), machine(result["machine"])]
    return "\n\n".join(parts) if parts else "No results yet."


def machine(found):
    packages = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"{found['cpu']}, {found['cores']} cores, {found['platform']}"
    return f"Measured on {where}; Python {found['python']}, {packages}; load at the end {found['load']}."


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def random_walk(result):
    rows, ratios = result["rows"], result["ratios"]
    chains = list(dict.fromkeys(row["chains"] for row in rows))
    cells = {(r["what"], r["chains"]): r.get("note") or common.number(r["ns"]) for r in rows}
    table = [[what, *(cells[what, n] for n in chains)] for what in dict.fromkeys(r["what"] for r in rows)]
    names = [name for name in ratios[0] if name != "chains"]
    table += [[f"*{name}*", *(common.number(row[name]) for row in ratios)] for name in names]
    header = [f"ns per chain-step, {result['dtype']}", *(f"{n:,} chains" for n in chains)]
    return markdown(header, table)


def cold_start(result):
    table = []
    for row in result["rows"]:
        if "note" in row:
            table.append([row["tool"], row["cache"], row["note"], *[""] * 5])
            continue
        flag = "" if row["enough"] and row["right"] else " (!)"
        ess = f"{row['bulk_ess']:,.0f} / {row['square_ess']:,.0f}{flag}"
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["parts"].items())
        found = " ".join(f"{k} {row['mean'][k]:.1f} ± {row['sd'][k]:.1f}" for k in ("mu", "tau"))
        size = f"{row['chains']} × {row['draws']}"
        table.append(
            [
                row["tool"],
                row["cache"],
                f"{row['seconds']:.2f}",
                f"{row['cpu_seconds']:.2f}",
                size,
                ess,
                found,
                parts,
            ]
        )
    header = [
        "tool",
        "cache",
        "seconds",
        "CPU s",
        "draws",
        "least ESS of x / of x²",
        "means",
        "where they go",
    ]
    return markdown(header, table)


def overhead(result):
    from overhead import parts_table, seconds_table

    tables = seconds_table(result["rows"], result["draws"]), parts_table(result["rows"])
    return "\n\nWhere they go, in seconds:\n\n".join(markdown(*table) for table in tables)


def peers(result):
    from peers import tables

    return tables(result)


def posteriordb(result):
    from posteriordb import HEADER, cells

    return markdown(HEADER, [cells(row) for row in result["rows"]])


def geometry(result):
    rows = result["rows"]
    cells = {(row["target"], row["tool"]): per_effective(row) for row in rows}
    tools = list(dict.fromkeys(row["tool"] for row in rows))
    names = list(dict.fromkeys(row["target"] for row in rows))
    table = [[name, *(cells.get((name, tool), "-") for tool in tools)] for name in names]
    return markdown(["gradients per effective draw; (!): the verdict is not ok", *tools], table)


def per_effective(row):
    if "note" in row:
        return row["note"]
    return common.number(row["per_effective"]) + ("" if row["ok"] == row["runs"] else " (!)")


def plain(result):
    """The rows as they are, and what was found of all of them."""
    columns = list(dict.fromkeys(key for row in result["rows"] for key in row if key not in UNSHOWN))
    table = markdown(columns, [[cell(row.get(column)) for column in columns] for row in result["rows"]])
    found = {k: v for k, v in result.items() if k not in ("about", "machine", "rows") and not isinstance(v, list)}
    said = "; ".join(f"{name}: {cell(value)}" for name, value in found.items())
    return f"{table}\n\n{said}." if said else table


def cell(value):
    if isinstance(value, list):
        return " × ".join(map(cell, value))
    return common.number(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(value or "")


UNSHOWN = ("samples", "setup_seconds", "first_call_seconds", "millions_per_second", "largest relative difference")
TABLES = {"random_walk": random_walk, "cold_start": cold_start, "overhead": overhead, "peers": peers}
TABLES |= {"posteriordb": posteriordb, "geometry": geometry}
TABLES |= dict.fromkeys(
    ("direct", "categorical", "streaming", "stopping", "scaling", "devices", "resume", "diagnostics"), plain
)


if __name__ == "__main__":
    main()
