"""Warmup of a mixture of kernels: each by a tuner of its own, from the iterations in which it was drawn."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.kernels.mixture import Mixture, weights_of
from mcmc.warmup.parts import Parts
from mcmc.warmup.registry import prepare, tunes


@dataclass(frozen=True)
class ByKernel(Parts):
    """A tuner a kernel (None: nothing is to be tuned); all see all positions."""

    def init(self, kernel: Mixture) -> tuple[tuple, Mixture]:
        """The tuners' states and the kernel before the first iteration."""
        begun = [t.init(k) if t else ((), k) for t, k in zip(self.tuners, kernel.kernels, strict=True)]
        return tuple(state for state, _ in begun), dataclasses.replace(kernel, kernels=[k for _, k in begun])

    def windows(self, total: int) -> set[int]:
        """The iterations after which a kernel has a new metric."""
        return set().union(*(tuner.windows(total) for tuner in self.tuners if tuner))

    def steps(self, total: int) -> list[int]:
        """The iterations after which `adjust` is called: those of any kernel."""
        return sorted(set().union(*(tuner.steps(total) for tuner in self.tuners if tuner)))

    def adjust(
        self, state: tuple, kernel: Mixture, t: int, total: int, rate: Any, positions: np.ndarray, gradients: None
    ) -> tuple[tuple, Mixture]:
        """After `t` iterations of `total`: rates of each kernel and how often it was drawn, positions (n, dim).

        The acceptance rate of one that was not drawn is taken to be as wanted, so that it changes nothing.
        """
        states, kernels = list(state), list(kernel.kernels)
        summed, drawn = np.split(np.asarray(rate, float), 2)
        for k, tuner in enumerate(self.tuners):
            if tuner:
                wanted = kernels[k].target_rate(positions.shape[-1]) if tuner.tunes_step_size else 1.0
                own = summed[k] / drawn[k] if drawn[k] > 0 else np.float64(wanted)
                states[k], kernels[k] = tuner.adjust(states[k], kernels[k], t, total, own, positions, gradients)
        return tuple(states), dataclasses.replace(kernel, kernels=kernels)


@tunes(Mixture)
def prepare_kernels(kernel: Mixture, dim: int, dtype: Any, saved: list | None) -> tuple[Mixture, ByKernel | None]:
    """`prepare` for every kernel; `saved` is what a saved run says of its tuner, each a list by kernel, or empty."""
    n = len(kernel.kernels)
    each = [None] * n if saved is None else list(map(list, zip(*saved, strict=True))) if saved else [[]] * n
    parts = [prepare(inner, dim, dtype, which) for inner, which in zip(kernel.kernels, each, strict=True)]
    tuners = tuple(tuner for _, tuner in parts)
    weights = np.asarray(weights_of(kernel.weights, n), np.float32)
    ready = dataclasses.replace(kernel, kernels=[inner for inner, _ in parts], weights=weights)
    return ready, ByKernel(tuners) if any(tuners) else None
