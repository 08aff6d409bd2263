"""The checks of a diagnosis, one function each: evidence in, a `Check` out, with what to do about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.diagnostics.evidence import Evidence

ASTRAY = 8.0
"""Robust sds by which a chain's mean must leave the others' to be called astray."""

MEMORY = 0.05
"""Share of the variance that chains may keep from start to end."""

TAIL_VISITS = 25.0
"""Effective draws of its tails that each of many chains must have, where the tails are slower than the bulk."""


@dataclass(frozen=True)
class Limits:
    """What `diagnose` was asked to accept."""

    rhat: float = 1.01
    ess: float = 400.0
    ebfmi: float = 0.3


@dataclass(frozen=True)
class Check:
    """One question put to the draws, and the answer."""

    code: str
    """What was checked, as one word to test for: `rhat`, `divergences`, ..."""
    severity: str
    """`error`: the draws are wrong; `warning`: not to be relied on yet; `info`: for your information."""
    passed: bool | None
    """None where the check was not made; `message` says why."""
    message: str
    """What was found, in a sentence."""
    value: float | None = None
    """The worst value found."""
    threshold: float | None = None
    """What it is held against."""
    parameters: tuple[str, ...] = ()
    """The scalar parameters that fail, worst first."""
    chains: tuple[Any, ...] = ()
    """The chains that fail."""
    advice: str = ""
    """What to do, in a sentence; empty where nothing is to be done."""

    @property
    def made(self) -> bool:
        """Whether the draws allowed the check."""
        return self.passed is not None

    @property
    def failed(self) -> bool:
        """Whether it was made and did not pass."""
        return self.passed is False


def all_checks(evidence: Evidence, limits: Limits) -> tuple[Check, ...]:
    """Make every check, in the order in which one should read them."""
    always = [
        non_finite(evidence),
        constant(evidence),
        frozen_chain(evidence),
        duplicate_chains(evidence),
        divergences(evidence),
        ebfmi(evidence, limits),
        max_tree_depth(evidence),
        nonfinite_proposals(evidence),
    ]
    if evidence.plan.draws < 4:
        return (_too_few_draws(evidence), *always)
    agreement: list[Callable[[Evidence, Limits], Check]] = [rhat]
    if evidence.plan.many:
        agreement += [nested_rhat, drift, memory, astray_chain, slow_tails]
    return (*always, *(check(evidence, limits) for check in agreement), *effective_sizes(evidence, limits))


# --- the draws themselves ---------------------------------------------------------------------------------


def non_finite(e: Evidence) -> Check:
    """No draw may be NaN or infinite."""
    total = int(e.non_finite.sum())
    if not total:
        return Check("non_finite", "error", True, "every draw is finite", 0.0, 0.0)
    order = _worst(e.non_finite, e.non_finite > 0)
    chains = _chains(e, e.bad_chains)
    return Check(
        "non_finite", "error", False,
        f"{count_of(total, 'value')} NaN or infinite, in {_names(e, order)}, {_of_chains(chains)}",
        float(total), 0.0, _labels(e, order), chains,
        "Find where the log density or a derived quantity stops being finite at those draws, and restrict "
        "the parameter's support there.",
    )  # fmt: skip


def constant(e: Evidence) -> Check:
    """Every parameter must vary, but for elements that a matrix's structure fixes at 0 or 1."""
    fixed = e.constant & ~e.structural
    if e.plan.draws * e.plan.chains < 2:
        return Check("constant", "error", None, "one draw can't show whether a parameter varies")
    continuous = fixed & ~e.discrete
    if not fixed.any():
        note = f" ({int(e.structural.sum())} matrix elements fixed at 0 or 1 apart)" if e.structural.any() else ""
        return Check("constant", "error", True, f"every parameter varies{note}", 0.0, 0.0)
    order = np.concatenate([np.flatnonzero(continuous), np.flatnonzero(fixed & e.discrete)])
    return Check(
        "constant", "error" if continuous.any() else "warning", False,
        f"{count_of(len(order), 'parameter')} with one value in all draws: {_names(e, order)}",
        float(len(order)), 0.0, _labels(e, order), (),
        "Check that the log density depends on the parameter and that its kernel moves it, or take it out of "
        "the parameters as data.",
    )  # fmt: skip


def frozen_chain(e: Evidence) -> Check:
    """No chain may stand still for all its draws, or, beyond what rejections explain, for over half."""
    chains, n = e.plan.chains, e.plan.draws
    if n < 4:
        return Check("frozen_chain", "error", None, f"{n} draws per chain are too few to see a chain move")
    still = _longest_standstill(e.moved)
    rate = e.moved.mean()
    likely = chains * n * (1 - rate) ** (still - 1) > 1e-3  # a run this long comes about by rejections alone
    frozen = still == n
    if chains > 16 and frozen.mean() < 0.5:
        frozen &= ~likely
    stuck = (still > n / 2) & ~likely | frozen
    discrete = bool(e.discrete.all())
    if discrete:  # few values: standing still is what a rare event looks like
        stuck = frozen & (~likely | (rate == 0))
    if not stuck.any():
        return Check("frozen_chain", "error", True, "every chain moves", float(still.max() / n), 1.0)
    names = _chains(e, stuck)
    what = "never moved" if frozen[stuck].all() else f"stood still for up to {still.max()} of {n} draws in a row"
    return Check(
        "frozen_chain", "warning" if discrete else "error", False,
        f"{len(names)} of {count_of(chains, 'chain')} {what}: {_list(names)}",
        float(still.max() / n), 0.5, (), names,
        "Start these chains elsewhere with init, or tune with a longer warmup: a chain that rejects every "
        "proposal says nothing about the target.",
    )  # fmt: skip


def duplicate_chains(e: Evidence) -> Check:
    """No two moving chains may hold the same draws."""
    if e.plan.chains < 2 or e.plan.draws < 4:
        return Check("duplicate_chains", "error", None, "takes two chains of at least 4 draws")
    moving = e.moved.any(axis=1)
    _, index, count = np.unique(e.fingerprint, return_inverse=True, return_counts=True)
    twins = moving & (count[index] > 1)
    if not twins.any():
        return Check("duplicate_chains", "error", True, "no two chains hold the same draws", 0.0, 0.0)
    names = _chains(e, twins)
    return Check(
        "duplicate_chains", "warning" if e.discrete.all() else "error", False,
        f"{len(names)} chains hold the same draws as another: {_list(names)}",
        float(len(names)), 0.0, (), names,
        "Give every chain its own key or seed: chains that repeat each other count for one.",
    )  # fmt: skip


def _too_few_draws(e: Evidence) -> Check:
    return Check(
        "draws", "error", False, f"{count_of(e.plan.draws, 'draw')} per chain: too few to judge",
        float(e.plan.draws), 4.0, (), (),
        "Keep at least 4 draws per chain: with fewer neither R-hat nor an effective sample size exists.",
    )  # fmt: skip


# --- the kernel -------------------------------------------------------------------------------------------


def divergences(e: Evidence) -> Check:
    """No draw may be diverging."""
    diverging, why = _statistic(e, "sample_stats", "diverging")
    if diverging is None:
        return Check("divergences", "error", None, why)
    count, of = int(diverging.sum()), diverging.size
    if not count:
        return Check("divergences", "error", True, "no draw is diverging", 0.0, 0.0)
    where = diverging.reshape(diverging.shape[0], -1).any(axis=1)
    return Check(
        "divergences", "error" if count > 0.01 * of else "warning", False,
        f"{count} of {of} draws ({100 * count / of:.2g} %) are diverging, in {where.sum()} of {len(where)} "
        "chains",
        float(count), 0.0, (), _chains(e, where) if len(where) == e.plan.chains else (),
        "Raise target_acceptance (to 0.95 or 0.99), and where draws still diverge reparameterise: a part of "
        "the target where the log density curves sharply is left out.",
    )  # fmt: skip


def ebfmi(e: Evidence, limits: Limits) -> Check:
    r"""Energy must change enough from draw to draw: :math:`\sum (E_t - E_{t-1})^2 / \sum (E_t - \bar E)^2`.

    By chain; above 16 chains pooled over all of them, since a short chain's own variance is too small.
    """
    energy, why = _statistic(e, "sample_stats", "energy")
    if energy is None:
        return Check("ebfmi", "warning", None, why, threshold=limits.ebfmi)
    energy = energy.reshape(energy.shape[0], -1)
    if energy.shape[1] < 4 or not np.isfinite(energy).all() or (energy == energy[:, :1]).all():
        why = "the energy is constant, not finite or recorded for fewer than 4 draws"
        return Check("ebfmi", "warning", None, why, threshold=limits.ebfmi)
    change = (np.diff(energy, axis=1) ** 2).mean(axis=1)
    if e.plan.many:
        values = np.array([change.mean() / energy.var(ddof=1)])
    else:
        spread = energy.var(axis=1, ddof=1)
        values = np.where(spread > 0, change / np.where(spread > 0, spread, 1), 0.0)
    low = values < limits.ebfmi
    chains = _chains(e, low) if len(low) == e.plan.chains else ()
    where = f" in {_of_chains(chains)}" if chains else ""
    message = f"E-BFMI is {values.min():.3g}{where}, {'below' if low.any() else 'at least'} {limits.ebfmi:g}"
    return Check(
        "ebfmi", "warning", not low.any(), message, float(values.min()), limits.ebfmi, (), chains,
        "Reparameterise so that the log density varies less between parts of the target: the kernel changes "
        "the "
        "energy too slowly to visit them all." if low.any() else "",
    )  # fmt: skip


def max_tree_depth(e: Evidence) -> Check:
    """How often NUTS stopped at max_tree_depth: a matter of cost, so for information."""
    reached, why = _statistic(e, "sample_stats", "reached_max_treedepth")
    if reached is None:
        return Check("max_tree_depth", "info", None, why)
    count, of = int(reached.sum()), reached.size
    if not count:
        return Check("max_tree_depth", "info", True, "no draw reached max_tree_depth", 0.0, 0.0)
    return Check(
        "max_tree_depth", "info", False,
        f"{count} of {of} draws ({100 * count / of:.2g} %) reached max_tree_depth", float(count), 0.0, (), (),
        "Raise max_tree_depth or give a longer warmup, where the effective sample size is too small.",
    )  # fmt: skip


def nonfinite_proposals(e: Evidence) -> Check:
    """How many proposals had a NaN log density: rejected, so harmless where rare."""
    counts, why = _statistic(e, "run_state", "nonfinite_proposals")
    if counts is None:
        return Check("nonfinite_proposals", "info", None, why)
    total, of = int(counts.sum()), e.plan.chains * e.plan.draws
    if not total:
        return Check("nonfinite_proposals", "info", True, "every proposal's log density was a number", 0.0, 0.0)
    where = counts.ravel() > 0
    return Check(
        "nonfinite_proposals", "warning" if total > 0.01 * of else "info", False,
        f"{count_of(total, 'proposal')} with a NaN log density, rejected ({of} draws kept)",
        float(total), 0.0, (), _chains(e, where) if len(where) == e.plan.chains else (),
        "Make the log density return -inf where the target has no mass, or narrow a parameter's support: "
        "where NaN stands for a mistake, that part of the target is left out.",
    )  # fmt: skip


# --- do the chains agree? ---------------------------------------------------------------------------------


def rhat(e: Evidence, limits: Limits) -> Check:
    """R-hat of ranks (quick: of values), bulk and folded; above 16 chains it can acquit but not convict."""
    judged = e.judged
    if not judged.any():
        return Check("rhat", "error", None, "no parameter is finite and varies", threshold=limits.rhat)
    value = e.numbers["judged_r_hat"]
    fails = judged & ~(value <= limits.rhat)
    top, at = _top(e, value, judged)
    one = e.plan.chains == 1
    kind = "R-hat between the halves of the one chain" if one else "R-hat"
    message = f"{kind} is at most {_ratio(top)}, at {at}{_quickly(e)}"
    if not fails.any():
        advice = "Run at least 4 chains: one alone can't tell that it missed a part of the target." if one else ""
        return Check("rhat", "error", True, message, top, limits.rhat, advice=advice)
    if e.plan.many:
        instead = "nested_rhat and drift" if e.plan.groups is not None else "drift, memory and astray_chain"
        why = f"{message}, but of many chains too short for it R-hat says little: judged by {instead} instead"
        return Check("rhat", "info", None, why, top, limits.rhat)
    order = _worst(value, fails)
    return Check(
        "rhat", "error", False,
        f"R-hat is up to {_ratio(top)}, above {limits.rhat:g} for {_names(e, order)}{_quickly(e)}",
        top, limits.rhat, _labels(e, order), (),
        "Run longer with a longer warmup; if R-hat stays, chains sit in different parts of the target: "
        "reparameterise, or use a kernel that moves between them.",
    )  # fmt: skip


def nested_rhat(e: Evidence, limits: Limits) -> Check:
    """Nested R-hat over the recorded superchains, as a multiple of its floor sqrt(1 + 1 / (M N)).

    A parameter above the threshold is excused where its superchains differ no more than the chains within
    them explain (see `start_effect`) and its chains have no memory: then it lacks draws, which is for ESS to
    say.
    """
    if e.plan.groups is None:
        return Check("nested_rhat", "error", None, e.superchains_missing, threshold=limits.rhat)
    judged = e.judged
    floor = float(np.sqrt(1 + 1 / (e.plan.groups.shape[1] * e.plan.draws)))
    if not judged.any():
        return Check("nested_rhat", "error", None, "no parameter is finite and varies", threshold=limits.rhat)
    value = e.numbers["nested_r_hat"]
    above = judged & ~(value / floor <= limits.rhat)
    starts = ~(e.numbers["start_effect"] > 1e-3 / judged.sum()) | (e.numbers["memory"] > MEMORY)
    fails = above & starts
    top, at = _top(e, value, judged)
    threshold = limits.rhat * floor
    groups = "{} superchains of {} chains".format(*e.plan.groups.shape)
    if not fails.any():
        message = f"nested R-hat over {groups} is at most {_ratio(top)}, at {at}{_quickly(e)}"
        if above.any():
            message += f": above {_ratio(threshold)}, but no more than the chains' own noise explains"
        return Check("nested_rhat", "error", True, message, top, threshold)
    order = _worst(value, fails)
    return Check(
        "nested_rhat", "error", False,
        f"nested R-hat over {groups} is up to {_ratio(top)}, above {_ratio(threshold)} for "
        f"{_names(e, order)}{_quickly(e)}",
        top, threshold, _labels(e, order), (),
        "Give a longer warmup, and more draws: chains that started together still differ from the others.",
    )  # fmt: skip


def drift(e: Evidence, limits: Limits) -> Check:
    """The ensemble's location and spread must not change from the first to the last half of the draws."""
    threshold = float(np.sqrt(2 * (limits.rhat**2 - 1)))  # the shift at which two halves have this R-hat
    return _ensemble_check(
        e, "drift", threshold,
        "from the first to the last half of the draws the ensemble moves by {value:.2g} sd at {at}",
        "Give a longer warmup: the chains are still on their way from where they started.",
    )  # fmt: skip


def memory(e: Evidence, limits: Limits) -> Check:
    """Where chains end must not depend on where they begin (nested R-hat answers this, given superchains)."""
    if e.plan.groups is not None:
        return Check("memory", "error", None, "nested R-hat answers it, from the recorded superchains")
    return _ensemble_check(
        e, "memory", MEMORY,
        "from their first to their last quarter chains keep at least {value:.0%} of the variance of {at}",
        "Run longer, with a longer warmup, and set superchains so that nested R-hat can judge: the chains "
        "have not forgotten where they started.",
    )  # fmt: skip


def astray_chain(e: Evidence, limits: Limits) -> Check:
    """No single chain may sit away from all others."""
    found = _ensemble_check(
        e, "astray_chain", ASTRAY,
        "the chain farthest from the others is {value:.2g} of their sds away at {at}",
        "Look at these chains' draws: they sit in another part of the target, or never left a bad start.",
    )  # fmt: skip
    if not found.failed:
        return found
    fails = e.judged & (e.numbers["astray"] > ASTRAY)
    at = np.unique(e.numbers["astray_chain"][fails].astype(int))
    names = tuple(e.chain_names[i] for i in at)
    return Check(**{**vars(found), "chains": names, "message": f"{found.message} ({_of_chains(names)})"})


def slow_tails(e: Evidence, limits: Limits) -> Check:
    """Many chains must reach slow tails several times each, or they still show where they started.

    Of most targets the tails are forgotten sooner than the bulk. Where they are slower (the neck of a funnel), chains
    that start outside fill them last, all alike: they agree, do not drift much, have effective draws enough in total,
    and leave them out together.
    """
    judged = e.judged
    if e.plan.quick or e.plan.draws < 100 or not judged.any():
        why = "takes at least 100 draws per chain of a parameter that varies, and quick=False"
        return Check("slow_tails", "warning", None, why, threshold=TAIL_VISITS)
    tail, bulk = e.numbers["judged_ess_tail"], e.numbers["judged_ess_bulk"]
    slow = judged & ~(tail >= bulk)
    if not slow.any():
        return Check("slow_tails", "warning", True, "no parameter's tails are slower than its bulk")
    visits = tail / e.plan.chains
    fails = slow & ~(visits >= TAIL_VISITS)
    fewest, at = _top(e, visits, slow, sign=-1)
    message = f"tails that are slower than the bulk have at least {fewest:.1f} effective draws a chain, at {at}"
    if not fails.any():
        return Check("slow_tails", "warning", True, message, fewest, TAIL_VISITS)
    order = _worst(-visits, fails)
    return Check(
        "slow_tails", "warning", False,
        f"tails are slower than the bulk, with {fewest:.1f} effective draws a chain, fewer than {TAIL_VISITS:g}, for "
        f"{_names(e, order)}",
        fewest, TAIL_VISITS, _labels(e, order), (),
        "Run longer with a longer warmup, reparameterise, or use Multiscale: a part of the target that is reached "
        "seldom and left slowly may be missing from all chains alike.",
    )  # fmt: skip


def _ensemble_check(e: Evidence, code: str, threshold: float, found: str, advice: str) -> Check:
    judged, name = e.judged, {"astray_chain": "astray"}.get(code, code)
    if not judged.any():
        return Check(code, "error", None, "no parameter is finite and varies", threshold=threshold)
    value = e.numbers[name]
    fails = judged & ~(value <= threshold)
    top, at = _top(e, value, judged)
    message = found.format(value=top, at=at) + _quickly(e)
    if not fails.any():
        return Check(code, "error", True, message, top, threshold)
    order = _worst(value, fails)
    message = f"{message} ({len(order)} of {count_of(int(judged.sum()), 'parameter')} too far)"
    return Check(code, "error", False, message, top, threshold, _labels(e, order), (), advice)


# --- are there enough draws? ------------------------------------------------------------------------------


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
    lowest, at = _top(e, value, judged, sign=-1)
    title += " from the chains' means" if e.plan.short else ""
    if not fails.any():
        message = f"{title} is at least {lowest:.0f}, at {at}{_quickly(e)}"
        return Check(code, "warning", True, message, lowest, limits.ess)
    order = _worst(-value, fails)
    times = f"about {limits.ess / lowest:.1f} times as many" if lowest > 0 else "more"
    return Check(
        code, "warning", False,
        f"{title} is down to {lowest:.0f}, below {limits.ess:g} for {_names(e, order)}{_quickly(e)}",
        lowest, limits.ess, _labels(e, order), (),
        f"Take {times} draws, with more chains or with until=, or choose a kernel that moves faster.",
    )  # fmt: skip


# --- words and numbers ------------------------------------------------------------------------------------


def _statistic(e: Evidence, group: str, name: str) -> tuple[np.ndarray | None, str]:
    """Return a recorded statistic with chains first, or None and why there is none."""
    found = e.groups.get(group)
    if found is None:
        return None, f"the draws have no {group} group"
    if name not in found:
        return None, f"{group} records no {name}"
    array = found[name]
    if "chain" in array.dims:
        array = array.transpose("chain", ...)
    values = np.asarray(array.values)
    return np.atleast_1d(values), ""


def _longest_standstill(moved: np.ndarray) -> np.ndarray:
    """Return how many draws in a row each chain repeats at most: 1 where it moves every time."""
    position = np.broadcast_to(np.arange(1, moved.shape[1] + 1), moved.shape)
    last_move = np.maximum.accumulate(np.where(moved, position, 0), axis=1)
    return (position - last_move).max(axis=1) + 1


def _worst(value: np.ndarray, fails: np.ndarray) -> np.ndarray:
    """Return the failing columns, largest value (NaN before all) first."""
    index = np.flatnonzero(fails)
    return index[np.argsort(-np.nan_to_num(value[index], nan=np.inf), kind="stable")]


def _top(e: Evidence, value: np.ndarray, judged: np.ndarray, sign: int = 1) -> tuple[float, str]:
    """Return the largest (`sign=-1`: smallest) judged value and its parameter; a NaN counts as the worst."""
    at = _worst(sign * value, judged)[0]
    return float(value[at]), e.labels[int(at)]


def _labels(e: Evidence, order: np.ndarray) -> tuple[str, ...]:
    return tuple(e.labels[int(i)] for i in order)


def _names(e: Evidence, order: np.ndarray) -> str:
    return _list(tuple(e.labels[int(i)] for i in order[:3]), len(order))


def _list(names: Sequence[Any], total: int | None = None) -> str:
    """Write `a, b, c and 4 more`."""
    total = len(names) if total is None else total
    shown = ", ".join(map(str, names[:3]))
    return f"{shown} and {total - 3} more" if total > 3 else shown


def _chains(e: Evidence, mask: np.ndarray) -> tuple[Any, ...]:
    return tuple(name for name, hit in zip(e.chain_names, mask, strict=True) if hit)


def _of_chains(names: Sequence[Any]) -> str:
    return f"chain {names[0]}" if len(names) == 1 else f"chains {_list(names)}"


def count_of(n: int, noun: str) -> str:
    """Write `1 chain`, `4 chains`."""
    return f"{n} {noun}{'s' * (n != 1)}"


def _ratio(value: float) -> str:
    """Write an R-hat: three decimals, or its size where it is huge."""
    return f"{value:.3f}" if value < 100 else f"{value:.1g}"


def _quickly(e: Evidence) -> str:
    return " (quick: of values, not ranks)" if e.plan.quick else ""
