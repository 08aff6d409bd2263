"""Diagnostics: R-hat, ESS, MCSE and nested R-hat, in batch or streaming; and the verdict on a run."""

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.compare import Comparison, compare
from mcmc.diagnostics.diagnosis import Diagnosis, diagnose
from mcmc.diagnostics.multivariate import multivariate_ess
from mcmc.diagnostics.plot import plot
from mcmc.diagnostics.rstar import RStar, rstar
from mcmc.diagnostics.stats import ess, ess_chain_means, mcse, nested_rhat, rhat
from mcmc.diagnostics.streaming import Moments
from mcmc.diagnostics.summary import summary

__all__ = [
    "Check",
    "Comparison",
    "Diagnosis",
    "Moments",
    "RStar",
    "compare",
    "diagnose",
    "ess",
    "ess_chain_means",
    "mcse",
    "multivariate_ess",
    "nested_rhat",
    "plot",
    "rhat",
    "rstar",
    "summary",
]
