"""Benchmark of this device: chain steps, gradients and direct draws a second, each beside its floor (`mcmc bench`)."""

from mcmc.bench.run import run_bench

__all__ = ["run_bench"]
