"""Checks of convergence between chains, one function each: R-hat, nested R-hat, drift, memory, outlying chains."""

import numpy as np

from mcmc.diagnostics.check import (
    Check,
    Limits,
    as_ratio,
    count_of,
    extreme,
    labels,
    named,
    of_chains,
    quickly,
    worst_first,
)
from mcmc.diagnostics.ensembles import FADED
from mcmc.diagnostics.evidence import Evidence
from mcmc.diagnostics.excess import excess

ASTRAY = 8.0
"""Robust sds by which a chain's mean must leave the others' to be called astray."""

MEMORY = FADED

TAIL_VISITS = 25.0
"""Effective draws of its tails that each of many chains must have, where the tails are slower than the bulk."""


def rhat(e: Evidence, limits: Limits) -> Check:
    """R-hat of ranks (quick: of values), bulk and folded; above 16 chains it convicts where chains differ by far more
    than their own autocorrelation explains.
    """
    judged = e.judged
    if not judged.any():
        return Check("rhat", "error", None, "no parameter is finite and varies", threshold=limits.rhat)
    value = e.numbers["judged_r_hat"]
    fails = judged & ~(value <= limits.rhat)
    top, at = extreme(e, value, judged)
    one = e.plan.chains == 1
    kind = "R-hat between the halves of the one chain" if one else "R-hat"
    message = f"{kind} is at most {as_ratio(top)}, at {at}{quickly(e)}"
    if not fails.any():
        advice = "Run at least 4 chains: one chain alone can't show that it missed a part of the target." if one else ""
        return Check("rhat", "error", True, message, top, limits.rhat, advice=advice)
    if e.plan.many and (fails := excess(e, value)).any():
        order = worst_first(value, fails)
        worst = float(value[order[0]])
        return Check(
            "rhat", "error", False,
            f"R-hat is up to {as_ratio(worst)} for {named(e, order)}{quickly(e)}: chains differ by far "
            "more than their own autocorrelation explains",
            worst, limits.rhat, labels(e, order), (),
            "Chains stay where they are, each in its own part of the target: give a longer warmup, reparameterise, or "
            "use a kernel that moves between these parts.",
        )  # fmt: skip
    if e.plan.many:
        instead = "nested_rhat, memory and drift" if e.plan.groups is not None else "memory, drift and astray_chain"
        why = f"{message}, as the chains' own autocorrelation explains: {instead} judge"
        return Check("rhat", "info", None, why, top, limits.rhat)
    order = worst_first(value, fails)
    return Check(
        "rhat", "error", False,
        f"R-hat is up to {as_ratio(top)}, above {limits.rhat:g} for {named(e, order)}{quickly(e)}",
        top, limits.rhat, labels(e, order), (),
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
    top, at = extreme(e, value, judged)
    threshold = limits.rhat * floor
    groups = "{} superchains of {} chains".format(*e.plan.groups.shape)
    least = f"its floor is {floor:.5f}"
    if not fails.any():
        message = f"nested R-hat over {groups} is at most {as_ratio(top)}, at {at}{quickly(e)} ({least})"
        if above.any():
            message += f": above {as_ratio(threshold)}, but no more than the chains' own noise explains"
        return Check("nested_rhat", "error", True, message, top, threshold)
    order = worst_first(value, fails)
    return Check(
        "nested_rhat", "error", False,
        f"nested R-hat over {groups} is up to {as_ratio(top)}, above {as_ratio(threshold)} for "
        f"{named(e, order)}{quickly(e)} ({least})",
        top, threshold, labels(e, order), (),
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
    """Where chains end must not depend on where they begin.

    Nested R-hat asks it of the starts that superchains share. Chains that parted after such a start, and stay apart, do
    not differ between superchains: they are found here.
    """
    return _ensemble_check(
        e, "memory", MEMORY,
        "from their first to their last quarter chains keep at least {value:.0%} of the variance of {at}",
        "Run longer, with a longer warmup: the chains have not forgotten where they started.",
    )  # fmt: skip


def astray_chain(e: Evidence, limits: Limits) -> Check:
    """No single chain may sit away from all others."""
    found = _ensemble_check(
        e, "astray_chain", ASTRAY,
        "the chain farthest from the others is {value:.2g} of their sds away at {at}",
        "Inspect these chains' draws: they sit in another part of the target, or never left a bad start.",
    )  # fmt: skip
    if not found.failed:
        return found
    fails = e.judged & (e.numbers["astray"] > ASTRAY)
    at = np.unique(e.numbers["astray_chain"][fails].astype(int))
    names = tuple(e.chain_names[i] for i in at)
    return Check(**{**vars(found), "chains": names, "message": f"{found.message} ({of_chains(names)})"})


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
    fewest, at = extreme(e, visits, slow, sign=-1)
    message = f"tails that are slower than the bulk have at least {fewest:.1f} effective draws a chain, at {at}"
    if not fails.any():
        return Check("slow_tails", "warning", True, message, fewest, TAIL_VISITS)
    order = worst_first(-visits, fails)
    return Check(
        "slow_tails", "warning", False,
        f"tails are slower than the bulk, with {fewest:.1f} effective draws a chain, fewer than {TAIL_VISITS:g}, for "
        f"{named(e, order)}",
        fewest, TAIL_VISITS, labels(e, order), (),
        "Run longer with a longer warmup, reparameterise, or use Multiscale: a part of the target that is reached "
        "seldom and left slowly may be missing from all chains alike.",
    )  # fmt: skip


def _ensemble_check(e: Evidence, code: str, threshold: float, found: str, advice: str) -> Check:
    judged, name = e.judged, {"astray_chain": "astray"}.get(code, code)
    if not judged.any():
        return Check(code, "error", None, "no parameter is finite and varies", threshold=threshold)
    value = e.numbers[name]
    fails = judged & ~(value <= threshold)
    top, at = extreme(e, value, judged)
    message = found.format(value=top, at=at) + quickly(e)
    if not fails.any():
        return Check(code, "error", True, message, top, threshold)
    order = worst_first(value, fails)
    message = f"{message} ({len(order)} of {count_of(int(judged.sum()), 'parameter')} too far)"
    return Check(code, "error", False, message, top, threshold, labels(e, order), (), advice)
