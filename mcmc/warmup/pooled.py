"""Warmup of a step size and a metric from all chains together, on the host, between short calls."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.kernels.hmc import EASY_RATE, HMC, LONG, POOR, QUARTER_TURN, STRICT_RATE
from mcmc.kernels.metric import LowRank, Metric, on_host
from mcmc.kernels.multiscale import Multiscale
from mcmc.warmup import length, normal_errors, step_size
from mcmc.warmup.metric import metric_of, metrics_of
from mcmc.warmup.registry import tunes

DENSE_UP_TO, RANK = 300, 64
WINDOWS = (0.05, 0.1, 0.2, 0.35, 0.55, 0.8)
EARLY_STEPS, NO_CAP, SETTLED = 16, 2**30, 0.3
CALM, POOR_SHARE, MAPPED, WALLED, LEAST_MET, NEAR, USUAL = 0.3, 0.002, 2, 25, 1e-3, 0.05, 3.0
SHORT_CALLS, LONG_CALLS, STEPS, LAST_STEPS = 2, 25, 2, 3
ROWS, MANY_ROWS, ROW_NUMBERS = 512, 1536, 2**23
LEAST_FREE, BETWEEN_WALLS = 0.5, 1.6
MIDDLE_RATE, VERY = 0.9, 10
BETWEEN_RATES = 0.5 * (MIDDLE_RATE + STRICT_RATE)
EASY = {"target_acceptance": EASY_RATE, "length": QUARTER_TURN}
ENDS_TO_FIND = np.array([[-np.inf], [np.inf]])
STRICT = {"target_acceptance": STRICT_RATE, "length": LONG}


class TuningState(NamedTuple):
    """What warmup carries from one adaptation step to the next.

    Positions and gradients (row, dim) since the last window closed; of the last steps in it that tell, shares of poor
    proposals (step,), the last `judged` of which are of this window; `most` is how many steps the kernel gets back; up
    to iteration `settled` nothing becomes stricter. Of many data sets all have an axis more in front.
    """

    step: step_size.Search
    positions: np.ndarray
    gradients: np.ndarray
    most: Any
    poor: np.ndarray
    judged: Any = np.int32(0)
    settled: Any = np.int32(0)
    length: length.Length = length.Length()


@dataclass(frozen=True)
class Pooled:
    """Tunes what a kernel left None: the step size by stochastic approximation, the metric in growing windows.

    It adapts the kernel after one iteration, after one more, and ever more rarely (`steps`), each time with a new
    step size. Windows close at 5, 10, 20, 35, 55 and 80 % of warmup and give a new metric; the last
    fifth tunes the step size alone. A kernel with `max_steps` or `max_tree_depth` has few steps as long as the metric
    is known a little only. All in float64, in chain order, whatever the number of devices.
    """

    tunes_step_size: bool
    tunes_metric: bool
    caps: str = ""
    strict: tuple[tuple[str, float], ...] = ()
    finds_map: bool = False

    @property
    def tunes_strictness(self) -> list[str]:
        """Which settings become stricter where proposals are poor."""
        return [name for name, _ in self.strict]

    @property
    def keeps_rows(self) -> bool:
        """Whether positions and gradients are kept up to the end of a window, for a metric or for a map."""
        return self.tunes_metric or self.finds_map

    def init(self, kernel: Any) -> tuple[TuningState, Any]:
        """The state and the kernel before the first iteration, for a kernel whose fields are NumPy arrays."""
        most = getattr(kernel, self.caps) if self.caps else np.int32(0)
        kernel = self._capped(kernel, most, EARLY_STEPS)
        nothing = np.zeros((0, kernel.metric.factor.shape[0] if self.keeps_rows else 0))
        step = step_size.start(getattr(kernel, "step_size", 1.0))
        return TuningState(step, nothing, nothing, most, np.zeros(STEPS)), kernel

    def windows(self, total: int) -> set[int]:
        """The iterations after which there is a new metric."""
        return _iterations(WINDOWS, total)

    def steps(self, total: int) -> list[int]:
        """The iterations of a warmup of `total` after which `adjust` is called."""
        ends = sorted({0} | _iterations((*WINDOWS, 1.0), total))
        found: list[int] = []
        for begin, end in itertools.pairwise(ends):
            longest = min(-((begin - end) // (LAST_STEPS if end == total else STEPS)), LONG_CALLS)
            while not found or found[-1] < end:
                t = found[-1] if found else 0
                found.append(min(t + min(1 + t // SHORT_CALLS, longest), end))
        return found

    def adjust(
        self, state: TuningState, kernel: Any, t: int, total: int, rate: Any, positions: np.ndarray, gradients: Any
    ) -> tuple[TuningState, Any]:
        """After `t` iterations of `total`: acceptance rate, positions and gradients (n, dim) since the last step.

        Of many data sets at once with an axis in front of all arrays, also those of state and kernel.
        """
        several = np.ndim(rate) > positions.ndim - 2
        rate, poor, turns, met = _without_walls(rate) if several else (rate, np.nan, np.float64(0.0), np.float64(0.0))
        if self.strict:
            usual = normal_errors.poor_share(kernel.step_size, kernel.length, positions.shape[-1], POOR)
            state, kernel = self._made_strict(state, kernel, t, total, (rate, poor - USUAL * usual), met)
            kernel = self._between_walls(state, kernel, turns)
        if self.tunes_step_size:
            target = kernel.target_rate(positions.shape[-1])
            state = state._replace(step=step_size.update(state.step, np.where(np.isfinite(rate), rate, 0.0), target))
            kernel = _with_step_size(kernel, state.step.log_average if t == total else state.step.log_step)
        if self.keeps_rows:
            state = state._replace(positions=_with_rows(state.positions, positions))
            if gradients is not None:
                state = state._replace(gradients=_with_rows(state.gradients, gradients))
            if t in self.windows(total):
                state, kernel = self._close_window(state, kernel, t >= SETTLED * total)
        return state, self._capped(kernel, state.most, _cap(t, total))

    def restarted(self, state: TuningState, kernel: Any, rows: tuple[np.ndarray, np.ndarray], until: int) -> tuple:
        """State and kernel in other coordinates: the metric of these rows (n, dim), and all else as at the start."""
        positions, gradients = rows
        dim = positions.shape[1]
        easy = {name: np.full_like(getattr(kernel, name), EASY[name]) for name, _ in self.strict}
        metric = kernel.metric
        if self.tunes_metric:
            metric = metric_of(positions, gradients, _plain(kernel.metric), settled=False)
            metric = jax.tree.map(lambda a, old: np.asarray(a, old.dtype), metric, kernel.metric)
        if getattr(kernel, "ends", None) is not None:
            easy["ends"] = no_ends(dim).astype(kernel.ends.dtype)
        kernel = dataclasses.replace(kernel, metric=metric, **easy)
        kernel = _with_step_size(kernel, np.log(kernel.default_step_size(dim)))
        step = step_size.start(kernel.step_size)
        made = {"step": step, "positions": positions, "gradients": gradients, "judged": np.int32(0)}
        return state._replace(**made, settled=np.int32(until), length=length.Length()), kernel

    def lengthened(self, state: TuningState, kernel: Any, t: int, total: int, positions: np.ndarray) -> tuple:
        """State and kernel with longer trajectories, where positions (chain, iteration, dim) say that these pay."""
        if "length" not in dict(self.strict) or not max(SETTLED * total, state.settled) < t < total:
            return state, kernel
        new = length.update(state.length, *length.slowest(positions))
        ratio = new.factor / state.length.factor
        kernel = dataclasses.replace(kernel, length=np.asarray(kernel.length * ratio, kernel.length.dtype))
        return state._replace(length=new), kernel

    def _made_strict(
        self, state: TuningState, kernel: Any, t: int, total: int, rates: tuple[Any, Any], met: Any
    ) -> tuple[TuningState, Any]:
        """Stricter settings after a window in which too many proposals were poor, or where that is not known.

        Only where the step size was about right: of too long steps many proposals are poor on any target.
        """
        rate, poor = rates
        tells = ~np.less(rate, kernel.target_acceptance - NEAR)
        latest = np.concatenate([state.poor[..., 1:], np.broadcast_to(poor, tells.shape)[..., None]], -1)
        judged = np.minimum(state.judged + tells, STEPS)
        state = state._replace(poor=np.where(tells[..., None], latest, state.poor), judged=judged)
        if t not in self.windows(total):
            return state, kernel
        if t >= CALM * total:
            mapped = np.asarray(state.settled) > 0
            most = POOR_SHARE * np.where(met > LEAST_MET, WALLED, np.where(mapped, MAPPED, 1))
            known = np.arange(STEPS) >= STEPS - judged[..., None]
            share = np.where(known, state.poor, 0.0).sum(-1) / np.maximum(judged, 1)
            where = (t >= np.asarray(state.settled)) & ~(share <= most)
            kernel = self._stricter(kernel, mapped, ~(share <= VERY * most), where)
        return state._replace(judged=np.zeros_like(judged)), kernel

    def _stricter(self, kernel: Any, mapped: Any, very: Any, where: Any) -> Any:
        """The next stricter settings there: a higher acceptance rate; then, or at once, the highest and longer paths.

        A map needs no more length.
        """
        at_once = very | (kernel.target_acceptance >= MIDDLE_RATE)
        changes = {}
        for name, value in self.strict:
            old = getattr(kernel, name)
            new = np.where(at_once, value, MIDDLE_RATE)
            if name == "length":
                new = np.where(at_once & ~mapped, value, old)
            changes[name] = np.where(where, new, old).astype(old.dtype)
        return dataclasses.replace(kernel, **changes)

    def _between_walls(self, state: TuningState, kernel: Any, turns: Any) -> Any:
        """The kernel with its length, or that of a path between walls, of whose steps this share turns back."""
        if "length" not in dict(self.strict):
            return kernel
        strict = (kernel.target_acceptance > BETWEEN_RATES) & (np.asarray(state.settled) == 0)
        longest = np.where(strict, dict(self.strict)["length"], EASY["length"]) * state.length.factor
        found = np.fmin(longest, BETWEEN_WALLS * kernel.step_size.astype(float) / np.fmax(turns, 1e-9))
        return dataclasses.replace(kernel, length=found.astype(kernel.length.dtype))

    def _capped(self, kernel: Any, most: Any, steps: int) -> Any:
        """The kernel with at most so many leapfrog steps an iteration."""
        if not self.caps:
            return kernel
        limit = steps if self.caps == "max_steps" else steps.bit_length() - 1
        return dataclasses.replace(kernel, **{self.caps: np.minimum(most, np.int32(limit))})

    def _close_window(self, state: TuningState, kernel: Any, settled: bool) -> tuple[TuningState, Any]:
        old = new = kernel.metric
        changed: Any = False
        rows = state.positions, state.gradients if state.gradients.shape[-2] else None
        if self.tunes_metric and state.positions.ndim > 2:
            new, changed = metrics_of(*rows, old, settled)
        elif self.tunes_metric:
            new = metric_of(*rows, old, settled)
            changed = new is not old
        if self.tunes_step_size and np.any(changed):
            lead = state.positions.ndim - 2
            ratio = np.where(changed, np.clip(_size(old, lead) / _size(new, lead), 0.1, 10.0), 1.0)
            other = _with_step_size(kernel, state.step.log_step + np.log(ratio))
            begun = step_size.start(other.step_size)
            kernel = dataclasses.replace(kernel, step_size=np.where(changed, other.step_size, kernel.step_size))
            state = state._replace(step=step_size.Search(*map(partial(np.where, changed), begun, state.step)))
        nothing = state.positions[..., :0, :]
        return state._replace(positions=nothing, gradients=nothing), dataclasses.replace(kernel, metric=new)


def _without_walls(rates: Any) -> tuple[Any, Any, Any, Any]:
    """Acceptance rate, less where most steps turn back at walls; shares of poor proposals, such steps, all at walls."""
    rate, poor, free = (rates[..., i] for i in range(3))
    return rate * np.fmin(1.0, free / LEAST_FREE), poor, 1.0 - free, 1.0 - rates[..., -1]


def no_ends(dim: int) -> np.ndarray:
    """The ends (2, dim) of coordinates that have none."""
    return np.array([[-np.inf], [np.inf]]) + np.zeros(dim)


def _cap(t: int, total: int) -> int:
    """The most steps after `t` iterations of warmup: 16, twice as many with each window, and then any number."""
    closed = sum(int(f * total) <= t for f in WINDOWS)
    return EARLY_STEPS * 2 ** max(closed - 1, 0) if closed < len(WINDOWS) - 1 else NO_CAP


def _with_rows(held: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """More rows (..., row, dim); of many, some that lie evenly."""
    n, dim = rows.shape[-2:]
    most = ROWS if dim <= DENSE_UP_TO else min(MANY_ROWS, max(64, ROW_NUMBERS // dim))
    if n > most:
        rows = rows[..., np.linspace(0, n - 1, most).astype(int), :]
    return merged(held, rows)


def merged(held: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Both in the order of their chains, which either has: a chain's rows stay together, to be fitted or held out."""
    if not held.shape[-2]:
        return rows
    return np.concatenate([held, rows], -2)[..., _order(held.shape[-2], rows.shape[-2]), :]


@lru_cache(maxsize=256)
def _order(held: int, more: int) -> np.ndarray:
    """The order in which two lists of rows are merged."""
    places = [(np.arange(n) + 0.5) / max(n, 1) for n in (held, more)]
    return np.argsort(np.concatenate(places), kind="stable")


def _iterations(fractions: tuple[float, ...], total: int) -> set[int]:
    return {int(f * total) for f in fractions}


def _with_step_size(kernel: Any, log_step: Any) -> Any:
    return dataclasses.replace(kernel, step_size=np.exp(log_step).astype(kernel.step_size.dtype))


def _size(metric: Any, lead: int) -> Any:
    """The typical scale of a metric: the geometric mean of its factor's diagonal."""
    dense = metric.factor.ndim > lead + 1
    diagonal = np.diagonal(metric.factor, axis1=-2, axis2=-1) if dense else metric.factor
    return np.exp(np.mean(np.log(diagonal), -1))


@tunes(object)
def prepare_pooled(kernel: Any, dim: int, dtype: Any, saved: list | None) -> tuple[Any, Pooled | None]:
    """A kernel of any kind: its step size and its metric are tuned, where it has them and left them None."""
    return _prepared(kernel, dim, dtype, saved, [])


@tunes(HMC)
def prepare_hmc(kernel: HMC, dim: int, dtype: Any, saved: list | None) -> tuple[HMC, Pooled | None]:
    """HMC: besides, the settings that were left None become stricter where proposals are poor."""
    easy = [name for name in EASY if getattr(kernel, name) is None]
    kernel = dataclasses.replace(kernel, **{name: EASY[name] for name in easy})
    return _prepared(kernel, dim, dtype, saved, easy if "target_acceptance" in easy else [])


@tunes(Multiscale)
def prepare_multiscale(kernel: Multiscale, dim: int, dtype: Any, saved: list | None) -> tuple[Multiscale, Any]:
    """Multiscale: a map may be found without a metric too, which is its default."""
    kernel, tuner = _prepared(kernel, dim, dtype, saved, [])
    plain = kernel.metric.factor.ndim == 1 and bool(np.all(kernel.metric.factor == 1))
    if tuner is not None and tuner.tunes_step_size and plain:
        tuner = dataclasses.replace(tuner, finds_map=True)
    return kernel, tuner


def _prepared(kernel: Any, dim: int, dtype: Any, saved: list | None, strict: list[str]) -> tuple[Any, Pooled | None]:
    fields = set(getattr(kernel, "__dataclass_fields__", ()))
    tunes_step_size = "step_size" in fields and kernel.step_size is None
    tunes_metric = "metric" in fields and kernel.metric is None
    changes: dict[str, Any] = {}
    if "step_size" in fields:
        changes["step_size"] = kernel.default_step_size(dim) if tunes_step_size else kernel.step_size
    if "metric" in fields:
        metric = on_host(kernel.metric, dim)
        changes["metric"] = _tuned_form(metric.factor) if tunes_metric and metric.factor.ndim == 1 else metric
        if "ends" in fields and kernel.ends is ENDS_TO_FIND:
            changes["ends"] = no_ends(dim) if tunes_metric and isinstance(changes["metric"], Metric) else None
    if changes:
        kernel = dataclasses.replace(kernel, **changes)
    kernel = jax.tree.map(lambda leaf: _as_array(leaf, dtype), kernel)
    if saved is not None:
        tunes_step_size, tunes_metric, strict = saved or (False, False, [])
    if not tunes_step_size and not tunes_metric:
        return kernel, None
    caps = next((name for name in ("max_steps", "max_tree_depth") if name in fields), "")
    stricter = tuple((n, STRICT[n]) for n in strict if tunes_step_size)
    return kernel, Pooled(tunes_step_size, tunes_metric, caps, stricter, tunes_metric and tunes_step_size)


def _tuned_form(deviations: np.ndarray) -> Any:
    """A diagonal metric in the form that warmup tunes: diagonal in one dimension, dense, of low rank in many."""
    dim = len(deviations)
    if dim == 1:
        return Metric(deviations)
    if dim <= DENSE_UP_TO:
        return Metric(np.diag(deviations))
    return LowRank(deviations, np.zeros((dim, RANK)), np.ones(RANK))


def _plain(metric: Any) -> Any:
    """The metric of this form that does nothing."""
    dim = metric.factor.shape[0]
    if isinstance(metric, LowRank):
        return LowRank(np.ones(dim), np.zeros_like(metric.directions), np.ones_like(metric.variances))
    return Metric(np.ones(dim) if metric.factor.ndim == 1 else np.eye(dim))


def _as_array(leaf: Any, dtype: Any) -> Any:
    if isinstance(leaf, bool | int):
        return np.asarray(leaf, np.bool_ if isinstance(leaf, bool) else np.int32)
    if isinstance(leaf, float) or (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
        return np.asarray(leaf, dtype)
    return leaf
