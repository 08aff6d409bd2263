"""Parameters whose signs can be changed together without a change of log density, as of factors and loadings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mcmc.diagnostics.stats import rhat
from mcmc.target.ordering import EXPLAINED, SWITCHED
from mcmc.target.target import Target

ALIKE = {8: 1e-8, 4: 1e-3}


def sign_switching(
    target: Target,
    positions: np.ndarray,
    log_density: Callable[[np.ndarray], np.ndarray],
    failing: set[str],
    posterior: Any,
) -> dict[str, Any] | None:
    """What a diagnosis says of two or more parameters on which chains differ by a common sign; None: they do not.

    Tested at all positions (chain, dim). Of one parameter alone it is no label: modes at ±x are two places.
    """
    leaves = [leaf for leaf in target.leaves if leaf.name in failing and leaf.support.name == "real"]
    if len(leaves) < 2 or not {leaf.name for leaf in leaves} <= set(map(str, posterior)):
        return None
    sign = np.ones(target.dim, positions.dtype)
    for leaf in leaves:
        sign[leaf.start : leaf.stop] = -1
    before, after = log_density(positions), log_density(positions * sign)
    if not np.allclose(before, after, ALIKE[positions.dtype.itemsize], ALIKE[positions.dtype.itemsize]):
        return None
    best, by = np.zeros(0), ("", "")
    for leaf in leaves:
        x = np.asarray(posterior[leaf.name], float)
        x = x.reshape(*x.shape[:2], -1)
        size = np.abs(x)
        j = int(np.argmax(size.mean((0, 1)) / (size.std((0, 1)) + 1e-300)))
        index = f"[{', '.join(map(str, np.unravel_index(j, leaf.support.shape)))}]" if leaf.support.shape else ""
        if not best.size or _apart(x[..., j]) > _apart(best):
            best, by = x[..., j], (leaf.name + index, "p" + "".join(f'["{key}"]' for key in leaf.path) + index)
    apart, together = float(rhat(best)), float(rhat(np.abs(best)))
    if not (apart > SWITCHED and together - 1 < EXPLAINED * (apart - 1)):
        return None
    return {
        "names": [leaf.name for leaf in leaves],
        "signs": True,
        "by": by[0],
        "before": apart,
        "after": together,
        "call": f"mcmc.sample(target.restricted_to(lambda p: {by[1]} > 0))",
    }


def _apart(x: np.ndarray) -> float:
    """How far a sign is from being undecided."""
    return float(np.abs(x).mean() / (np.abs(x).std() + 1e-300))
