"""What tuners of kernels that are made of several have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Parts:
    """A tuner for each of several kernels (None: nothing is to be tuned)."""

    tuners: tuple

    @property
    def tunes_step_size(self) -> list[bool]:
        """Of each kernel, whether its step size is tuned."""
        return [bool(tuner and tuner.tunes_step_size) for tuner in self.tuners]

    @property
    def tunes_metric(self) -> list[bool]:
        """Of each kernel, whether its metric is tuned."""
        return [bool(tuner and tuner.tunes_metric) for tuner in self.tuners]

    @property
    def tunes_strictness(self) -> list[list[str]]:
        """Of each kernel, which settings become stricter where proposals are poor."""
        return [tuner.tunes_strictness if tuner else [] for tuner in self.tuners]
