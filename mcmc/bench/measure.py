"""Timing of compiled calls, rows of the table, and a description of the device."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mcmc.engine.compilation import SWITCH

DTYPE = np.dtype("float32")


@dataclass(frozen=True)
class Row:
    """One measured case: ns for a unit of work, its floors in the same unit, and the seconds that compiling took.

    `ns` is None where the case was left out, and `note` then says why.
    """

    part: str
    case: str
    size: int
    unit: str
    ns: float | None = None
    floors: dict[str, float] = field(default_factory=dict)
    compile_seconds: float | None = None
    per_second: dict[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def over_floor(self) -> float | None:
        """How many times the largest floor it takes."""
        return self.ns / max(self.floors.values()) if self.ns and self.floors else None

    def to_dict(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self) | {"over_floor": self.over_floor}


@dataclass(frozen=True)
class Plan:
    """How much is measured: sizes, repeats, and seconds: of one repeat, and the most that a case may take."""

    chains: tuple[int, ...]
    repeats: int
    seconds: float
    most: float
    samples: int
    rows: int
    tokens: int
    say: Callable[[str], None] = field(default=lambda _: None, compare=False)


def plan_of(quick: bool, say: Callable[[str], None]) -> Plan:
    """What is measured on the default device."""
    small = jax.local_devices()[0].platform == "cpu"
    samples, rows = (2**22, 32) if small else (2**27, 2048)
    if quick:
        return Plan((64, 2048, 65_536), 3, 0.05, 6.0, samples // 4, rows // 2, 32_768, say)
    return Plan((64, 256, 1024, 4096, 16_384, 65_536), 5, 0.3, 30.0, samples, rows, 32_768, say)


def median_seconds(run: Callable[[], Any], repeats: int) -> float:
    """The median of the seconds that `run()`, which awaits its result, takes, after one call that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def free_memory() -> int:
    """Bytes that the default device has free; of a CPU, those that the system has available."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    import psutil

    return psutil.virtual_memory().available


def device() -> dict[str, Any]:
    """A description of the default device, with versions; no names of hosts, users or folders."""
    first = jax.local_devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": first.platform,
        "device": first.device_kind,
        "cpu": _cpu(),
        "cores": cores,
        "free_bytes": free_memory(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "versions": {"jax": jax.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }


def named(found: dict[str, Any]) -> str:
    """The device in one line."""
    if found["platform"] == "cpu":
        return f"{found['cpu']}, {found['cores']} cores"
    return f"{found['device']} ({found['platform']})"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


@contextmanager
def without_cache() -> Iterator[None]:
    """Within, our programs are compiled, not read from the disk, so that their seconds are those of compiling."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before
