"""Warmup of a kernel of several blocks: each block by a tuner of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.kernels.gibbs import Gibbs
from mcmc.warmup.parts import Parts
from mcmc.warmup.registry import prepare, tunes


@dataclass(frozen=True)
class ByBlock(Parts):
    """A tuner a block (None: nothing is to be tuned), each with its acceptance rate and its part of the positions."""

    def init(self, kernel: Gibbs) -> tuple[tuple, Gibbs]:
        """The tuners' states and the kernel before the first iteration."""
        begun = [t.init(k) if t else ((), k) for t, k in zip(self.tuners, kernel.blocks.values(), strict=True)]
        return tuple(state for state, _ in begun), kernel.with_kernels([k for _, k in begun])

    def windows(self, total: int) -> set[int]:
        """The iterations after which a block has a new metric."""
        return set().union(*(tuner.windows(total) for tuner in self.tuners if tuner))

    def steps(self, total: int) -> list[int]:
        """The iterations after which `adjust` is called: those of any block."""
        return sorted(set().union(*(tuner.steps(total) for tuner in self.tuners if tuner)))

    def adjust(
        self, state: tuple, kernel: Gibbs, t: int, total: int, rate: Any, positions: np.ndarray, gradients: None
    ) -> tuple[tuple, Gibbs]:
        """After `t` iterations of `total`: the mean rate of each block (block,), and positions (n, dim)."""
        states, kernels = list(state), list(kernel.blocks.values())
        for b, (tuner, space) in enumerate(zip(self.tuners, kernel.spaces, strict=True)):
            if tuner:
                part = positions[:, space.columns]
                states[b], kernels[b] = tuner.adjust(states[b], kernels[b], t, total, rate[b], part, gradients)
        return tuple(states), kernel.with_kernels(kernels)


@tunes(Gibbs)
def prepare_blocks(kernel: Gibbs, _: int, dtype: Any, saved: list | None) -> tuple[Gibbs, ByBlock | None]:
    """`prepare` for every block; `saved` is what a saved run says of its tuner, each a list by block, or empty."""
    n = len(kernel.spaces)
    each = [None] * n if saved is None else list(map(list, zip(*saved, strict=True))) if saved else [[]] * n
    parts = [
        prepare(inner, space.dim, dtype, which)
        for inner, space, which in zip(kernel.blocks.values(), kernel.spaces, each, strict=True)
    ]
    tuners = tuple(tuner for _, tuner in parts)
    return kernel.with_kernels([inner for inner, _ in parts]), ByBlock(tuners) if any(tuners) else None
