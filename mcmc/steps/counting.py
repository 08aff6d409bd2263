"""How many steps may be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcmc.errors import WrongValue

MOST_STEPS = 10_000


def check_count(n: Any) -> None:
    """ValueError where n is no number of steps to look at."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MOST_STEPS:
        raise WrongValue("n", n, f"a whole number from 1 to {MOST_STEPS}", "Take sample for many draws.")
