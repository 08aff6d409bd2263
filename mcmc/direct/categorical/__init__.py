"""Categorical distributions over tokens: exact at every dtype, truncated by filters, differentiable, without a sort.

All functions share one distribution: the logits over the temperature, cut off by the filters, and normalised.
`sample` draws from it, `probs`, `log_prob` and `entropy` say what it is, `filter_logits` gives it to other code.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
