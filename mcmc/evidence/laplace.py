"""The evidence by importance sampling at the highest mode: what no particle may have entered."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.approximation.density import Density
from mcmc.approximation.normals import at_mode, mode
from mcmc.evidence.bridge import Estimate
from mcmc.target.target import Target

STARTS, DRAWS, LARGEST_DIM, LEAST_SHARE = 32, 2048, 200, 0.05


def laplace(target: Target, positions: np.ndarray, dtype: Any, rng: np.random.Generator) -> Estimate | None:
    r"""Log evidence by importance sampling from the normal law at the highest mode above some positions (n, dim).

    .. math:: \hat Z = \frac{1}{n} \sum_i \frac{\pi(y_i)}{q(y_i)}, \quad y_i \sim q = N(y^*, -H^{-1})

    None where there is no mode, in more than 200 dimensions, and where few of the draws have all the weight. It sees
    the mass around one mode; but what it sees is there, and particles that have less of it lost a narrow mode.
    """
    if target.dim > LARGEST_DIM or target.host:
        return None
    density = Density(target, dtype, True)
    starts = positions[rng.choice(len(positions), STARTS, replace=len(positions) < STARTS)]
    q, _, wrong = at_mode(mode(starts, density)[0], density, density.hessian)
    if q is None or wrong:
        return None
    y = q.sample(DRAWS, rng)
    log_weights = density(y)[0] - q.log_prob(y)
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    if not np.isfinite(top) or weights.sum() ** 2 < LEAST_SHARE * DRAWS * (weights**2).sum():
        return None
    error = weights.std(ddof=1) / weights.mean() / np.sqrt(DRAWS)
    return Estimate(float(top + np.log(weights.mean())), float(error))
