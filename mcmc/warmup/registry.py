"""Which kernels are tuned by what: each kind of kernel is registered with the function that makes its tuner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np


class Tuner(Protocol):
    """What changes a kernel in warmup, from all chains together, on the host."""

    @property
    def tunes_step_size(self) -> Any:
        """Whether the step size is tuned; a list where a kernel has several parts."""
        ...

    @property
    def tunes_metric(self) -> Any:
        """Whether the metric is tuned."""
        ...

    @property
    def tunes_strictness(self) -> Any:
        """Which settings become stricter where proposals are poor."""
        ...

    def init(self, kernel: Any) -> tuple[Any, Any]:
        """The state and the kernel before the first iteration."""
        ...

    def windows(self, total: int) -> set[int]:
        """The iterations of a warmup of `total` after which there is a new metric."""
        ...

    def steps(self, total: int) -> list[int]:
        """The iterations of a warmup of `total` after which `adjust` is called."""
        ...

    def adjust(
        self, state: Any, kernel: Any, t: int, total: int, rate: Any, positions: np.ndarray, gradients: Any
    ) -> tuple[Any, Any]:
        """State and kernel after `t` iterations: from acceptance rates, positions and gradients (n, dim)."""
        ...


Prepare = Callable[[Any, int, Any, list | None], tuple[Any, Tuner | None]]
_REGISTERED: dict[type, Prepare] = {}


def tunes(*kinds: type) -> Callable[[Prepare], Prepare]:
    """Register what prepares kernels of these kinds; `object` stands for all others."""

    def register(prepare: Prepare) -> Prepare:
        _REGISTERED.update(dict.fromkeys(kinds, prepare))
        return prepare

    return register


def prepare(kernel: Any, dim: int, dtype: Any, tunes: list | None = None) -> tuple[Any, Tuner | None]:
    """The kernel with arrays in place of what was None, and what tunes it (None: nothing is to be tuned).

    `tunes` says of a saved kernel whether its step size and its metric were tuned, and which settings are to become
    stricter.
    """
    registered = next(_REGISTERED[kind] for kind in type(kernel).__mro__ if kind in _REGISTERED)
    return registered(kernel, dim, dtype, tunes)
