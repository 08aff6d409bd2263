"""The chain-diagnostics service: verdicts, reports and live runs over HTTP; and its client, which needs no extra.

The server needs the extra `service` (FastAPI, uvicorn); `Client` is in Python's standard library and NumPy alone, so
that a machine that samples needs nothing more than `mcmc`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
