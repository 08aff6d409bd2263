"""Statistics of a block of columns for the table and the checks, from one sort and shared transforms."""

from dataclasses import dataclass

import numpy as np

from mcmc.diagnostics import ensembles, variances
from mcmc.diagnostics.autocorrelation import ess_of
from mcmc.diagnostics.ensembles import Ensemble
from mcmc.diagnostics.estimators import ess_from_chain_means, mcse_sd_of
from mcmc.diagnostics.ranks import folded_scores, normal_scores, partly_sorted, sort_columns, sorted_quantile
from mcmc.diagnostics.tails import pareto_k

MANY_CHAINS = 16
"""Up to here chains are judged one by one (R-hat); above, as an ensemble."""

INTERVAL = (0.05, 0.95)
"""The equal-tailed interval of the table, and the quantiles of the tail ESS."""

TABLE_COLUMNS = (
    "mean",
    "sd",
    "eti90_lb",
    "eti90_ub",
    "ess_bulk",
    "ess_tail",
    "r_hat",
    "mcse_mean",
    "mcse_sd",
)
QUICK_MEANS, QUICK_LENGTH = 128, 256
"""A quick ESS is of this many means, of blocks at least so long; otherwise of autocorrelations."""

LARGE = 1e70
"""Draws this large, or this small, are rescaled before powers are taken."""

IN_UNITS = {"mean", "sd", "eti90_lb", "eti90_ub", "mcse_mean", "mcse_sd"}
"""Numbers in the units of the draws; all others have none."""

DOUBTFUL = 1.005
QUICK_COLUMNS = ("mean", "sd", "ess_mean", "r_hat", "mcse_mean", "mcse_sd")


@dataclass(frozen=True)
class Plan:
    """What is computed: it follows from the numbers of chains and draws, and from `quick`."""

    chains: int
    draws: int
    groups: np.ndarray | None
    """Chain indices `(superchain, member)`, or None where no superchains were recorded."""
    quick: bool

    @property
    def many(self) -> bool:
        """More chains than are judged one by one."""
        return self.chains > MANY_CHAINS

    @property
    def short(self) -> bool:
        """Many chains, and no fewer than draws in each: their means give the ESS, not autocorrelations."""
        return self.many and self.chains >= self.draws

    @property
    def shown(self) -> tuple[str, ...]:
        """Columns of the table."""
        columns = QUICK_COLUMNS if self.quick else TABLE_COLUMNS
        if self.draws < 4:
            return ("mean", "sd") if self.quick else ("mean", "sd", "eti90_lb", "eti90_ub")
        return (*columns, "nested_r_hat") if self.many and self.groups is not None else columns


def column_numbers(x: np.ndarray, plan: Plan) -> dict[str, np.ndarray]:
    """Return every number wanted, by name, of finite draws `(column, chain, draw)`, which it overwrites.

    The numbers are `(column,)` arrays. Columns whose fourth powers would overflow or vanish are first brought to size
    one by a power of two, which is exact.
    """
    reach = np.maximum(x.max(axis=(1, 2)), -x.min(axis=(1, 2)))
    exponent = np.where((reach > LARGE) | (reach < 1 / LARGE), np.frexp(reach)[1], 0)
    if exponent.any():
        np.ldexp(x, -exponent[:, None, None], out=x)
    out = _numbers(x, plan)
    if exponent.any():
        out |= {name: np.ldexp(out[name], exponent) for name in IN_UNITS & out.keys()}
    return out


def _numbers(x: np.ndarray, plan: Plan) -> dict[str, np.ndarray]:
    out = {"mean": x.mean(axis=(1, 2)), "sd": x.std(axis=(1, 2), ddof=1 if x[0].size > 1 else 0)}
    if plan.draws < 4:
        if not plan.quick:
            ordered = np.sort(x.reshape(len(x), -1), axis=-1)
            out["eti90_lb"], out["eti90_ub"] = (sorted_quantile(ordered, p) for p in INTERVAL)
        return out
    _agreement(_by_value(x, plan, out["mean"]) if plan.quick else _by_rank(x, plan, out), plan, out)
    shown = ess_mean = _ess(x, plan)
    if plan.short and not plan.quick:  # the table keeps ArviZ's numbers where ArviZ has them
        shown = ess_of(np, variances.split(np, x))
    out["mcse_mean"] = out["sd"] / np.sqrt(shown)
    out["pareto_k"] = pareto_k(x, out["mean"], out["sd"], np.fmin(ess_mean, out.get("judged_ess_tail", np.inf)))
    x -= out["mean"][:, None, None]
    square = np.square(x, out=x)
    shown = out["ess_square"] = _ess(square, plan)
    if plan.short and not plan.quick:
        shown = ess_of(np, variances.split(np, square))
    out["mcse_sd"] = mcse_sd_of(np, square, shown)
    if plan.quick:
        out["ess_mean"] = out["judged_ess_bulk"] = ess_mean
    if plan.many:  # what chains keep is an error that they may share: it does not average out
        kept = np.where(out["memory"] > ensembles.FADED, out["memory"], 0.0)
        for name in ("judged_ess_bulk", "judged_ess_tail", "ess_square"):
            out |= {name: 1 / (1 / out[name] + kept)} if name in out else {}
    return out


def _by_value(x: np.ndarray, plan: Plan, mean: np.ndarray) -> list[Ensemble]:
    """What R-hat compares in a quick diagnosis: the draws and their distances from the mean."""
    centred = variances.split(np, x - mean[:, None, None])
    return [Ensemble.of(centred, plan.many), Ensemble.of(np.abs(centred, out=centred), plan.many)]


def _by_rank(x: np.ndarray, plan: Plan, out: dict[str, np.ndarray]) -> list[Ensemble]:
    """Fill in quantiles and the bulk and tail ESS; return what R-hat compares, of normal scores, bulk and folded."""
    columns = len(x)
    half = variances.split(np, x)
    shape = half.shape
    order, ordered = sort_columns(np, half.reshape(columns, -1))
    del half
    everything = partly_sorted(np, x.reshape(columns, -1), INTERVAL) if plan.draws % 2 else ordered
    edges = out["eti90_lb"], out["eti90_ub"] = [sorted_quantile(everything, p) for p in INTERVAL]
    del everything
    tails = [_ess_below(x, edge, plan) for edge in edges]
    out["ess_tail"], out["judged_ess_tail"] = (np.minimum(*both) for both in zip(*tails, strict=True))
    bulk = normal_scores(np, order, ordered).reshape(shape)
    out["ess_bulk"] = out["judged_ess_bulk"] = ess_of(np, bulk)
    if plan.short:
        out["judged_ess_bulk"] = _ess(bulk.reshape(columns, plan.chains, -1), plan)
    found = [Ensemble.of(bulk, plan.many)]
    del bulk
    return [*found, Ensemble.of(folded_scores(np, order, ordered).reshape(shape), plan.many)]


def _ess_below(x: np.ndarray, edge: np.ndarray, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """ESS of the share of draws up to `edge`: as the table has it, and as it is judged."""
    below = (x <= edge[:, None, None]).astype(np.float64)
    shown = ess_of(np, variances.split(np, below))
    return shown, _ess(below, plan) if plan.short else shown


def _agreement(found: list[Ensemble], plan: Plan, out: dict[str, np.ndarray]) -> None:
    """Fill in what compares chains with each other and with their past: the worse of location and spread."""
    length, columns = plan.draws // 2, len(found[0].total)
    out["judged_r_hat"] = np.fmax(*(variances.rhat_of(np, e.mean, e.variance, length) for e in found))
    out["r_hat"] = out["judged_r_hat"] if plan.chains > 1 else np.full(columns, np.nan)
    if not plan.many:
        return
    out["drift"] = np.fmax(*(ensembles.drift(e, plan.groups) for e in found))
    out["memory"] = np.fmax(*(ensembles.memory(e) for e in found))
    out["astray"], out["astray_chain"] = ensembles.astray(found[0])
    if plan.groups is not None:
        groups = variances.split_groups(plan.groups)
        out["nested_r_hat"] = np.fmax(*(variances.nested_rhat_of(np, e.mean, e.variance, groups) for e in found))
        out["start_effect"] = np.ones(columns)
        if not (out["nested_r_hat"] < DOUBTFUL).all():  # asked only of what nested R-hat finds
            out["start_effect"] = np.fmin(*(ensembles.start_effect(e, plan.groups) for e in found))


def _ess(x: np.ndarray, plan: Plan) -> np.ndarray:
    """ESS of the mean of `(column, chain, draw)`: by autocorrelations, or by means of many chains or blocks."""
    blocks = max(1, QUICK_MEANS // plan.chains)
    length = plan.draws // blocks
    if plan.quick and length >= QUICK_LENGTH:
        means = x[..., : blocks * length].reshape(*x.shape[:2], blocks, length).mean(axis=-1)
        return ess_from_chain_means(np, means.reshape(len(x), -1), x.var(axis=(1, 2), ddof=1), length)
    if not plan.short:
        return ess_of(np, variances.split(np, x))
    return ess_from_chain_means(np, x.mean(axis=-1), x.var(axis=(1, 2), ddof=1), x.shape[2])
