"""The checks of a diagnosis, one function each: evidence in, a `Check` out, with what to do about it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mcmc.diagnostics.agreement import astray_chain, drift, memory, nested_rhat, rhat, slow_tails
from mcmc.diagnostics.approximation import approximation
from mcmc.diagnostics.attempts import attempts
from mcmc.diagnostics.burn_in import burn_in
from mcmc.diagnostics.check import (
    Check,
    Limits,
    count_of,
    failing_chains,
    labels,
    listed,
    named,
    of_chains,
    percent,
    worst_first,
)
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.gradients import nan_gradients
from mcmc.diagnostics.modes import missed, places
from mcmc.diagnostics.proper import improper
from mcmc.diagnostics.sizes import effective_sizes, heavy_tails
from mcmc.diagnostics.walls import walls

HIDDEN = 20  # how many times the share of diverging draws the mass that chains avoid there may be
MOST_SHIFTS = 32  # parameters of which the mean without diverging draws is taken


def all_checks(evidence: Evidence, limits: Limits) -> tuple[Check, ...]:
    """Make every check, in the order in which one should read them."""
    always = [
        non_finite(evidence),
        constant(evidence),
        frozen_chain(evidence),
        duplicate_chains(evidence),
        *([stuck_discrete(evidence)] if evidence.discrete.any() else []),
        divergences(evidence),
        ebfmi(evidence, limits),
        max_tree_depth(evidence),
        nonfinite_proposals(evidence),
        *nan_gradients(evidence),
        *approximation(evidence),
    ]
    if evidence.plan.draws < 4:
        return (_too_few_draws(evidence), *always)
    agreement: list[Callable[[Evidence, Limits], Check]] = [rhat]
    if evidence.plan.many:
        agreement += [nested_rhat, drift, memory, astray_chain, slow_tails]
    found = [*always, *(check(evidence, limits) for check in agreement), *effective_sizes(evidence, limits)]
    found += [heavy_tails(evidence), *burn_in(evidence), *attempts(evidence), *walls(evidence)]
    found += improper(evidence, found) or places(evidence, found) or missed(evidence)
    if evidence.derived.any():
        found.append(derived(evidence, limits, agreement))
    return tuple(found)


def derived(e: Evidence, limits: Limits, agreement: list[Callable[[Evidence, Limits], Check]]) -> Check:
    """What the checks would say of derived values: for information, since a verdict judges parameters."""
    other = replace(e, derived=~e.derived)
    found = [check(other, limits) for check in agreement] + effective_sizes(other, limits) + [heavy_tails(other)]
    failed = [check for check in found if check.failed and check.severity != "info"]
    count = count_of(int(e.derived.sum()), "derived value")
    if not failed:
        return Check("derived", "info", True, f"{count}: nothing to be said of them")
    said = "; ".join(f"{check.code}: {check.message}" for check in failed[:2])
    more = f"; and {len(failed) - 2} more" if len(failed) > 2 else ""
    names = tuple(dict.fromkeys(name for check in failed for name in check.parameters))
    return Check("derived", "info", False, f"of derived values, {said}{more}", parameters=names)


# --- the draws themselves ---------------------------------------------------------------------------------


def non_finite(e: Evidence) -> Check:
    """No draw may be NaN or infinite."""
    total = int(e.non_finite.sum())
    if not total:
        return Check("non_finite", "error", True, "every draw is finite", 0.0, 0.0)
    order = worst_first(e.non_finite, e.non_finite > 0)
    chains = failing_chains(e, e.bad_chains)
    return Check(
        "non_finite", "error", False,
        f"{count_of(total, 'value')} NaN or infinite, in {named(e, order)}, {of_chains(chains)}",
        float(total), 0.0, labels(e, order), chains,
        "Find where the log density or a derived quantity stops being finite at those draws, and restrict "
        "the parameter's support there.",
    )  # fmt: skip


def constant(e: Evidence) -> Check:
    """Every continuous parameter must vary; derived, discrete and structural values may be constant by design.

    Where nobody recorded which variables are parameters, some elements of one may be constant beside others that vary
    (a coefficient set to 0, observed data among imputed ones), and a whole number may be a size, 0 and 1 apart.
    """
    fixed = e.constant & ~e.structural
    if e.plan.draws * e.plan.chains < 2:
        return Check("constant", "error", None, "one draw can't show whether a parameter varies")
    if not fixed.any():
        note = f" ({int(e.structural.sum())} matrix elements fixed at 0 or 1 apart)" if e.structural.any() else ""
        return Check("constant", "error", True, f"every parameter varies{note}", 0.0, 0.0)
    excused = e.discrete | e.derived | e.partial | (e.whole & (e.smallest == np.round(e.smallest)))
    wrong = fixed & ~excused
    order = np.concatenate([np.flatnonzero(wrong), np.flatnonzero(fixed & excused)])
    few = np.flatnonzero(wrong) if wrong.any() else order
    kind = "parameter" if wrong.any() else "discrete or derived value"
    return Check(
        "constant", "error" if wrong.any() else "info", False,
        f"{count_of(len(few), kind)} with one value in all draws: {named(e, few)}",
        float(len(few)), 0.0, labels(e, few), (),
        "Check that the log density depends on the parameter and that its kernel moves it, or take it out of "
        "the parameters as data." if wrong.any() else "",
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
    if discrete:  # few values: a rare event leaves a chain at one value for long
        stuck = frozen & (~likely | (rate == 0))
    if not stuck.any():
        return Check("frozen_chain", "error", True, "every chain moves", float(still.max() / n), 1.0)
    names = failing_chains(e, stuck)
    what = "never moved" if frozen[stuck].all() else f"stood still for up to {still.max()} of {n} draws in a row"
    return Check(
        "frozen_chain", "warning" if discrete else "error", False,
        f"{len(names)} of {count_of(chains, 'chain')} {what}: {listed(names)}",
        float(still.max() / n), 0.5, (), names,
        "Start these chains at other places, or tune with a longer warmup: a chain that rejects every "
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
    names = failing_chains(e, twins)
    return Check(
        "duplicate_chains", "warning" if e.discrete.all() else "error", False,
        f"{len(names)} chains hold the same draws as another: {listed(names)}",
        float(len(names)), 0.0, (), names,
        "Give every chain its own key or seed: chains that repeat each other count for one.",
    )  # fmt: skip


def stuck_discrete(e: Evidence) -> Check:
    """No chain may keep one value of a discrete parameter that changes in others, or differs from theirs."""
    if e.plan.chains < 2 or e.plan.draws < 4:
        return Check("stuck_discrete", "warning", None, "takes two chains of at least 4 draws")
    stuck = e.stuck > 0
    if not stuck.any():
        return Check("stuck_discrete", "warning", True, "every discrete parameter changes in every chain", 0.0, 0.0)
    order, names = worst_first(e.stuck, stuck), failing_chains(e, e.stuck_chains)
    return Check(
        "stuck_discrete", "warning", False,
        f"{count_of(len(order), 'discrete parameter')} never changing in {of_chains(names)}: {named(e, order)}",
        float(e.stuck.max()), 0.0, labels(e, order), names,
        "Run longer, propose other values more boldly, or sum the parameter out: these chains say nothing about how "
        "likely its other values are.",
    )  # fmt: skip


def _too_few_draws(e: Evidence) -> Check:
    return Check(
        "draws", "error", False, f"{count_of(e.plan.draws, 'draw')} per chain: too few to judge",
        float(e.plan.draws), 4.0, (), (),
        "Keep at least 4 draws per chain: with fewer neither R-hat nor an effective sample size exists.",
    )  # fmt: skip


# --- the kernel -------------------------------------------------------------------------------------------


def divergences(e: Evidence) -> Check:
    """Diverging draws may be no more than the Monte Carlo error hides anyway.

    A diverging draw marks a place that the chains avoid. Should the share p of them stand for a mass HIDDEN times as
    large, means would be off by about HIDDEN · p deviations; the Monte Carlo error is 1/√ESS of the worst parameter.
    """
    diverging, why = _statistic(e, "sample_stats", "diverging")
    if diverging is None:
        return Check("divergences", "error", None, why)
    count, of = int(diverging.sum()), diverging.size
    if not count:
        return Check("divergences", "error", True, "no draw is diverging", 0.0, 0.0)
    size = e.numbers["judged_ess_bulk"][e.judged] if "judged_ess_bulk" in e.numbers else np.zeros(0)
    most = of / (HIDDEN * np.sqrt(size.min())) if size.size and np.isfinite(size).all() else 0.0
    shift, at = _shift_without(e, diverging)
    effect = f"; without them the mean of {at} moves by {shift:.2g} sd" if at else ""
    if count <= most and shift * np.sqrt(size.min()) <= 1:
        note = "too few to matter beside the Monte Carlo error"
        return Check(
            "divergences", "error", True, f"{count} of {of} draws are diverging, {note}{effect}", float(count), most
        )
    where = diverging.reshape(diverging.shape[0], -1).any(axis=1)
    biased = count > 0.01 * of or bool(size.size and shift * np.sqrt(size.min()) > 1)
    return Check(
        "divergences", "error" if biased else "warning", False,
        f"{count} of {of} draws ({percent(count / of)}) are diverging, in {where.sum()} of {len(where)} chains, "
        f"more than the {int(most)} that the Monte Carlo error hides{effect}",
        float(count), most, (), failing_chains(e, where) if len(where) == e.plan.chains else (),
        "A part of the target where the log density curves sharply is left out: reparameterise, or take smaller steps.",
    )  # fmt: skip


def _shift_without(e: Evidence, diverging: np.ndarray) -> tuple[float, str]:
    """How far a mean moves at most, in sds, where diverging draws are left out, and of which parameter.

    Asked of the parameters with the least ESS, up to MOST_SHIFTS of them.
    """
    judged = np.flatnonzero(e.judged)
    hit = diverging.reshape(diverging.shape[0], -1) != 0
    if hit.shape != (e.plan.chains, e.plan.draws) or hit.all() or "judged_ess_bulk" not in e.numbers:
        return 0.0, ""
    some = judged[np.argsort(e.numbers["judged_ess_bulk"][judged])[:MOST_SHIFTS]]
    found = [(abs(x.mean() - x[~hit].mean()) / x.std(), int(i)) for i in some for x in [e.scaled(int(i))]]
    worst = max(found, default=(0.0, -1))
    return float(worst[0]), e.labels[worst[1]] if found else ""


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
    chains = failing_chains(e, low) if len(low) == e.plan.chains else ()
    where = f" in {of_chains(chains)}" if chains else ""
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
        f"{count} of {of} draws ({percent(count / of)}) reached max_tree_depth", float(count), 0.0, (), (),
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
        float(total), 0.0, (), failing_chains(e, where) if len(where) == e.plan.chains else (),
        "Make the log density return -inf where the target has no mass, or narrow a parameter's support: "
        "where NaN stands for a mistake, that part of the target is left out.",
    )  # fmt: skip


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
