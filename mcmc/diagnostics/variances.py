"""R-hat and nested R-hat from the means and variances of chains, and how chains are split and grouped."""

from typing import Any

import numpy as np

from mcmc.errors import WrongType, WrongValue


def split(xp: Any, x: Any) -> Any:
    """Split `(column, chain, draw)` into `(column, 2 chain, draw // 2)`, leaving out an odd middle draw.

    Chain c becomes rows 2c and 2c + 1.
    """
    columns, chains, draws = x.shape
    half = draws // 2
    if draws % 2:
        x = xp.concatenate([x[:, :, :half], x[:, :, -half:]], axis=-1)
    return x.reshape(columns, 2 * chains, half)


def chain_moments(x: Any) -> tuple[Any, Any]:
    """Return mean and unbiased variance of each chain: two `(column, chain)` arrays."""
    return x.mean(axis=-1), x.var(axis=-1, ddof=1)


def rhat_of(xp: Any, mean: Any, variance: Any, draws: int) -> Any:
    """R-hat from `(column, chain)` means and variances over `draws` draws each: sqrt((B / W + n - 1) / n)."""
    between = draws * mean.var(axis=-1, ddof=1)
    within = variance.mean(axis=-1)
    return xp.sqrt((between / within + draws - 1) / draws)


def nested_rhat_of(xp: Any, mean: Any, variance: Any, groups: np.ndarray) -> Any:
    """Nested R-hat from `(column, chain)` means and variances: sqrt(1 + B / W) over superchains.

    `groups` is `(superchain, member)`: the chains of each superchain. `W` is the mean, over superchains, of
    the within-chain variance plus the variance of its chains' means.
    """
    mean, variance = mean[:, groups], variance[:, groups]
    between = mean.mean(axis=-1).var(axis=-1, ddof=1)
    within = variance.mean(axis=-1)
    if groups.shape[1] > 1:
        within = within + mean.var(axis=-1, ddof=1)
    return xp.sqrt(1 + between / within.mean(axis=-1))


def split_groups(groups: np.ndarray) -> np.ndarray:
    """Return the superchains of split chains: both halves of every member, as `split` numbers them."""
    return np.concatenate([2 * groups, 2 * groups + 1], axis=1)


def superchain_groups(superchains: Any, chains: int) -> np.ndarray:
    """Turn one label a chain into `(superchain, member)` chain indices; unequal sizes are a ValueError."""
    try:
        labels = np.asarray(superchains)
    except Exception as error:  # a tracer: the grouping decides shapes
        raise WrongType.told(
            "superchains",
            "superchains is a traced array; expected concrete labels, one a chain: close over them as NumPy.",
        ) from error
    if labels.shape != (chains,):
        raise WrongValue.told(
            "superchains",
            f"superchains has shape {labels.shape}; expected ({chains},), one label a chain: "
            "name for every chain the start that it shares.",
        )
    names, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) < 2:
        raise WrongValue.told(
            "superchains", "superchains names 1 group; expected at least 2: start groups of chains at different points."
        )
    if sizes.min() != sizes.max():
        raise WrongValue.told(
            "superchains",
            f"superchains has groups of {sizes.min()} to {sizes.max()} chains; expected equal sizes: "
            "drop chains, or group them anew.",
        )
    return np.argsort(index, kind="stable").reshape(len(names), -1)
