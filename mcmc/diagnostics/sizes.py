"""Checks of how well estimates are known, one function each: effective sample sizes, tails too heavy for a mean."""

from math import ceil

import numpy as np

from mcmc.diagnostics.check import Check, Limits, extreme, labels, named, quickly, worst_first
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.modes import facts_of
from mcmc.diagnostics.roles import recorded

HEAVY = 0.7
"""Pareto k from which a mean can't be estimated by an average."""


def effective_sizes(e: Evidence, limits: Limits) -> list[Check]:
    """ESS in total, of bulk, tails and squares: antithetic draws flatter the first, not the last."""
    what = {
        "ess_bulk": ("judged_ess_bulk", "bulk ESS"),
        "ess_tail": ("judged_ess_tail", "tail ESS (of the 5 % and 95 % quantiles)"),
        "ess_square": ("ess_square", "ESS of the squared deviations"),
    }
    if e.plan.quick:
        what["ess_bulk"] = ("judged_ess_bulk", "ESS of the mean")
    return [_effective_size(e, limits, code, *names) for code, names in what.items()]


def _effective_size(e: Evidence, limits: Limits, code: str, column: str, title: str) -> Check:
    judged = e.judged
    if e.plan.quick and code == "ess_tail":
        why = "left out of a quick diagnosis: call diagnose(draws, quick=False)"
        return Check(code, "warning", None, why, threshold=limits.ess)
    if not judged.any():
        return Check(code, "warning", None, "no parameter is finite and varies", threshold=limits.ess)
    value = e.numbers[column]
    fails = judged & ~(value >= limits.ess)
    lowest, at = extreme(e, value, judged, sign=-1)
    title += " from the chains' means" if e.plan.short else ""
    if not fails.any():
        message = f"{title} is at least {lowest:.0f}, at {at}{quickly(e)}"
        return Check(code, "warning", True, message, lowest, limits.ess)
    order = worst_first(-value, fails)
    times = f"about {ceil(10 * limits.ess / lowest) / 10:.1f} times as many" if lowest > 0 else "more"
    return Check(
        code, "warning", False,
        f"{title} is down to {lowest:.0f}, below {limits.ess:g} for {named(e, order)}{quickly(e)}",
        lowest, limits.ess, labels(e, order), (),
        f"Take {times} draws, {'with more chains or with until=' if recorded(e.groups) else 'or more chains'}, "
        "or choose a kernel that moves faster.",
    )  # fmt: skip


def _of_target(e: Evidence) -> np.ndarray:
    """Pareto k that the target's own density has along a parameter, as `sample` recorded it; -inf of all others."""
    known, k = facts_of(e).get("tails", {}), np.full(len(e.labels), -np.inf)
    for name, values in known.items():
        columns = [i for i, label in enumerate(e.labels) if label.partition("[")[0] == name]
        if len(columns) == len(values):
            k[columns] = np.where(np.array(values) > 0, values, -np.inf)
    return k


def heavy_tails(e: Evidence) -> Check:
    """Means can be estimated: Pareto k of both tails of every parameter is below 0.7, where tails have no end."""
    judged = e.judged & ~e.discrete & ~e.bounded
    if not judged.any():
        return Check("heavy_tails", "warning", None, "no unbounded parameter is finite and varies", threshold=HEAVY)
    k = np.maximum(np.nan_to_num(e.numbers["pareto_k"], nan=-np.inf), _of_target(e))
    fails = judged & (k >= HEAVY)
    if not fails.any():
        top = k[judged].max()
        thin = "every parameter's tails are thin" if top == -np.inf else f"Pareto k of the tails is at most {top:.2f}"
        return Check("heavy_tails", "warning", True, thin, None if top == -np.inf else float(top), HEAVY)
    order = worst_first(k, fails)
    top = float(k[order[0]])
    meaning = "there is no mean" if top >= 1 else "its average does not settle"
    return Check(
        "heavy_tails", "warning", False,
        f"Pareto k of the tails is {top:.2f}, from {HEAVY:g} on a mean can't be estimated: {named(e, order)}",
        top, HEAVY, labels(e, order), (),
        f"Report the median and quantiles, not mean, sd and their errors: with tails so heavy {meaning}.",
    )  # fmt: skip
