"""The table of a run: `summary(draws)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcmc.diagnostics.verdict import diagnose
from mcmc.words import reading_words

if TYPE_CHECKING:
    import pandas

    from mcmc.diagnostics.inputs import Draws


@reading_words
def summary(draws: Draws, *, quick: bool | None = False) -> pandas.DataFrame:
    """Return one row a scalar parameter: estimates, precision and how far to trust them, unrounded.

    Args:
        draws: a DataTree with a `posterior`, a Dataset, or a dict of groups, as in `diagnose`.
        quick: leave out what takes a sort (quantiles, rank-based sizes). None: above 4 million values.

    Returns:
        A `pandas.DataFrame`, indexed as ArviZ names parameters (`theta[Choate]`), with columns `mean`, `sd`,
        `eti90_lb`, `eti90_ub` (5 % and 95 % quantiles), `ess_bulk`, `ess_tail`, `r_hat`, `mcse_mean`,
        `mcse_sd`, and `nested_r_hat` where superchains are recorded. The same as `diagnose(draws).table`; of draws of
        `sample_each` a row a data set and parameter, `diagnose(draws).parameters`.

    Raises:
        TypeError, ValueError: as in `diagnose`.

    Example:
        >>> import numpy as np
        >>> table = summary({"posterior": {"mu": np.random.default_rng(0).normal(size=(4, 1000))}})
        >>> bool(abs(table.loc["mu", "mean"]) < 0.1)
        True
    """
    found = diagnose(draws, quick=quick)
    return getattr(found, "parameters", found.table)
