"""Benchmark of this device: chain steps, gradients and direct draws a second, each beside its floor (`mcmc bench`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
