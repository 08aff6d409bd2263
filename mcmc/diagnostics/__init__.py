"""Diagnostics: R-hat, ESS, MCSE and nested R-hat, in one go or streaming; and the verdict on a run."""

from mcmc.diagnostics.check import Check
from mcmc.diagnostics.diagnosis import Diagnosis, diagnose
from mcmc.diagnostics.plot import plot
from mcmc.diagnostics.stats import ess, ess_chain_means, mcse, nested_rhat, rhat
from mcmc.diagnostics.streaming import Moments
from mcmc.diagnostics.summary import summary

__all__ = [
    "Check",
    "Diagnosis",
    "Moments",
    "diagnose",
    "ess",
    "ess_chain_means",
    "mcse",
    "nested_rhat",
    "plot",
    "rhat",
    "summary",
]
