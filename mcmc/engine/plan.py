"""What a run was asked for, checked and with all defaults filled in: what its steps share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mcmc.engine.stopping import Converged
from mcmc.kernels.effort import Effort
from mcmc.storage.recorder import Kept
from mcmc.target.target import Target
from mcmc.target.traced import Traced

if TYPE_CHECKING:
    import xarray

EVERYTHING = Kept()


@dataclass(frozen=True)
class Settings:
    """The numbers of a run."""

    chains: int
    draws: int
    warmup: int
    thin: int
    superchains: np.ndarray | None


@dataclass(frozen=True)
class Plan:
    """All that a run was asked for; `old` is the run that is resumed, with `done` draws a chain, and `tunes` its tuner.

    `lanes` and `devices` say where chains run, `chunk` is the most iterations between two checks, `why` says how the
    kernel was chosen, `effort` how much work it is, `attempts` what was tried and left before (None: the run keeps its
    settings come what may), `may_go_on` whether it draws more where these are all that its verdict lacks.
    """

    target: Target
    traced: Traced
    kernel: Any
    settings: Settings
    key: np.ndarray
    dtype: np.dtype
    kept: Kept = EVERYTHING
    lanes: int | None = None
    devices: tuple[Any, ...] = ()
    chunk: int | None = None
    init: Any = None
    until: Converged | None = None
    reseed: bool = False
    geometry: Literal["auto", "affine"] = "auto"
    save_warmup: bool = False
    store: Path | None = None
    overwrite: bool = False
    why: str = ""
    effort: Effort | None = None
    attempts: tuple[dict[str, Any], ...] | None = None
    tunes: list | None = None
    old: xarray.DataTree | None = None
    done: int = 0
    may_go_on: bool = False

    @property
    def init_name(self) -> str:
        """`init` as it is saved: `none`, a method's name, or `given`."""
        return "none" if self.init is None else self.init if isinstance(self.init, str) else "given"

    @property
    def groups(self) -> np.ndarray:
        """The group that each chain shares its start with (chain,)."""
        groups = self.settings.superchains
        return np.arange(self.settings.chains) if groups is None else groups
