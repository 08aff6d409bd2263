"""Polynomials of degree 5 through 6 points, vectorised over panels, in NumPy or jax.numpy."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

DEGREE = 5
LOBATTO = -np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)


def fit(s: Any, y: Any, xp: Any = np) -> Any:
    """Coefficients c of s (c₁ + … + c₅ s⁴), of shape (..., 5), through 6 points of which the first is (0, 0)."""
    s, newton = [s[..., k] for k in range(DEGREE + 1)], [y[..., k] for k in range(DEGREE + 1)]
    for k in range(1, DEGREE + 1):
        for i in range(DEGREE, k - 1, -1):
            newton[i] = (newton[i] - newton[i - 1]) / (s[i] - s[i - k])
    c = [newton[DEGREE]]
    for k in range(DEGREE - 1, -1, -1):
        c = [newton[k] - s[k] * c[0], *(a - s[k] * b for a, b in pairwise(c)), c[-1]]
    return xp.stack(c[1:], -1)


def horner(c: Any, s: Any) -> tuple[Any, Any]:
    """The polynomials (panel, degree) and their derivatives at s (panel, point)."""
    value, rise = 0.0 * s, 0.0 * s
    for k in range(c.shape[-1] - 1, -1, -1):
        rise = rise * s + value
        value = value * s + c[..., k : k + 1]
    return value * s, rise * s + value
