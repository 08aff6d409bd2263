"""Diagnostics (under construction)."""

from mcmc.diagnostics.stats import ess, ess_chain_means, mcse, nested_rhat, rhat
from mcmc.diagnostics.streaming import Moments

Check = Diagnosis = diagnose = plot = summary = None
__all__ = ["Check", "Diagnosis", "Moments", "diagnose", "ess", "ess_chain_means", "mcse", "nested_rhat", "plot", "rhat", "summary"]
