"""All tuners, registered; `prepare` finds the one for a kernel."""

from mcmc.warmup import gibbs as gibbs
from mcmc.warmup import mixture as mixture
from mcmc.warmup import pooled as pooled
from mcmc.warmup import tempered as tempered
from mcmc.warmup.registry import Tuner, prepare

__all__ = ["Tuner", "prepare"]
