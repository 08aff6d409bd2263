"""Nested sampling by sequential Monte Carlo: levels of the likelihood instead of temperatures, in islands."""

from __future__ import annotations

import numpy as np

from mcmc.errors import SamplingError
from mcmc.evidence.moves import Mover
from mcmc.evidence.path import Points
from mcmc.evidence.smc import MOST_LEVELS, Passage, log_mean, pooled, systematic

REST = 1e-12
"""The share of the evidence that is left, at the highest likelihood seen, when the levels end: small, for a narrow mode
may not have been seen yet."""
WINDOW = 3
"""Levels whose particles agree, at the end, before the rest is believed to be the rest."""


def nested_passage(points: Points, mover: Mover, rng: np.random.Generator) -> Passage:
    r"""Particles of the prior (island, particle) carried up the levels of the likelihood.

    .. math:: \hat Z = \sum_t X_t \, \frac{1}{N} \sum_i L(y_i^t) \, 1[L(y_i^t) \le l_{t+1}], \quad
        X_{t+1} = X_t \, \frac{1}{N} \sum_i 1[L(y_i^t) > l_{t+1}]

    Level t holds the prior where L > l_t, which half of its particles leave at the next. A mode in which the likelihood
    is high on a tiny part of the prior is reached that way, where no temperature shows it (a transition of first
    order): half of what remains, not of what weighs, goes on.

    Source: Skilling 2006; Salomone, South, Drovandi & Kroese 2018 (arXiv:1805.03924); Dau & Chopin 2022.
    """
    mass, level, levels, rates = np.zeros(mover.islands), -np.inf, [-np.inf], []
    held, weights = [], []
    while True:
        new = float(np.median(points.log_likelihood))
        above = points.log_likelihood > new
        last = _is_rest(points, mass, weights) or not above.any(1).all()
        likelihood = points.log_likelihood - np.log(points.log_likelihood.shape[1])
        inside = np.where(above & (not last), -np.inf, likelihood)
        held.append(points)
        weights.append(mass[:, None] + inside)
        if last:
            break
        if len(levels) > MOST_LEVELS:
            raise SamplingError(
                f"log_likelihood: got more than {MOST_LEVELS} levels, at {new:.3g} now; expected the likelihood to be "
                "bounded. Bound it, or use path='temperatures'."
            )
        mass = mass + np.log(above.mean(1))
        chances = np.where(above, 0.0, -np.inf)
        mover.tune(pooled(points, chances, rng))
        ancestors = np.stack([systematic(w, mover.rows, rng) for w in chances])
        points, rate = mover(np.take_along_axis(points.positions, ancestors[:, :, None], 1), new)
        level = new
        levels.append(level)
        rates.append(rate)
    return _weighed(held, weights, levels, rates, rng)


def _is_rest(points: Points, mass: np.ndarray, weights: list[np.ndarray]) -> bool:
    """Whether what the particles still hold, at the highest likelihood seen, is a small part of all."""
    if len(weights) < WINDOW:
        return False
    so_far = log_mean(np.concatenate(weights, 1)) + np.log(sum(w.shape[1] for w in weights))
    return bool(log_mean(mass) + points.log_likelihood.max() < so_far + np.log(REST))


def _weighed(held: list, weights: list, levels: list, rates: list, rng: np.random.Generator) -> Passage:
    """Posterior particles of equal weight, as many in every island as a level had, and the evidence of each."""
    log_weights = np.concatenate(weights, 1)
    totals = log_mean(log_weights, 1) + np.log(log_weights.shape[1])
    chosen = np.stack([systematic(w, held[0].lps.shape[1], rng) for w in log_weights])
    chosen = rng.permuted(chosen, axis=1)  # which come sorted by level
    whole = (np.concatenate([getattr(p, name) for p in held], 1) for name in vars(held[0]))
    rows = np.arange(len(chosen))[:, None]
    return Passage(Points(*(x[rows, chosen] for x in whole)), totals, tuple(levels), tuple(rates))
