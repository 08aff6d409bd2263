"""The state of a run on its way, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mcmc.engine.loop import Chains


@dataclass
class Progress:
    """All that is needed to go on bit for bit: kernel, tuning, chains (one a device)."""

    leaves: list
    tuning: Any
    chains: list[Chains]
    iteration: int = 0
    lost: list[int] = field(default_factory=list)
    reseeded: set[int] = field(default_factory=set)
    improved: bool = False


@dataclass
class Timings:
    """Seconds spent compiling, in warmup and in sampling."""

    compile_time: float = 0.0
    warmup_time: float = 0.0
    sampling_time: float = 0.0
