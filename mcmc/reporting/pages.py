"""The HTML report: verdict, advice, tables and figures on one self-contained page: `report(draws, "report.html")`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.diagnostics.inputs import Draws
from mcmc.diagnostics.verdict import check_one, diagnose_one
from mcmc.errors import WrongValue, got

SHOWN = 6
"""Parameters with pictures."""

WORST = 10
"""Rows of the table of the worst parameters."""

MAX_ROWS = 20_000
"""Rows of the full table; a page with more is slow in a browser."""

MAX_VARIABLES = 8
"""Variables in the forest."""


def report(
    draws: Draws,
    path: str | Path = "report.html",
    *,
    title: str | None = None,
    parameters: Sequence[str] | None = None,
    verdict: Diagnosis | None = None,
    overwrite: bool = True,
) -> Path:
    """Write one HTML page on a run that needs no network: the verdict first, what to do next, tables and pictures.

    The pictures are of the 6 worst parameters (trace, ranks, effective sample size by length) and of up to 8
    chains; of the two worst together, with diverging draws; of the energy; and of all variables' intervals. The
    table of all parameters (the 20,000 worst of more) can be sorted and searched. The page is light or dark as
    the reader's system is, and fits a phone.

    Args:
        draws: a DataTree with a `posterior`, or what else `diagnose` takes.
        path: where the page goes: a name that ends in .html, in a folder that exists.
        title: the page's title.
        parameters: names as in the table (`"theta[2]"`) of the parameters to draw. None: the worst.
        verdict: what `diagnose(draws)` returned, with thresholds of your own, say. None: it is asked here.
        overwrite: whether to replace an existing page, as writers of pictures and tables do.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: no such folder.
        FileExistsError: the page exists, and `overwrite` is False.
        ValueError: a path that does not end in .html, or a name that is no parameter.
        TypeError, ValueError: as in `diagnose`.

    Source of the rank plot: Säilynoja, Bürkner, Vehtari (2022), Statistics and Computing, arXiv:2103.10522.

    Example:
        >>> import numpy as np, tempfile
        >>> draws = {"posterior": {"mu": np.random.default_rng(0).normal(size=(4, 500))}}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report(draws, folder + "/run.html", title="A run").name
        'run.html'
    """
    place = destination(path, overwrite)
    text = page(draws, title=title, parameters=parameters, verdict=verdict)
    place.write_bytes(text.encode("utf-8", errors="replace"))
    return place


def page(
    draws: Draws,
    *,
    title: str | None = None,
    parameters: Sequence[str] | None = None,
    verdict: Diagnosis | None = None,
) -> str:
    """Return the page that `report` writes, as a string; arguments and errors as there.

    Example:
        >>> import numpy as np
        >>> page({"posterior": {"mu": np.random.default_rng(0).normal(size=(4, 500))}})[:15]
        '<!DOCTYPE html>'
    """
    from mcmc.reporting import facts
    from mcmc.reporting.worst import Columns, failed_codes, ranking

    check_one(draws)
    verdict = diagnose_one(draws) if verdict is None else verdict
    names = list(verdict.labels)
    columns = Columns(draws, names)
    if (columns.chains, columns.draws, int(columns.ends[-1])) != (verdict.chains, verdict.draws, len(names)):
        raise WrongValue("verdict", verdict, "the diagnosis of these draws", "Leave it out to have it made.")
    order = ranking(verdict, names)
    chosen = order[:SHOWN].tolist() if parameters is None else _asked_for(parameters, names)
    about = facts.run_facts(draws, columns.groups, verdict)
    headline = verdict.verdict.partition(":")[0]
    errors = any(check.severity == "error" for check in verdict.failures)
    return _template().render(
        title=title or "MCMC report",
        state="good" if verdict.ok else "bad" if errors else "care",
        headline=headline,
        detail=facts.detail(verdict),
        failures=verdict.failures,
        advice=facts.advice(verdict),
        notes=facts.notes(verdict, about),
        figures=facts.key_figures(verdict),
        worst=_rows(verdict, names, order[:WORST], failed_codes(verdict), facts.judged_names(verdict)),
        rows=_rows(verdict, names, np.sort(order[:MAX_ROWS]), failed_codes(verdict), facts.column_names(verdict)),
        parameters=len(names),
        checks=verdict.checks,
        facts=about,
        **_pictures(verdict, columns, order, chosen),
        **_assets(),
    )


def _pictures(verdict: Diagnosis, columns: Any, order: np.ndarray, chosen: Sequence[int]) -> dict[str, Any]:
    """Every panel of the page, the draws of one parameter read at a time."""
    from mcmc.diagnostics.plot import _spread_chains
    from mcmc.reporting import figures

    marked = {chain for check in verdict.failures for chain in check.chains}
    chains = _spread_chains(verdict.chains, [i for i, name in enumerate(verdict.chain_names) if name in marked])
    step = max(1, len(chosen)) if verdict.chains * verdict.draws <= figures.QUICK_ABOVE else 1
    blocks = []
    for start in range(0, len(chosen), step):
        read = [columns[i] for i in chosen[start : start + step]]
        for column, size in zip(read, figures.sizes(read, verdict), strict=True):
            blocks.append((column.name, [figures.trace(column, chains), figures.ranks(column, chains), size]))
    return {
        "blocks": blocks,
        "chains": [str(verdict.chain_names[int(i)]) for i in chains],
        "all_chains": verdict.chains,
        "pair": _pair(columns, [*chosen, *order[: 2 * SHOWN].tolist()]),
        "energy": figures.energy(columns),
        "forest": _forest(verdict, columns, order, chains),
    }


def _pair(columns: Any, candidates: Sequence[int]) -> Any:
    """The first two of these that are finite and vary, together."""
    from mcmc.reporting import figures
    from mcmc.reporting.drawing import Panel

    found = []
    for index in dict.fromkeys(candidates):
        column = columns[index]
        if column.finite and not column.constant:
            found.append(column)
        if len(found) == 2:
            return figures.pair(found[0], found[1], columns)
    return Panel("The two worst together", note="No picture: fewer than two parameters are finite and vary.")


def _forest(verdict: Diagnosis, columns: Any, order: np.ndarray, chains: np.ndarray) -> list[Any]:
    """The variables' intervals, the variable with the worst element first, in each the worst elements."""
    from mcmc.reporting import figures

    part = np.searchsorted(columns.ends, order, side="right")
    panels = []
    for which in dict.fromkeys(part.tolist()):
        variable = columns.variables[which]
        start = int(columns.ends[which]) - variable.size
        worst = np.sort(order[part == which][: figures.MAX_FOREST]) - start
        panels.append(figures.forest(variable, start, worst, columns, verdict, chains))
        if len(panels) == MAX_VARIABLES:
            break
    return panels


def _rows(
    verdict: Diagnosis, names: Sequence[str], indices: np.ndarray, codes: dict[str, list[str]], shown: Sequence[str]
) -> dict[str, Any]:
    """A table: its columns `(title, explanation)`, its rows `(name, what it fails, cells)`."""
    from mcmc.reporting.facts import COLUMNS, cell

    picked = [(name, verdict.columns[name][indices].tolist()) for name in shown]
    rows = [
        (names[i], ", ".join(codes.get(names[i], ())), [cell(name, values[row]) for name, values in picked])
        for row, i in enumerate(map(int, indices))
    ]
    return {"columns": [COLUMNS.get(name, (name, name)) for name in shown], "rows": rows}


def _asked_for(parameters: Sequence[str], names: Sequence[str]) -> list[int]:
    chosen = []
    for wanted in [parameters] if isinstance(parameters, str) else parameters:
        hits = [i for i, name in enumerate(names) if name == wanted or name.startswith(f"{wanted}[")]
        if not hits:
            expected = f"names of parameters, such as {', '.join(names[:3])}"
            raise WrongValue("parameters", wanted, expected, "Take them from the table.")
        chosen += hits
    return list(dict.fromkeys(chosen))[:SHOWN]


def destination(path: str | Path, overwrite: bool = True) -> Path:
    """Return where a page may be written, or raise what `report` raises about its path, before any work is done."""
    place = Path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise WrongValue("path", str(path), "the name of a page, ending in .html", "Give it as report.html.")
    if not place.parent.is_dir():
        raise FileNotFoundError(got("path", str(path), f"a folder {place.parent} that exists", "Make it first."))
    if place.is_dir():
        raise IsADirectoryError(got("path", str(path), "a file", "It is a folder: give a name within it."))
    if place.exists() and not overwrite:
        raise FileExistsError(got("path", str(path), "a new name", "It exists: give another, or overwrite=True."))
    return place


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader("mcmc.reporting", "template"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )


def _template() -> Any:
    return _environment().get_template("report.html")


@cache
def _assets() -> dict[str, Any]:
    """The style, the script, and the script's hash: the page's own policy lets no other script run."""
    from markupsafe import Markup

    loader = _environment().loader
    style, script = (loader.get_source(_environment(), name)[0] for name in ("report.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"style": Markup(style), "script": Markup(script), "script_hash": f"sha256-{digest}"}
