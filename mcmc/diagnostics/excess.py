"""Whether many chains differ by more than their own autocorrelation explains: then R-hat convicts at any number."""

import numpy as np

from mcmc.diagnostics.autocorrelation import ess_of
from mcmc.diagnostics.evidence import Evidence

SUSPECT, ALLOWED, SLACK, SHORTEST = 1.05, 3.0, 0.02, 5.0
MOST_COLUMNS = 8
STILL = 1e-12
"""A share of the variance that chains which never move have by rounding."""


def excess(e: Evidence, value: np.ndarray) -> np.ndarray:
    r"""Columns whose R-hat is more than three times what chains that all move through the target would have.

    Of stationary chains with integrated autocorrelation time τ, halves of n / 2 draws have

    .. math:: \hat R^2 - 1 \approx \frac{\tau}{n / 2}

    by chance. τ is that within chains (of the values and of their distances from the median), so that what keeps
    chains apart for good does not enter it; halves shorter than 5 τ are not judged. Of the
    columns above 1.05 the worst few are asked.
    """
    found = np.zeros(len(value), bool)
    suspect = np.flatnonzero(e.judged & (np.nan_to_num(value, nan=np.inf) > SUSPECT))
    for column in suspect[np.argsort(-value[suspect], kind="stable")][:MOST_COLUMNS]:
        x = e.scaled(int(column))
        if x.shape[1] < 8:
            continue
        both = np.stack([x, np.abs(x - np.median(x))])
        within = both - both.mean(2, keepdims=True)
        if within[0].var() <= STILL * x.var():
            found[column] = True
            continue
        with np.errstate(all="ignore"):  # of chains that never move there is none
            tau = float(np.nan_to_num(x.size / ess_of(np, within), nan=1.0).max())
        if x.shape[1] / 2 < SHORTEST * tau:  # then τ is known too badly: `memory` judges
            continue
        found[column] = value[column] ** 2 - 1 > ALLOWED * tau / (x.shape[1] / 2) + SLACK
    return found
