"""What is checked and reported between two chunks of iterations."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mcmc.diagnostics.streaming import Moments
from mcmc.engine.labels import labels_of
from mcmc.engine.loop import Chains
from mcmc.engine.progress import Reporter, Update
from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.errors import Result, SamplingError
from mcmc.warmup.geometry.triangular_map import moved

MOMENTS_NUMBERS = 2**12


@dataclass
class Outputs:
    """Where what a run makes goes: its reports, its draws (None: nowhere) and their moments (None: not wanted)."""

    reporter: Reporter
    recorder: Any = None
    moments: Moments | None = None

    @property
    def shown(self) -> bool:
        """Whether anything of the run is shown."""
        return type(self.reporter) is not Reporter

    @property
    def bytes_written(self) -> int:
        """What has been written of the draws."""
        return getattr(self.recorder, "bytes_written", 0)


class Monitor:
    """Watches one phase of a run, from where it is in its phase to iteration `stop`."""

    def __init__(self, run: Run, outputs: Outputs, iteration: int, stop: int):
        self.run, self.outputs, self.first, self.stop = run, outputs, iteration, stop
        warmup = run.plan.settings.warmup
        self.phase: Literal["warmup", "sampling"] = "sampling" if iteration >= warmup else "warmup"
        self.base = warmup if self.phase == "sampling" else 0
        self.began = time.perf_counter()
        names = [statistic.name for statistic in run.statistics]
        self._counted = names.index("n_steps") if "n_steps" in names else None
        self._gradients: int | None = None  # gradient evaluations since this phase was entered

    def check(self, chains: list[Chains], iteration: int) -> None:
        """Raise SamplingError for a chain whose log density is not finite any more."""
        lp = self.run.log_densities(chains)
        if np.isfinite(lp).all():
            return
        chain = int(np.flatnonzero(~np.isfinite(lp))[0])
        code = Result.INFINITE if np.isposinf(lp[chain]) else Result.LOST
        z = self.run.layout.join([c.state.position for c in chains])[[chain]].astype(float)
        at = self.run.target.describe(moved(self.run.layers, (), z)[0].astype(self.run.plan.dtype))
        where = ", ".join(f"{name} = {np.array2string(value, precision=6)}" for name, value in at.items())
        self.outputs.reporter.close()
        raise SamplingError(
            f"log_density: chain {chain} reached {lp[chain]} at {where} before iteration {iteration}; "
            f"expected a finite log density. {code.remedy}",
            chain=chain,
            position=at,
            code=code.code,
        )

    def count(self, n: int, thin: int) -> None:
        """Count the gradient evaluations of `n` rows."""
        if not self.outputs.shown or self._counted is None:
            return
        layout = self.run.layout
        steps = layout.local([rows.statistics[self._counted] for rows in self.run.programs.rows])[:, :n]
        self._gradients = (self._gradients or 0) + int(steps.sum(dtype=np.int64)) * thin * layout.processes.count

    def see(self, n: int) -> None:
        """Take `n` rows into the moments: of many chains, every few rows."""
        outputs, layout = self.outputs, self.run.layout
        outputs.moments = outputs.moments or Moments()
        every = 1 + layout.chains * self.run.traced.width // MOMENTS_NUMBERS
        outputs.moments.update(layout.local([rows.kept for rows in self.run.programs.rows])[:, :n:every])

    def report(self, progress: Progress, rate: np.ndarray, moments: Moments | None) -> None:
        """Report where the run is, its mean acceptance rates, and what the moments say of convergence."""
        reporter, sampling = self.outputs.reporter, self.phase == "sampling"
        rhat = ess = None
        if moments is not None and reporter.wants_statistics(last=progress.iteration == self.stop):
            start = time.perf_counter()
            rhat, ess = moments.worst()
            if reporter.takes_moments and sampling:
                reporter.take_moments(moments, labels_of(self.run.target, self.run.traced.columns))
            reporter.statistics_took(time.perf_counter() - start)
        done = progress.iteration - self.base
        whole = done / max(progress.iteration - self.first, 1)  # of the phase, of which this call may be the last part
        update = Update(
            self.phase,
            done,
            self.stop - self.base,
            self.run.layout.chains,
            (time.perf_counter() - self.began) * whole,
            shown_rate(self.run.kernel, rate),
            sum(int(np.asarray(c.diverging).sum()) for c in progress.chains) if sampling else 0,
            rhat,
            ess,
            self.outputs.bytes_written if sampling else 0,
            None if self._gradients is None else int(self._gradients * whole),
        )
        reporter.update(update)


def shown_rate(kernel: Any, rates: np.ndarray) -> float:
    """The acceptance rate to report: what a kernel of several parts says, or the first of its rates."""
    summary = getattr(kernel, "summary_rate", None)
    return float(summary(rates) if summary else rates.flat[0])
