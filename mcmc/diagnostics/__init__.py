"""Diagnostics: R-hat, ESS, MCSE and nested R-hat, in batch or streaming; and the verdict on a run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
