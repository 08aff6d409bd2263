"""Warmup of a step size and a metric from all chains together, on the host, between short calls."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.kernels.metric import Metric, on_host
from mcmc.warmup import moments, step_size

DENSE_UP_TO = 200
WINDOWS = (0.05, 0.1, 0.2, 0.35, 0.55, 0.8)
EARLY, EARLY_STEPS = 0.1, 16
SHORT_CALLS = 16


class TuningState(NamedTuple):
    """What warmup carries from one look to the next; `max_steps` is what the kernel gets back."""

    step: step_size.DualAveraging
    moments: moments.Moments
    max_steps: Any


@dataclass(frozen=True)
class Pooled:
    """Tunes what a kernel left None: the step size by dual averaging, the metric in growing windows.

    It looks at all chains after every iteration at first and after every few later (`looks`), and then gives the
    kernel a new step size. Windows close at 5, 10, 20, 35, 55 and 80 % of warmup and give a new metric; the last
    fifth tunes the step size alone. A kernel with `max_steps` keeps it small until the metric is known a little, at
    10 %. All in float64, in chain order, whatever the number of devices.
    """

    tunes_step_size: bool
    tunes_metric: bool
    caps_steps: bool

    def init(self, kernel: Any) -> tuple[TuningState, Any]:
        """The state and the kernel before the first iteration, for a kernel whose fields are NumPy arrays."""
        most = kernel.max_steps if self.caps_steps else np.int32(0)
        if self.caps_steps:
            kernel = dataclasses.replace(kernel, max_steps=np.minimum(most, np.int32(EARLY_STEPS)))
        return TuningState(step_size.start(kernel.step_size), moments.empty(kernel.metric.factor), most), kernel

    def looks(self, total: int, longest: int) -> list[int]:
        """The iterations of a warmup of `total` after which `adjust` is called, at most `longest` apart."""
        ends = _iterations((*WINDOWS, EARLY, 1.0), total)
        found, t = [], 0
        while t < total:
            t = min(t + int(np.clip(t // SHORT_CALLS, 1, longest)), min(e for e in ends if e > t))
            found.append(t)
        return found

    def adjust(
        self, state: TuningState, kernel: Any, t: int, total: int, rate: Any, positions: np.ndarray
    ) -> tuple[TuningState, Any]:
        """After `t` iterations of `total`: the mean acceptance rate and the positions (n, dim) since the last look."""
        if self.tunes_step_size:
            target = kernel.target_rate(positions.shape[1])
            state = state._replace(step=step_size.update(state.step, rate if np.isfinite(rate) else 0.0, target))
            kernel = _with_step_size(kernel, state.step.log_average if t == total else state.step.log_step)
        if self.tunes_metric:
            state = state._replace(moments=moments.add(state.moments, positions))
            if t in _iterations(WINDOWS, total):
                state, kernel = self._close_window(state, kernel)
        if self.caps_steps and t >= int(EARLY * total):
            kernel = dataclasses.replace(kernel, max_steps=np.asarray(state.max_steps))
        return state, kernel

    def _close_window(self, state: TuningState, kernel: Any) -> tuple[TuningState, Any]:
        old = np.asarray(kernel.metric.factor)
        factor = moments.factor_of(state.moments, old)
        if self.tunes_step_size:
            ratio = np.clip(_size(old) / _size(factor), 0.1, 10.0)
            kernel = _with_step_size(kernel, state.step.log_step + np.log(ratio))
            state = state._replace(step=step_size.start(kernel.step_size))
        return state._replace(moments=moments.empty(factor)), dataclasses.replace(kernel, metric=Metric(factor))


def _iterations(fractions: tuple[float, ...], total: int) -> set[int]:
    return {int(f * total) for f in fractions}


def _with_step_size(kernel: Any, log_step: Any) -> Any:
    return dataclasses.replace(kernel, step_size=np.exp(log_step).astype(kernel.step_size.dtype))


def _size(factor: np.ndarray) -> np.floating:
    """The typical scale of a metric: the geometric mean of its factor's diagonal."""
    diagonal = factor if factor.ndim == 1 else np.diag(factor)
    return np.exp(np.mean(np.log(diagonal)))


def prepare(kernel: Any, dim: int, dtype: Any, tunes: list[bool] | None = None) -> tuple[Any, Pooled | None]:
    """The kernel with arrays in place of what was None, and what tunes it (None: nothing is to be tuned).

    `tunes` says of a saved kernel whether its step size and its metric were tuned.
    """
    fields = set(getattr(kernel, "__dataclass_fields__", ()))
    tunes_step_size = "step_size" in fields and kernel.step_size is None
    tunes_metric = "metric" in fields and kernel.metric is None
    changes: dict[str, Any] = {}
    if "step_size" in fields:
        changes["step_size"] = kernel.default_step_size(dim) if tunes_step_size else kernel.step_size
    if "metric" in fields:
        metric = on_host(kernel.metric, dim)
        dense = tunes_metric and 1 < dim <= DENSE_UP_TO
        changes["metric"] = Metric(np.diag(metric.factor)) if dense else metric
    if changes:
        kernel = dataclasses.replace(kernel, **changes)
    kernel = jax.tree.map(lambda leaf: _as_array(leaf, dtype), kernel)
    if tunes is not None:
        tunes_step_size, tunes_metric = tunes or (False, False)
    if not tunes_step_size and not tunes_metric:
        return kernel, None
    return kernel, Pooled(tunes_step_size, tunes_metric, "max_steps" in fields)


def _as_array(leaf: Any, dtype: Any) -> Any:
    if isinstance(leaf, bool | int):
        return np.asarray(leaf, np.bool_ if isinstance(leaf, bool) else np.int32)
    if isinstance(leaf, float) or (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
        return np.asarray(leaf, dtype)
    return leaf
