"""Power laws at the ends of a support and at poles inside: log f = c + k log d + c1 d + … at small distances d.

Next to a number other than 0 floats are too coarse for d, so there the law stands in for the function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WINDOWS = (2.0**-4, 2.0**-7, 2.0**-12, 2.0**-16, 2.0**-20)  # the farthest distances looked at, in units of the room
COUNT, TERMS, MARGIN = 33, (1, 2, 3, 5, 9), 2.0**-7
MISFIT = 64.0  # in units of rounding
SLIGHT = 1e-3  # a power that is as good as none


@dataclass(frozen=True)
class PowerLaw:
    """log f at distances below `limit`; `doubt`: the standard error of the power, by rounding."""

    limit: float
    power: float
    terms: np.ndarray
    room: float
    doubt: float

    def __call__(self, d: np.ndarray) -> np.ndarray:
        """The log density at these distances."""
        return self.power * np.log(np.maximum(d, 1e-307)) + np.polynomial.polynomial.polyval(d / self.room, self.terms)


def fit_power(values: Callable, anchor: float, sign: int, room: float) -> PowerLaw | None:
    """The most exact law at anchor + sign · d, if there is one; `room`: how far there is nothing else."""
    laws = []
    for window in WINDOWS:
        x = anchor + sign * room * window * 2.0 ** (-0.5 * np.arange(COUNT))
        d = np.abs(x - anchor)
        if not (np.diff(d) < 0).all() or d[-1] == 0:
            continue
        log = values(x)
        if np.isfinite(log).all():
            noise = 2.0**-52 * (1 + np.abs(log) + 4 * abs(anchor) / d)
            laws += [law for terms in TERMS if (law := _least_squares(d, log, noise, room, terms))]
    return min(laws, key=lambda law: law.doubt, default=None)


def _least_squares(d: np.ndarray, log: np.ndarray, noise: np.ndarray, room: float, terms: int) -> PowerLaw | None:
    matrix = np.column_stack([np.log(d), (d / d[0])[:, None] ** np.arange(terms)])
    scaled = matrix / noise[:, None]
    size = np.linalg.norm(scaled, axis=0)
    inverse = np.linalg.pinv(scaled / size, rcond=1e-15)
    found = inverse @ (log / noise) / size
    misfit = max((np.abs(matrix @ found - log) / noise).max(), 1.0)
    if misfit > MISFIT:
        return None
    doubt = misfit * np.linalg.norm(inverse[0]) / size[0]
    return PowerLaw(d[0] * MARGIN, found[0], found[1:], d[0], doubt)
