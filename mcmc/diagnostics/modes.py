"""Chains that sit apart: which of them sit together, at what log density and where; and whether labels switch."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mcmc.diagnostics.check import Check, as_ratio, count_of, listed, percent
from mcmc.diagnostics.evidence import Evidence

APART, HOLD, GAP = 1.1, 0.03, 3.0
FEWEST = 4  # chains a mode, on average: where each chain sits by itself it is no mode
FEW_CHAINS = 4  # so few chains may each be in a mode of its own
MOST_PLACES = 8  # chains in more of them did not leave their starts
MOST_COLUMNS, MOST_CENTRES, MOST_SHOWN = 32, 10, 4
SLIGHTLY, ALIKE = 1.01, 0.3
BINS, EMPTY, LEAST = 40, 0.05, 0.01
A_BIN, FEWEST_BINS = 25, 8  # draws a bin: of fewer, bins are empty by chance
"""Draws are in several places where a bin between two peaks has so small a share of the lower one's draws."""
AGREEMENT = {"rhat", "nested_rhat", "memory", "astray_chain", "drift"}


def places(e: Evidence, checks: Sequence[Check]) -> list[Check]:
    """Why chains do not agree, where that shows: labels that switch, or several modes; nothing where they agree."""
    if not any(check.failed and check.code in AGREEMENT for check in checks) or e.plan.draws < 20:
        return []
    if switching := facts_of(e).get("label_switching"):
        return [_labels(switching)]
    found = _groups(e)
    return [_modes(e, *found)] if found is not None else []


def missed(e: Evidence) -> list[Check]:
    """What a few climbs from far outside found beside the draws, as `sample` recorded it; nothing where nothing."""
    found = facts_of(e).get("elsewhere")
    if not found:
        why = facts_of(e).get("not_sought")
        return [Check("elsewhere", "error", None, why)] if why else []
    where = ", ".join(f"{name} = {_numbers(values)}" for name, values in list(found["centre"].items())[:MOST_SHOWN])
    if found.get("discrete"):
        return [
            Check(
                "elsewhere", "error", False,
                f"no draw has {where}, which has at least {percent(found['share'])} of the mass where the draws are, "
                "once the other parameters go with it",
                found["share"], None, tuple(found["centre"]), (),
                "Its value and others must change together, which no step does: sum it out of the density "
                "(jax.scipy.special.logsumexp over its values), or propose both at once.",
            )
        ]  # fmt: skip
    return [
        Check(
            "elsewhere", "error", False,
            f"no chain was where climbs from far outside end, at {where}, with at least "
            f"{percent(found['share'])} of the mass where they are",
            found["share"], None, tuple(found["centre"]), (),
            "All chains started in the reach of one mode and stayed: they agree on a part of the target. Move between "
            "modes, or start some chains there.",
        )
    ]  # fmt: skip


def _numbers(values: Sequence[float]) -> str:
    least = 1e-9 * max(map(abs, values))
    shown = ", ".join(f"{value if abs(value) > least else 0.0:.4g}" for value in values[:3])
    return shown if len(values) == 1 else f"[{shown}{', ...' if len(values) == 3 else ''}]"


def facts_of(e: Evidence) -> dict[str, Any]:
    """What `sample` found of a run that failed, with its target at hand."""
    return json.loads(getattr(e.groups.get("run_state"), "attrs", {}).get("places", "{}"))


def _labels(found: dict[str, Any]) -> Check:
    names = found["names"]
    if found.get("signs"):
        return Check(
            "label_switching", "error", False,
            f"changing the signs of {listed(names)} together leaves the log density as it is, and chains differ in "
            f"them: R-hat of {found['by']} is {as_ratio(found['before'])}, and {as_ratio(found['after'])} without its "
            "sign",
            found["before"], None, tuple(names), (),
            "Label switching: nothing in the density tells the signs apart. Fix one of them, or report only what does "
            "not depend on them.",
            found["call"],
        )  # fmt: skip
    return Check(
        "label_switching", "error", False,
        f"the {found['components']} components of {listed(names)} change places without a change of log density, "
        f"and chains number them differently: R-hat of {found['by']} is {as_ratio(found['before'])}, and "
        f"{as_ratio(found['after'])} once they are in order",
        found["before"], None, tuple(names), (),
        "Label switching: nothing in the density tells the components apart. Order them by one parameter, or report "
        "only what does not depend on their order.",
        found["call"],
    )  # fmt: skip


def _modes(e: Evidence, where: np.ndarray, columns: np.ndarray) -> Check:
    """The check of draws that sit in places `where` (chain, draw), which these columns tell apart."""
    lp, draws = _log_densities(e), [e.values(int(c)) for c in columns[:MOST_CENTRES]]
    held = []
    for k in range(where.max() + 1):
        here = where == k
        mostly = here.mean(1) > 0.5
        held.append({
            "chains": tuple(name for name, hit in zip(e.chain_names, mostly, strict=True) if hit),
            "share": float(here.mean()),
            "log_density": None if lp is None else float(lp[here].mean()),
            "centre": {
                e.labels[int(c)]: float(np.sum(x[here] / x[here].size)) for c, x in zip(columns, draws, strict=False)
            },
        })  # fmt: skip
    changes = int((where[:, 1:] != where[:, :-1]).sum())
    change = f"change between them {changes} times in {where.size} draws" if changes else "do not change between them"
    said = "; ".join(_place(group) for group in held[:MOST_SHOWN])
    more = f"; and {len(held) - MOST_SHOWN} more" if len(held) > MOST_SHOWN else ""
    return Check(
        "modes", "error", False,
        f"chains sit in {len(held)} places and {change}: {said}{more}",
        float(len(held)), 1.0, tuple(e.labels[int(c)] for c in columns), (),
        "Several modes, or chains that are stuck: the share of the draws in a mode says where chains started, not how "
        "likely it is.",
        groups=tuple(held),
    )  # fmt: skip


def _place(group: dict[str, Any]) -> str:
    level = "" if group["log_density"] is None else f" at log density {group['log_density']:.5g}"
    where = ", ".join(f"{name} = {value:.3g}" for name, value in list(group["centre"].items())[:3])
    return f"{count_of(len(group['chains']), 'chain')} ({percent(group['share'])} of the draws){level}, {where}"


def _log_densities(e: Evidence) -> np.ndarray | None:
    """Log densities (chain, draw), where they are recorded."""
    stats = e.groups.get("sample_stats")
    if stats is None or "lp" not in stats:
        return None
    lp = np.asarray(stats["lp"].transpose("chain", "draw", ...).values, float)
    return lp if lp.ndim == 2 and np.isfinite(lp).all() else None


def _groups(e: Evidence) -> tuple[np.ndarray, np.ndarray] | None:
    """Which place each draw is in (chain, draw), and the columns that part them, worst first."""
    value = np.where(e.judged, np.nan_to_num(e.numbers["judged_r_hat"]), 0.0)
    worst = np.argsort(-value, kind="stable")[: min(MOST_COLUMNS, int((value > SLIGHTLY).sum()))]
    if not len(worst):
        return None
    x = np.stack([e.scaled(int(i)) for i in worst], 2)
    found = split_chains(x, min(max(e.plan.chains / FEWEST, FEW_CHAINS), MOST_PLACES))
    if found is not None:
        where, columns = np.repeat(found[0][:, None], e.plan.draws, 1), np.flatnonzero(found[1])
    elif (where := valleys(x[:, :, 0])) is not None:
        columns = np.array([0])
    else:
        return None
    return (where, worst[columns]) if _agree_within(x[:, :, columns[0]], where) else None


def _agree_within(x: np.ndarray, where: np.ndarray) -> bool:
    """Whether chains that visit a place are alike there: those that do not are slow, wherever they are."""
    centres = np.bincount(where.ravel(), x.ravel()) / np.bincount(where.ravel())
    beside = x - centres[where]
    return bool(beside.mean(1).var() < ALIKE * beside.var())


def valleys(x: np.ndarray) -> np.ndarray | None:
    """Which place each draw (chain, draw) is in, numbered by size, where hardly any draws lie between; or None."""
    bins = min(BINS, x.size // A_BIN)
    if bins < FEWEST_BINS:
        return None
    low, high = np.quantile(x, (0.005, 0.995))
    counts, edges = np.histogram(x, bins, (low, high))
    left, right = np.maximum.accumulate(counts), np.maximum.accumulate(counts[::-1])[::-1]
    between = counts <= EMPTY * np.minimum(left, right)
    cuts = [edges[run[0]] for run in np.split(np.arange(bins), np.flatnonzero(np.diff(between)) + 1) if between[run[0]]]
    where = np.searchsorted(cuts, x, "right")
    sizes = np.bincount(where.ravel(), minlength=len(cuts) + 1)
    if not cuts or sizes.min() < max(LEAST * x.size, A_BIN) or len(sizes) > MOST_PLACES:
        return None
    return np.argsort(np.argsort(-sizes, kind="stable"))[where]


def modes_of(x: np.ndarray) -> np.ndarray | None:
    """Which mode each chain of draws (chain, draw, column) sits in, numbered by size, or None: none sit apart."""
    found = split_chains(x, len(x) / FEWEST)
    return None if found is None else found[0]


def split_chains(x: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Which mode each chain sits in (chain,), numbered by size, and the columns that part them.

    None where no chains sit apart, or in more than `most` places. Chains sit apart in a column where their means leave
    a gap of `GAP` standard deviations within chains, and stay where they are: halves of a chain differ in mean by far
    less than chains do. A slow chain moves on; one in a mode of its own does not.
    """
    chains, draws, _ = x.shape
    if chains < 2 or draws < 20:
        return None
    half = draws // 2
    first, last = x[:, :half].mean(1), x[:, -half:].mean(1)
    means, within = x.mean(1), np.sqrt(x.var(1).mean(0))
    between = means.var(0)
    with np.errstate(all="ignore"):
        moved = ((last - first) ** 2).mean(0) / (2 * between)
        rhat = np.sqrt(1 + between / within**2)
    order = np.sort(means, 0)
    gaps = np.diff(order, axis=0)
    split = (moved < HOLD) & (rhat > APART) & (gaps > GAP * within).any(0)
    if not split.any():
        return None
    marks = []
    for j in np.flatnonzero(split):
        edges = order[1:, j][gaps[:, j] > GAP * within[j]]
        marks.append(np.searchsorted(edges, means[:, j], "right"))
    _, index, counts = np.unique(np.stack(marks, 1), axis=0, return_inverse=True, return_counts=True)
    if len(counts) > most:
        return None
    rank = np.argsort(np.argsort(-counts, kind="stable"))
    return rank[index.reshape(-1)], split
