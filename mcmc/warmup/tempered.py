"""Warmup of parallel tempering: a step size a replica, one covariance for all, and the inverse temperatures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from mcmc.kernels.metric import LowRank, Metric
from mcmc.kernels.tempered import SPACING, Tempered, first_betas
from mcmc.warmup import step_size
from mcmc.warmup.pooled import Pooled
from mcmc.warmup.registry import prepare, tunes

LEAST_REJECTION = 1e-3


class ReplicasState(NamedTuple):
    """The state of each replica's tuner; rejection rates of swaps (pair,), summed since the last window, and over how
    many adaptation steps.
    """

    replicas: tuple
    rejected: Any
    count: Any


@dataclass(frozen=True)
class ByReplica:
    """A tuner a replica (none where the kernel has nothing to tune), and the inverse temperatures.

    The first tuner sees the draws and finds the metric; where a window closes, the other replicas' metrics follow
    from it, and inverse temperatures move to where all swaps would be rejected equally often.
    """

    tuners: tuple
    tunes_temperatures: bool

    @property
    def tunes_step_size(self) -> list[bool]:
        """Whether step sizes, and inverse temperatures, are tuned."""
        return [bool(self.tuners) and self.tuners[0].tunes_step_size, self.tunes_temperatures]

    @property
    def tunes_metric(self) -> bool:
        """Whether the metric is tuned."""
        return bool(self.tuners) and self.tuners[0].tunes_metric

    @property
    def tunes_strictness(self) -> list[str]:
        """Which settings of the replicas' kernels become stricter where proposals are poor."""
        return self.tuners[0].tunes_strictness if self.tuners else []

    def init(self, kernel: Tempered) -> tuple[ReplicasState, Tempered]:
        """The tuners' states and the kernel before the first iteration."""
        begun = [tuner.init(k) for tuner, k in zip(self.tuners, _replicas(kernel), strict=False)]
        state = ReplicasState(tuple(s for s, _ in begun), np.zeros(kernel.temperatures - 1), np.float64(0.0))
        return state, _joined(kernel, [k for _, k in begun]) if begun else kernel

    def windows(self, total: int) -> set[int]:
        """The iterations after which there are new metrics and inverse temperatures."""
        return Pooled(True, True).windows(total)

    def steps(self, total: int) -> list[int]:
        """The iterations after which `adjust` is called."""
        return Pooled(True, True).steps(total)

    def adjust(
        self, state: ReplicasState, kernel: Tempered, t: int, total: int, rate: Any, positions: np.ndarray, _: None
    ) -> tuple[ReplicasState, Tempered]:
        """After `t` iterations of `total`: the rates of replicas and swaps, the draws (n, dim) since the last step."""
        moved = kernel.temperatures - 1
        replicas, kernels = list(state.replicas), _replicas(kernel)
        for r, tuner in enumerate(self.tuners):
            replicas[r], kernels[r] = tuner.adjust(replicas[r], kernels[r], t, total, rate[r], positions, None)
        rejected = state.rejected + 1.0 - np.nan_to_num(rate[moved:])
        state = ReplicasState(tuple(replicas), rejected, state.count + 1.0)
        if t in self.windows(total):
            if self.tunes_temperatures:
                betas = equalised(np.asarray(kernel.inverse_temperatures, float), state.rejected / state.count)
                dtype = kernel.inverse_temperatures.dtype
                kernel = dataclasses.replace(kernel, inverse_temperatures=betas.astype(dtype))
            replicas = self._follow(replicas, kernels, kernel)
            state = ReplicasState(tuple(replicas), np.zeros(moved), np.float64(0.0))
        return state, _joined(kernel, kernels) if self.tuners else kernel

    def _follow(self, replicas: list, kernels: list, kernel: Tempered) -> list:
        """Metrics of the other replicas (put into `kernels`) by the first one's; their step sizes are sought anew."""
        for r in range(1, len(self.tuners)):
            if self.tunes_metric:
                new = tempered_metric(kernels[0].metric, kernel.inverse_temperatures[r], kernel.reference_scale)
                kernels[r] = dataclasses.replace(_rescaled(kernels[r], new, self.tuners[r]), metric=new)
            if self.tuners[r].tunes_step_size:
                replicas[r] = replicas[r]._replace(step=step_size.start(kernels[r].step_size))
        return replicas


def equalised(betas: np.ndarray, rejections: np.ndarray) -> np.ndarray:
    r"""Inverse temperatures at equal distances by Λ(β), the rejection rates of swaps summed from 1 down to β.

    Between the old ones Λ is taken to be linear in β^(1/3). What can't be rejected still has a distance.

    Source: Syed, Bouchard-Côté, Deligiannidis & Doucet 2022, section 5.
    """
    barrier = np.concatenate([[0.0], np.cumsum(np.maximum(rejections, LEAST_REJECTION))])
    new = np.interp(np.linspace(0.0, barrier[-1], len(betas)), barrier, betas ** (1 / SPACING)) ** SPACING
    new[0], new[-1] = 1.0, 0.0
    return new


def tempered_metric(metric: Metric, beta: Any, scale: Any) -> Metric:
    """The covariance (β C⁻¹ + (1 − β) s⁻² I)⁻¹ that a normal target of covariance C has at β."""
    from scipy.linalg import solve_triangular

    beta, dtype, dim = float(beta), metric.factor.dtype, metric.factor.shape[0]
    precision = np.broadcast_to((1.0 - beta) / np.asarray(scale, float) ** 2, (dim,))
    if metric.factor.ndim == 1:
        return Metric((1.0 / np.sqrt(beta / np.asarray(metric.factor, float) ** 2 + precision)).astype(dtype))
    factor = np.asarray(metric.factor, float)  # C_β = F M⁻¹ Fᵀ, M = β I + Fᵀ diag(precision) F = Rᵀ R
    rows = np.concatenate([np.sqrt(precision)[:, None] * factor, np.sqrt(beta) * np.eye(dim)])
    root = np.linalg.qr(solve_triangular(np.linalg.qr(rows, "r"), factor.T, trans=1), "r").T
    return Metric((root * np.sign(np.diag(root))).astype(dtype))


@tunes(Tempered)
def prepare_replicas(kernel: Tempered, dim: int, dtype: Any, saved: list | None) -> tuple[Tempered, Any]:
    """`prepare` for every replica; `saved` is what a saved run says of its tuner, or empty."""
    moved = kernel.temperatures - 1
    one = None if saved is None else [saved[0][0], saved[1], saved[2]] if saved else []
    inner, tuner = prepare(kernel.kernel, dim, dtype, one)
    if tuner and tuner.tunes_metric and isinstance(inner.metric, LowRank):
        inner = dataclasses.replace(inner, metric=Metric(inner.metric.factor))
    tunes_temperatures = kernel.inverse_temperatures is None if saved is None else bool(saved and saved[0][1])
    betas = first_betas(kernel.temperatures) if kernel.inverse_temperatures is None else kernel.inverse_temperatures
    kernel = dataclasses.replace(
        kernel,
        reference_scale=np.asarray(kernel.reference_scale, dtype),
        inverse_temperatures=np.asarray(betas, dtype),
        replicated=True,
    )
    tuners = ()
    if isinstance(tuner, Pooled):
        tuners = (tuner, *(dataclasses.replace(tuner, tunes_metric=False),) * (moved - 1))
    nothing = not tuners and not tunes_temperatures
    return _joined(kernel, [inner] * moved), None if nothing else ByReplica(tuners, tunes_temperatures)


def _rescaled(kernel: Any, metric: Metric, tuner: Pooled) -> Any:
    """The kernel with steps of about the same length under another metric, where its step size is tuned."""
    if not tuner.tunes_step_size:
        return kernel
    old, new = (m.factor if m.factor.ndim == 1 else np.linalg.norm(m.factor, axis=1) for m in (kernel.metric, metric))
    ratio = np.clip(np.exp(np.mean(np.log(old / new))), 0.1, 10.0)
    return dataclasses.replace(kernel, step_size=(kernel.step_size * ratio).astype(kernel.step_size.dtype))


def _replicas(kernel: Tempered) -> list:
    """The kernels of the replicas that move, one by one."""

    def own(r: int) -> Any:
        return jax.tree.map(lambda a: a[r] if hasattr(a, "dtype") else a, kernel.kernel)

    return [own(r) for r in range(kernel.temperatures - 1)]


def _joined(kernel: Tempered, kernels: list) -> Tempered:
    """The same with these kernels, arrays stacked."""
    stacked = jax.tree.map(lambda *a: np.stack(a) if hasattr(a[0], "dtype") else a[0], *kernels)
    return dataclasses.replace(kernel, kernel=stacked)
