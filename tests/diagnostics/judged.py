"""Runs of known chains, and their diagnosis."""

import numpy as np
from scipy.signal import lfilter

from mcmc.diagnostics import diagnose


def ar(rho, chains, draws, columns=1, start=1.0, seed=0, starts=None):
    """Gaussian AR(1) chains; `starts` gives chains that share one."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(chains, draws, columns)) * np.sqrt(1 - rho**2)
    starts = np.arange(chains) if starts is None else starts
    noise[:, 0] = start * rng.normal(size=(chains, columns))[starts]
    return lfilter([1], [1, -rho], noise, axis=1)


def judge(posterior, quick=False, **groups):
    posterior = posterior if isinstance(posterior, dict) else {"x": posterior}
    return diagnose({"posterior": posterior, **groups}, quick=quick)


def failed(verdict):
    return {check.code for check in verdict.failures}
