"""Warmup of a step size and a metric from all chains together, in compiled code."""

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


class TuningState(NamedTuple):
    """What warmup carries from one iteration to the next; `max_steps` is what the kernel gets back."""

    step: step_size.DualAveraging
    moments: moments.Moments
    max_steps: Any


@dataclass(frozen=True)
class Pooled:
    """Tunes what a kernel left None: the step size by dual averaging, the metric in growing windows.

    In compiled code, every iteration updates the step size and the moments of the positions (`update`). On the
    host, between chunks that end there (`events`), windows close at 5, 10, 20, 35, 55 and 80 % of warmup and give
    a new metric (`adjust`); the last fifth tunes the step size alone. A kernel with `max_steps` keeps it small
    until the metric is known a little, at 10 %.
    """

    tunes_step_size: bool
    tunes_metric: bool
    caps_steps: bool

    def init(self, kernel: Any) -> tuple[TuningState, Any]:
        """The state and the kernel before the first iteration, for a kernel whose fields are NumPy arrays."""
        most = kernel.max_steps if self.caps_steps else np.int32(0)
        seen = moments.empty(kernel.metric.factor)
        if self.caps_steps:
            kernel = dataclasses.replace(kernel, max_steps=np.minimum(most, np.int32(EARLY_STEPS)))
        return TuningState(step_size.start(kernel.step_size), seen, most), kernel

    def update(
        self, state: TuningState, kernel: Any, positions: jax.Array, rates: jax.Array
    ) -> tuple[TuningState, Any]:
        """After an iteration: positions (chain, dim) and acceptance rates (chain,) of all chains."""
        if self.tunes_step_size:
            rate = jnp.mean(jnp.where(jnp.isnan(rates), 0.0, rates))
            target = jnp.asarray(kernel.target_rate(positions.shape[1]), rate.dtype)
            state = state._replace(step=step_size.update(state.step, rate, target))
            kernel = dataclasses.replace(kernel, step_size=jnp.exp(state.step.log_step))
        if self.tunes_metric:
            state = state._replace(moments=moments.add(state.moments, positions))
        return state, kernel

    def events(self, total: int) -> list[int]:
        """The iterations of a warmup of `total` after which `adjust` is called."""
        return sorted({int(f * total) for f in (*WINDOWS, EARLY)} | {total})

    def adjust(self, state: TuningState, kernel: Any, t: int, total: int) -> tuple[TuningState, Any]:
        """On the host, after `t` iterations of `total`: close a window, lift the cap, settle the step size."""
        state, kernel = jax.tree.map(np.asarray, (state, kernel))
        if self.caps_steps and t >= int(EARLY * total):
            kernel = dataclasses.replace(kernel, max_steps=state.max_steps)
        if self.tunes_metric and t in {int(f * total) for f in WINDOWS}:
            factor = moments.factor_of(state.moments, kernel.metric.factor)
            if self.tunes_step_size:
                ratio = np.clip(_size(kernel.metric.factor) / _size(factor), 0.1, 10.0)
                kernel = dataclasses.replace(kernel, step_size=(kernel.step_size * ratio).astype(factor.dtype))
                state = state._replace(step=step_size.start(kernel.step_size))
            state = state._replace(moments=moments.empty(factor))
            kernel = dataclasses.replace(kernel, metric=Metric(factor))
        if self.tunes_step_size and t == total:
            kernel = dataclasses.replace(kernel, step_size=np.exp(state.step.log_average))
        return state, kernel


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
