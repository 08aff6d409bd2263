"""A run: its plan, what tunes its kernel, where its chains lie, and its programs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import numpy as np

from mcmc.engine.devices import Layout
from mcmc.engine.kernel_form import KernelForm, kernel_shapes
from mcmc.engine.loop import Chains, Span, Statistic
from mcmc.engine.plan import Plan
from mcmc.engine.programs import Programs
from mcmc.engine.progress_state import Progress, Timings
from mcmc.storage.recorder import Kept, Recorder
from mcmc.target.target import Target
from mcmc.target.traced import Traced
from mcmc.warmup.geometry.triangular_map import Layer, mapped


@dataclass
class Run:
    """What the steps of a run share. The plan's kernel has arrays in place of all that is to be tuned.

    `layers` are those of the map from the kernel's positions to the target's, found in warmup. `starts` are where
    chains began; `may_improve` says that they may begin again from better ones, `stopped` why the run ended;
    `given_starts` are those of a user's `init`, by parameter; `on_adaptation` is called after every adaptation
    step. `walls` are those that warmup met; `finding` is why its settings are to be left, `seen` what was found at
    the end where it did not converge, `deadline` when the clock ends it; `places` is what its target tells of
    chains that do not agree.
    """

    plan: Plan
    tuner: Any
    layout: Layout
    starts: np.ndarray | None = None
    given_starts: dict[str, np.ndarray] = field(default_factory=dict)
    may_improve: bool = False
    layers: tuple[Layer, ...] = ()
    stopped: str = ""
    walls: dict[str, Any] = field(default_factory=dict)
    finding: Any = None
    seen: str = ""
    places: dict[str, Any] = field(default_factory=dict)
    deadline: float | None = None
    on_adaptation: Callable[[Progress], None] = lambda _: None
    timings: Timings = field(default_factory=Timings)
    began: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.start_tuning: Any = ()
        self.kernel = self.plan.kernel
        if self.tuner:
            self.start_tuning, self.kernel = self.tuner.init(self.kernel)
        self.form = KernelForm(self.kernel)
        self.shapes = kernel_shapes(self.form, self.kernel, self.plan)
        self.target_traced = self.plan.traced
        self.programs = Programs(self.plan, self.form, self.shapes, self.layout, self.timings)

    @property
    def target(self) -> Target:
        """What is sampled."""
        return self.plan.target

    @property
    def traced(self) -> Traced:
        """The target as the programs have it."""
        return self.plan.traced

    def programs_under(self, layers: tuple[Layer, ...]) -> Programs:
        """Programs whose kernel moves in front of this map."""
        plan = replace(self.plan, traced=mapped(self.target_traced, layers, self.plan.dtype))
        return Programs(plan, self.form, self.shapes, self.layout, self.timings)

    def use(self, layers: tuple[Layer, ...], programs: Programs) -> None:
        """Go on with the programs of this map."""
        self.layers, self.programs, self.plan = layers, programs, programs.plan

    @property
    def kept(self) -> Kept:
        """What is kept of the draws."""
        return self.plan.kept

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """What is recorded of each draw besides the parameters."""
        return self.shapes.statistics

    @property
    def has_gradient(self) -> bool:
        """Whether the kernel's states hold gradients."""
        return hasattr(self.shapes.state, "gradient")

    def recorder(self, draws: int) -> Recorder:
        """Room on the host for so many draws of each chain of this process, in the types asked for."""
        columns, statistics = self.kept.typed(self.traced.columns), self.kept.typed(self.statistics)
        return Recorder(columns, statistics, self.layout.own, draws)

    def together(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What was recorded of this process's chains, for the chains of all."""
        return {name: self.layout.together(array) for name, array in arrays.items()}

    def begin(self, positions: np.ndarray) -> tuple[Progress, np.ndarray, np.ndarray]:
        """Chains at these positions (chain, dim), their log densities, and whether these and gradients are finite."""
        progress = Progress(self.form.start, self.start_tuning, self.fresh(positions))
        made = self.joined(progress).state
        finite = np.isfinite(made.lp)
        if self.has_gradient:
            finite &= np.isfinite(made.gradient).all(1)
        return progress, made.lp, finite

    def fresh(self, positions: np.ndarray) -> list[Chains]:
        """Chains at these positions (chain, dim), under the first kernel."""
        return self.programs.call(self.form.start, self.programs.blank(positions), Span.of(0, 0, fresh=True))

    def joined(self, progress: Progress) -> Chains:
        """The chains of all devices on the host, (chain, ...)."""
        return jax.tree.map(lambda *parts: self.layout.join(list(parts)), *progress.chains)

    def log_densities(self, chains: list[Chains]) -> np.ndarray:
        """The log densities of all chains (chain,)."""
        return self.layout.join([c.state.lp for c in chains])
