"""All numbers of the table and the checks for a block of columns, from one sort and shared transforms."""

from dataclasses import dataclass

import numpy as np

from mcmc.diagnostics import ensembles, variances
from mcmc.diagnostics.autocorrelation import ess_of
from mcmc.diagnostics.ensembles import Ensemble
from mcmc.diagnostics.ranks import fold, normal_scores, sort_columns, sorted_quantile
from mcmc.diagnostics.stats import ess_from_chain_means, mcse_sd_of

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
    """Return every number wanted, by name, of finite draws `(column, chain, draw)`: `(column,)` arrays."""
    out = {"mean": x.mean(axis=(1, 2)), "sd": x.std(axis=(1, 2), ddof=1 if x[0].size > 1 else 0)}
    if plan.draws < 4:
        if not plan.quick:
            ordered = np.sort(x.reshape(len(x), -1), axis=-1)
            out["eti90_lb"], out["eti90_ub"] = (sorted_quantile(ordered, p) for p in INTERVAL)
        return out
    centred = x - out["mean"][:, None, None]
    square = centred**2
    if plan.quick:
        scales = [variances.split(np, centred), variances.split(np, np.abs(centred))]
    else:
        scales = _by_rank(x, square, plan, out)
    _agreement(scales, plan, out)
    ess_mean = _ess(x, plan)
    out["ess_square"] = _ess(square, plan)
    out["mcse_mean"] = out["sd"] / np.sqrt(ess_mean)
    out["mcse_sd"] = mcse_sd_of(np, square, out["ess_square"])
    if plan.quick:
        out["ess_mean"] = out["judged_ess_bulk"] = ess_mean
    elif plan.short:  # the table keeps ArviZ's numbers where ArviZ has them
        out["mcse_mean"] = out["sd"] / np.sqrt(ess_of(np, variances.split(np, x)))
        out["mcse_sd"] = mcse_sd_of(np, square, ess_of(np, variances.split(np, square)))
    return out


def _by_rank(x: np.ndarray, square: np.ndarray, plan: Plan, out: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Fill in quantiles and the bulk and tail ESS; return the split normal scores, bulk and folded."""
    halves = variances.split(np, x)
    order, ordered = sort_columns(np, halves.reshape(len(x), -1))
    bulk = normal_scores(np, order, ordered).reshape(halves.shape)
    folded = normal_scores(np, *fold(np, order, ordered)).reshape(halves.shape)
    everything = ordered if plan.draws % 2 == 0 else np.sort(x.reshape(len(x), -1), axis=-1)
    low, high = (sorted_quantile(everything, p) for p in INTERVAL)
    out["eti90_lb"], out["eti90_ub"] = low, high
    out["ess_bulk"] = ess_of(np, bulk)
    below = [(x <= edge[:, None, None]).astype(np.float64) for edge in (low, high)]
    out["ess_tail"] = np.minimum(*(ess_of(np, variances.split(np, y)) for y in below))
    if plan.short:
        out["judged_ess_bulk"] = _ess(bulk.reshape(len(x), plan.chains, -1), plan)
        out["judged_ess_tail"] = np.minimum(*(_ess(y, plan) for y in below))
    else:
        out["judged_ess_bulk"], out["judged_ess_tail"] = out["ess_bulk"], out["ess_tail"]
    return [bulk, folded]


def _agreement(scales: list[np.ndarray], plan: Plan, out: dict[str, np.ndarray]) -> None:
    """Fill in what compares chains with each other and with their past: the worse of location and spread."""
    found = [Ensemble.of(y) for y in scales]
    length = scales[0].shape[2]
    out["judged_r_hat"] = np.fmax(*(variances.rhat_of(np, e.mean, e.variance, length) for e in found))
    out["r_hat"] = out["judged_r_hat"] if plan.chains > 1 else np.full(len(scales[0]), np.nan)
    if not plan.many:
        return
    out["drift"] = np.fmax(*(ensembles.drift(e, plan.groups) for e in found))
    out["memory"] = np.fmax(*(ensembles.memory(e) for e in found))
    out["astray"], out["astray_chain"] = ensembles.astray(found[0])
    if plan.groups is not None:
        groups = variances.split_groups(plan.groups)
        out["nested_r_hat"] = np.fmax(*(variances.nested_rhat_of(np, e.mean, e.variance, groups) for e in found))
        out["start_effect"] = np.ones(len(scales[0]))
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
