"""From a log density to a posterior that can be trusted: MCMC and direct sampling on JAX."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
