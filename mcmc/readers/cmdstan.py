"""CmdStan's CSV, and rstan's and PyStan's: one file a chain, with its configuration in comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.readers.column_names import LOG_LIKELIHOOD, STATISTICS
from mcmc.readers.limits import Limits, fail
from mcmc.readers.text import check_table, count_lines, lines_of, parsed, whole_last_line
from mcmc.readers.trees import tree_of, typed

if TYPE_CHECKING:
    import xarray

INDEX = re.compile(r"\.(\d+)(?=[.:]|$)")
SETTING = re.compile(r"#\s*(\w+) ?= ?(\S+)")  # rstan has no blanks
ADAPTED = re.compile(r"#\s*Adaptation terminated")
OTHER_METHODS = {
    "log_q__": "laplace", "log_g__": "variational", "lp_approx__": "pathfinder", "log_p__": "variational or laplace"
}  # fmt: skip
"""Columns that only other methods write."""


@dataclass(frozen=True)
class Chain:
    """One file: its settings, its columns, its rows `(row, column)` and how many of them are warmup."""

    settings: dict[str, str]
    names: tuple[str, ...]
    rows: np.ndarray
    warmup: int


def read(paths: list[Path], limits: Limits) -> xarray.DataTree:
    """Read the chains of one run; warmup rows go to `warmup_posterior` and `warmup_sample_stats`."""
    for path in paths:
        columns = header_of(path)[1]
        check_table(path, count_lines(path) * len(paths), len(columns), limits)
    chains = [_chain(path) for path in paths]
    for path, chain in zip(paths[1:], chains[1:], strict=True):
        if chain.names != chains[0].names:
            raise fail(path, "other columns", f"those of {paths[0]}", "Give the files of one run of one model.")
        if (chain.warmup, len(chain.rows)) != (chains[0].warmup, len(chains[0].rows)):
            found = f"{len(chain.rows) - chain.warmup} draws after {chain.warmup} of warmup"
            expected = f"{len(chains[0].rows) - chains[0].warmup} after {chains[0].warmup}, as {paths[0]} has"
            raise fail(path, found, expected, "Leave this chain out, or let the run end.")
    warmup, names = chains[0].warmup, chains[0].names
    rows = np.stack([chain.rows for chain in chains])
    groups: dict[str, dict[str, np.ndarray]] = {}
    for prefix, part in (("", rows[:, warmup:]), ("warmup_", rows[:, :warmup])):
        if part.shape[1]:
            found = arrays_of(names, part, paths[0])
            likely = {} if prefix else {n: found.pop(n) for n in list(found) if LOG_LIKELIHOOD.fullmatch(n)}
            groups |= {f"{prefix}posterior": found} | ({"log_likelihood": likely} if likely else {})
            groups[f"{prefix}sample_stats"] = _statistics(names, part, chains[0].settings)
    version = ".".join(chains[0].settings.get(f"stan_version_{part}", "?") for part in ("major", "minor", "patch"))
    return tree_of(groups, paths[0], inference_library="stan", inference_library_version=version)


def header_of(path: Path) -> tuple[dict[str, str], tuple[str, ...], int]:
    """Settings, column names and the number of the header's line."""
    settings: dict[str, str] = {}
    for number, line in lines_of(path):
        if line.startswith("#"):
            if found := SETTING.match(line):
                settings.setdefault(found[1], found[2])
        elif line.strip():
            names = tuple(name.strip() for name in line.split(","))
            refuse_other_methods(settings, names, path)
            for mark in (";", "\t"):
                if "lp__" in line.replace('"', "").split(mark):
                    raise fail(
                        f"{path}, line {number}", f"columns parted by {mark!r}", "commas", "Give Stan's own file."
                    )
            if "lp__" not in names:
                break
            if len(set(names)) < len(names) or not all(names):
                raise fail(
                    f"{path}, line {number}", "a column without a name or twice", "distinct names", "Mend the header."
                )
            return settings, names, number
    refuse_other_methods(settings, (), path)
    raise fail(path, "no header with lp__", "CmdStan's CSV, as its sample method writes it", "See docs/formats.md.")


def _chain(path: Path) -> Chain:
    settings, names, header = header_of(path)
    marks: list[int] = []
    rows = parsed(path, _body(path, header, marks), names, ",")
    warmup, expected = _expected_rows(settings, path)
    if expected is None and marks:  # its configuration is lost: what lies before the end of adaptation is warmup
        warmup = marks[0]
    if marks and marks[0] != warmup and warmup <= len(rows):
        found = f"adaptation that ends after {marks[0]} rows"
        raise fail(
            path, found, f"{warmup} rows of warmup, as its configuration says", "Give the file as Stan wrote it."
        )
    if expected is not None and len(rows) != expected:
        found = f"{len(rows)} of {expected} rows (warmup with them)"
        raise fail(path, found, "a chain that ran to its end", "Let the run end, or sample again.")
    if not whole_last_line(path):
        raise fail(path, "a last line without an end", "whole lines", "Its last number may be cut: remove the line.")
    if len(rows) <= warmup:
        raise fail(path, f"{len(rows)} rows, {warmup} of them warmup", "at least one draw", "Sample first.")
    return Chain(settings, names, rows, warmup)


def _body(path: Path, header: int, marks: list[int]) -> Iterator[tuple[int, str]]:
    """Lines of numbers; after how many of them adaptation ended goes to `marks`."""
    rows = 0
    for number, line in lines_of(path):
        if number <= header or not line.strip():
            continue
        if not line.startswith("#"):
            rows += 1
            yield number, line
        elif ADAPTED.match(line):
            marks.append(rows)


def refuse_other_methods(settings: dict[str, str], names: tuple[str, ...], path: Path) -> None:
    """Name the method of a file that holds no chain."""
    told = next((method for column, method in OTHER_METHODS.items() if column in names), "sample")
    method = settings.get("method", told)
    if method == "sample":
        method = told
    if method != "sample":
        remedy = "Only draws of a Markov chain can be judged: run Stan's sample."
        if method.startswith("generate"):
            remedy = "Give the files of the run that they were generated from."
        raise fail(path, f"the output of method {method}", "that of method sample", remedy)


def _expected_rows(settings: dict[str, str], path: Path) -> tuple[int, int | None]:
    """Rows of warmup, and rows in all, by the configuration; none known without one."""
    try:
        thin = int(settings.get("thin", "1"))
        saved = settings.get("save_warmup", "0").lower() in ("1", "true")
        tuned = int(settings.get("num_warmup", settings.get("warmup", "0")))
        if "iter" in settings and "num_samples" not in settings:  # rstan counts warmup with them
            settings["num_samples"] = str(int(settings["iter"]) - tuned)
        warmup = ceil(tuned / thin) if saved else 0
        if "num_samples" not in settings:
            return warmup, None
        if settings.get("algorithm") == "fixed_param":  # has no warmup to save
            warmup = 0
        return warmup, warmup + ceil(int(settings["num_samples"]) / thin)
    except (ValueError, ZeroDivisionError):
        found = {k: settings[k] for k in ("num_samples", "num_warmup", "iter", "warmup", "thin") if k in settings}
        raise fail(path, found, "whole numbers in its configuration", "Mend its comments.") from None


def arrays_of(names: tuple[str, ...], rows: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    """Parameters `(chain, draw, ...)`: `theta.1.2` is row 1, column 2 of `theta`, whatever the columns' order."""
    places: dict[str, dict[tuple[int, ...], int]] = {}
    for column, name in enumerate(names):
        if not name.endswith("__"):
            index = tuple(int(i) for i in INDEX.findall(name))
            places.setdefault(INDEX.sub("", name), {})[index] = column
    found = {}
    for name, columns in places.items():
        indices = list(columns)
        if len({len(index) for index in indices}) > 1 or any(i < 1 for index in indices for i in index):
            raise fail(
                f"{path}, {name}", "elements of different dimensions", "theta.1.1, theta.2.1, ...", "Mend the header."
            )
        shape = tuple(max(index[k] for index in indices) for k in range(len(indices[0])))
        if prod(shape) != len(indices):
            raise fail(
                f"{path}, {name}", f"{len(indices)} elements of shape {shape}", "all of them", "Mend the header."
            )
        order = sorted(indices)
        found[name] = rows[:, :, [columns[index] for index in order]].reshape(*rows.shape[:2], *shape)
    return found


def _statistics(names: tuple[str, ...], rows: np.ndarray, settings: dict[str, str]) -> dict[str, np.ndarray]:
    """ArviZ's names; counts whole, flags boolean, and whether a draw reached max_depth where that is known."""
    found: dict[str, Any] = {}
    for column, name in enumerate(names):
        if name in STATISTICS and name.endswith("__"):
            found[STATISTICS[name]] = typed(STATISTICS[name], rows[:, :, column])
        elif name.endswith("__"):
            found[name] = rows[:, :, column]
    depth = settings.get("max_depth", settings.get("max_treedepth", ""))
    if "tree_depth" in found and depth.isdigit():
        found["reached_max_treedepth"] = found["tree_depth"] >= int(depth)
    return found
