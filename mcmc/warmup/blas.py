"""Linear algebra on one thread: its last bits would hang on the number of cores."""

from __future__ import annotations

from functools import cache
from typing import Any


def one_blas_thread() -> Any:
    """A context in which linear algebra uses one thread."""
    return _blas().limit(limits=1, user_api="blas")


@cache
def _blas() -> Any:
    import scipy.linalg  # noqa: F401  # with a library of its own, which the controller must see
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
