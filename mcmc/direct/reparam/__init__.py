"""Draws that carry exact pathwise gradients in their parameters: `f(key, parameters..., *, shape, dtype)`.

Each draw is of its exact distribution, and a differentiable function of the parameters whose mean gradient is the
gradient of the mean. All work under jit, vmap and grad, in float32 and float64, with keys of any implementation.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
