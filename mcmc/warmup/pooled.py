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
    """What warmup carries from one iteration to the next."""

    step: step_size.DualAveraging
    moments: moments.Moments


@dataclass(frozen=True)
class Pooled:
    """Tunes what a kernel left None: the step size by dual averaging, the metric in growing windows.

    The metric is estimated anew in windows that end at 5, 10, 20, 35, 55 and 80 % of warmup; the last fifth tunes
    the step size alone. A kernel with `max_steps` keeps it small in the first tenth, where the metric is not known.
    """

    tunes_step_size: bool
    tunes_metric: bool
    caps_steps: bool

    def init(self, kernel: Any) -> TuningState:
        """The state before the first iteration of a kernel whose fields are arrays."""
        return TuningState(step_size.start(kernel.step_size, np), moments.empty(kernel.metric.factor, np))

    def during(self, kernel: Any, t: jax.Array, total: jax.Array) -> Any:
        """The kernel of iteration `t` of warmup."""
        if not self.caps_steps:
            return kernel
        early = t < EARLY * total
        return dataclasses.replace(
            kernel, max_steps=jnp.where(early, jnp.minimum(kernel.max_steps, EARLY_STEPS), kernel.max_steps)
        )

    def update(
        self, state: TuningState, kernel: Any, t: jax.Array, total: jax.Array, positions: jax.Array, rates: jax.Array
    ) -> tuple[TuningState, Any]:
        """After iteration `t` of `total`: positions (chain, dim) and acceptance rates (chain,) of all chains."""
        step, seen = state
        if self.tunes_step_size:
            rate = jnp.mean(jnp.where(jnp.isnan(rates), 0.0, rates))
            target = jnp.asarray(kernel.target_rate(positions.shape[1]), rate.dtype)
            step = step_size.update(step, rate, target)
            last = t + 1 >= total
            log_step = jnp.where(last, step.log_average, step.log_step)
            kernel = dataclasses.replace(kernel, step_size=jnp.exp(log_step))
        if self.tunes_metric:
            seen = moments.add(seen, positions)
            ends = jnp.stack([jnp.floor(total * f).astype(jnp.int32) for f in WINDOWS])
            step, seen, kernel = jax.lax.cond(
                jnp.any(t + 1 == ends), self._close_window, lambda *args: args, step, seen, kernel
            )
        return TuningState(step, seen), kernel

    def _close_window(self, step: Any, seen: Any, kernel: Any) -> tuple:
        factor = moments.factor_of(seen, kernel.metric.factor)
        if self.tunes_step_size:
            ratio = _size(kernel.metric.factor) / _size(factor)
            guess = kernel.step_size * jnp.clip(ratio, 0.1, 10.0)
            step = step_size.start(guess)
            kernel = dataclasses.replace(kernel, step_size=guess)
        return step, moments.empty(factor), dataclasses.replace(kernel, metric=Metric(factor))


def _size(factor: jax.Array) -> jax.Array:
    """The typical scale of a metric: the geometric mean of its factor's diagonal."""
    diagonal = factor if factor.ndim == 1 else jnp.diag(factor)
    return jnp.exp(jnp.mean(jnp.log(diagonal)))


def prepare(kernel: Any, dim: int, dtype: Any) -> tuple[Any, Pooled | None]:
    """The kernel with arrays in place of what was None, and what tunes it (None: nothing is to be tuned)."""
    fields = {f.name for f in dataclasses.fields(kernel)} if dataclasses.is_dataclass(kernel) else set()
    tunes_step_size = "step_size" in fields and kernel.step_size is None
    tunes_metric = "metric" in fields and kernel.metric is None
    changes = {}
    if "step_size" in fields:
        changes["step_size"] = kernel.default_step_size(dim) if tunes_step_size else kernel.step_size
    if "metric" in fields:
        metric = on_host(kernel.metric, dim)
        dense = tunes_metric and 1 < dim <= DENSE_UP_TO
        changes["metric"] = Metric(np.diag(metric.factor)) if dense else metric
    kernel = dataclasses.replace(kernel, **changes) if changes else kernel
    kernel = jax.tree.map(lambda leaf: _as_array(leaf, dtype), kernel)
    if not tunes_step_size and not tunes_metric:
        return kernel, None
    return kernel, Pooled(tunes_step_size, tunes_metric, "max_steps" in fields)


def _as_array(leaf: Any, dtype: Any) -> Any:
    if isinstance(leaf, bool | int):
        return np.asarray(leaf, np.bool_ if isinstance(leaf, bool) else np.int32)
    if isinstance(leaf, float) or (hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)):
        return np.asarray(leaf, dtype)
    return leaf
