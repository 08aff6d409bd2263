"""Text of the report: key figures, cells of the table, facts of the run, advice."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcmc.diagnostics.check import count_of
from mcmc.diagnostics.diagnosis import Diagnosis
from mcmc.reporting.worst import agreement_column, check_of, size_columns

COLUMNS = {
    "mean": ("mean", "Mean of all draws"),
    "sd": ("sd", "Standard deviation of all draws"),
    "eti90_lb": ("5 %", "5 % quantile"),
    "eti90_ub": ("95 %", "95 % quantile"),
    "ess_bulk": ("bulk ESS", "Effective sample size in the bulk, in total over the chains"),
    "ess_tail": ("tail ESS", "Effective sample size of the 5 % and 95 % quantiles, the smaller"),
    "ess_mean": ("ESS", "Effective sample size of the mean"),
    "r_hat": ("R-hat", "Do chains agree? 1 is best"),
    "nested_r_hat": ("nested R-hat", "Do groups of chains that share a start agree? 1 is best"),
    "mcse_mean": ("MCSE mean", "Monte Carlo standard error of the mean"),
    "mcse_sd": ("MCSE sd", "Monte Carlo standard error of the standard deviation"),
}
FIRST = ("mean", "sd", "eti90_lb", "eti90_ub", "ess_bulk", "ess_tail", "ess_mean", "r_hat", "nested_r_hat")
FACTS = {
    "status": "Status",
    "stopped": "Stopped because of",
    "kernel": "Kernel",
    "geometry": "Geometry",
    "warmup": "Warmup iterations",
    "tuning_steps": "Warmup iterations",
    "thin": "Kept every",
    "seed": "Seed",
    "dtype": "Precision",
    "device": "Device",
    "inference_library": "Sampled by",
    "inference_library_version": "Its version",
    "versions": "Versions",
    "created_at": "Created",
    "compile_time": "Compiling",
    "warmup_time": "Warmup",
    "sampling_time": "Sampling",
    "diagnosis_time": "Diagnosis",
}
LONGEST = 300
"""Characters of a recorded attribute that are shown."""


def column_names(verdict: Diagnosis) -> list[str]:
    """The table's columns in the order of the page."""
    first = [name for name in FIRST if name in verdict.columns]
    return [*first, *(name for name in verdict.columns if name not in first)]


def judged_names(verdict: Diagnosis) -> list[str]:
    """The columns by which a parameter is found bad, then its estimates."""
    agreement = agreement_column(verdict)
    judged = [*([agreement] if agreement else []), *size_columns(verdict)]
    return [*judged, *(name for name in ("mean", "sd", "mcse_mean") if name in verdict.columns)]


def detail(verdict: Diagnosis) -> str:
    """The verdict's reason in a sentence: how many checks, of how much."""
    made = sum(check.made for check in verdict.checks)
    of = f"{count_of(verdict.chains, 'chain')} of {count_of(verdict.draws, 'draw')}"
    of += f", {count_of(len(verdict.labels), 'parameter')}"
    if verdict.failures:
        return f"{len(verdict.failures)} of the {made} checks made failed: {of}."
    return f"All {made} checks that could be made passed: {of}."


def cell(name: str, value: float) -> str:
    """Write one number of the table; NaN is a dash."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "-∞"
    if name.startswith("ess"):
        return f"{value:,.0f}"
    if name.endswith("r_hat"):
        return f"{value:.3f}" if value < 100 else f"{value:.1e}"
    return f"{value:.2g}" if name.startswith("mcse") else f"{value:.4g}"


def key_figures(verdict: Diagnosis) -> list[tuple[str, str, str]]:
    """The key figures: `(title, value, where)`."""
    found = [
        ("parameters", f"{len(verdict.labels):,}", ""),
        ("draws", f"{verdict.chains * verdict.draws:,}", f"{verdict.chains:,} chains of {verdict.draws:,}"),
    ]
    agreement = agreement_column(verdict)
    if agreement is not None:
        found.append(_extreme(verdict, agreement, f"largest {COLUMNS[agreement][0]}", np.nanargmax))
    for name in size_columns(verdict):
        found.append(_extreme(verdict, name, f"least {COLUMNS[name][0]}", np.nanargmin))
    divergences = check_of(verdict, "divergences")
    if divergences is None or not divergences.made:
        found.append(("diverging draws", "–", "not recorded"))
    else:
        found.append(("diverging draws", f"{divergences.value or 0:,.0f}", ""))
    if "mcse_mean" in verdict.columns:
        with np.errstate(all="ignore"):
            share = 100 * verdict.columns["mcse_mean"] / verdict.columns["sd"]
        if np.isfinite(share).any():
            at = int(np.nanargmax(np.where(np.isfinite(share), share, np.nan)))
            found.append(("largest error of a mean", f"{share[at]:.2g} %", f"of its sd: {verdict.labels[at]}"))
    return found


def _extreme(verdict: Diagnosis, name: str, title: str, choose: Any) -> tuple[str, str, str]:
    values = verdict.columns[name]
    if np.isnan(values).all():
        return title, "–", "no parameter is finite and varies"
    at = int(choose(values))
    return title, cell(name, values[at]), verdict.labels[at]


def run_facts(draws: Any, groups: Mapping[str, Any], verdict: Diagnosis) -> list[tuple[str, str]]:
    """What is recorded of the run, `(title, value)`, the known attributes first."""
    attrs: dict[str, Any] = {}
    for group in ("sample_stats", "posterior"):
        attrs |= groups[group].attrs if group in groups else {}
    attrs |= dict(getattr(draws, "attrs", None) or {})
    facts = [("Chains", f"{verdict.chains:,}"), ("Draws a chain", f"{verdict.draws:,}")]
    facts += [("Groups of data", ", ".join(groups))]
    known = [name for name in FACTS if name in attrs]
    rest = [name for name in attrs if name not in FACTS and name != "chains"]
    for name in (*known, *rest):
        value = _shown(str(name), attrs[name])
        if value:
            facts.append((FACTS.get(str(name), str(name)), value))
    return facts


def _shown(name: str, value: Any) -> str:
    if name.endswith("_time") and isinstance(value, int | float | np.number):
        return f"{float(value):.3g} s"
    if name == "versions" and isinstance(value, str):
        try:
            versions = json.loads(value)
            value = ", ".join(f"{package} {version}" for package, version in versions.items())
        except (ValueError, AttributeError):
            pass
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def notes(verdict: Diagnosis, facts: Sequence[tuple[str, str]]) -> list[str]:
    """What else a reader must know: notes of the diagnosis, an interrupted run, what could not be checked."""
    found = ["The run was interrupted."] if ("Status", "interrupted") in facts else []
    for check in verdict.checks:
        if (check.severity == "info" and check.failed) or (check.passed and check.advice):
            found.append(f"{_sentence(check.message)} {check.advice}")
    if verdict.quick:
        found.append("A quick diagnosis: of the draws' values, not of their ranks, and without quantiles.")
    missing: dict[str, list[str]] = {}
    for check in verdict.checks:
        if not check.made:
            missing.setdefault(check.message, []).append(check.code)
    return found + [_sentence(f"Not checked: {', '.join(codes)}: {why}") for why, codes in missing.items()]


def advice(verdict: Diagnosis) -> list[tuple[str, str]]:
    """What to do next, errors first: `(sentence, the checks that ask for it)`."""
    asked: dict[str, list[str]] = {}
    for check in verdict.failures:
        if check.advice:
            sentence = f"{check.advice} Next: {check.call}" if check.call else check.advice
            asked.setdefault(sentence, []).append(check.code)
    return [(sentence, ", ".join(codes)) for sentence, codes in asked.items()]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
