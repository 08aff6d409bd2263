"""Gauss–Legendre values of a panel, and the matrices that make of them integrals up to any point of it."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre

from mcmc.direct.inverse_cdf.polynomials import LOBATTO

NODES, KEPT = 16, 12
XI, WEIGHTS = legendre.leggauss(NODES)


def _integrals(to: np.ndarray, terms: int) -> np.ndarray:
    """The matrix that takes values at the Gauss–Legendre nodes to integrals from -1, by so many Legendre terms."""
    order = np.arange(NODES)
    project = (order[:, None] + 0.5) * WEIGHTS * legendre.legvander(XI, NODES - 1).T
    high = legendre.legvander(to, NODES)
    rise = np.empty((to.size, NODES))
    rise[:, 0] = to + 1
    rise[:, 1:] = (high[:, 2:] - high[:, :-2]) / (2 * order[1:] + 1)
    return rise[:, :terms] @ project[:terms]


TO = np.concatenate([LOBATTO, XI])
INTEGRATE = _integrals(TO, NODES)
DOUBT = INTEGRATE - _integrals(TO, KEPT)
TO_ENDS = np.linalg.solve(legendre.legvander(XI, NODES - 1).T, legendre.legvander(np.array([-1.0, 1.0]), NODES - 1).T)
GAP = 1 - XI[-1]
