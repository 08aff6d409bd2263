"""Sequential Monte Carlo as a choice of `sample`: its settings; the passage itself is in `mcmc.evidence`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from mcmc.words import kernel_words


@kernel_words
@dataclass(frozen=True)
class SMC:
    r"""Sequential Monte Carlo from prior to posterior, for a target that knows its prior and may have several modes.

    Particles of the prior are carried through π_β ∝ prior · L^β, β from 0 to 1, and moved by a kernel at each β
    (`mcmc.evidence` has the method and what it needs). Modes that the prior's draws lead to keep their shares. What
    comes back are the particles at β = 1, 16 independent islands as chains, with the log evidence in the attributes
    `log_evidence`, `log_evidence_error` and `log_evidence_ok`.

    Of `sample`'s arguments it takes `draws` (kept of each island; None: all, up to 20,000 in total), `seed`, `dtype`
    and `progress`.

    Args:
        kernel: `mcmc.HMC()` or `mcmc.RandomWalk()`, which moves the particles; None: HMC.
        particles: rows that move together, a multiple of 16.
        steps: of the kernel at each temperature.
        path: `"temperatures"`, `"levels"` or None, as in `mcmc.evidence`.

    Source: Del Moral, Doucet & Jasra 2006; Dau & Chopin 2022.

    Example:
        >>> import mcmc
        >>> kernel = mcmc.SMC(particles=256)
    """

    kernel: Any = None
    particles: int = 512
    steps: int = 24
    path: Literal["temperatures", "levels"] | None = None
    needs_gradient: ClassVar[bool] = True
    takes_discrete: ClassVar[bool] = False
