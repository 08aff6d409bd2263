"""The supports of a NumPyro model's latent sites."""

# pyright: reportMissingImports=false
from __future__ import annotations

from typing import Any

import numpy as np
from numpyro.distributions import constraints

from mcmc.errors import WrongValue
from mcmc.target import support as supports
from mcmc.target.matrix_bijectors import LowerCholesky, ZeroSum

BOUNDED = [  # constraint, support, and the constraint's bounds; the first that fits
    (type(constraints.circular), supports.circular, ()),
    (type(constraints.positive), supports.positive, ()),
    (type(constraints.nonnegative), supports.positive, ()),
    (type(constraints.softplus_positive), supports.positive, ()),
    (constraints.greater_than, supports.lower, ("lower_bound",)),
    (constraints.less_than, supports.upper, ("upper_bound",)),
    (constraints.interval, supports.interval, ("lower_bound", "upper_bound")),
    (constraints.integer_interval, supports.integer, ("lower_bound", "upper_bound")),
    (constraints.integer_greater_than, supports.integer, ("lower_bound",)),
    (type(constraints.boolean), supports.boolean, ()),
    (type(constraints.real), supports.real, ()),
]
EVENTS = [  # constraint, support of vectors or matrices, axes of one value
    (type(constraints.simplex), supports.simplex, 1),
    (type(constraints.ordered_vector), supports.ordered, 1),
    (type(constraints.positive_ordered_vector), supports.positive_ordered, 1),
    (type(constraints.sphere), supports.unit_vector, 1),
    (type(constraints.corr_cholesky), supports.cholesky_factor_corr, 2),
    (type(constraints.corr_matrix), supports.corr_matrix, 2),
    (type(constraints.positive_definite), supports.cov_matrix, 2),
]


def constraint_of(site: dict) -> Any:
    """The constraint of one value of a site."""
    constraint = site["fn"].support
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    return constraint


def ends_of(site: dict) -> dict[str, Any]:
    """The bounds of a site's support, as they are in this run."""
    constraint = constraint_of(site)
    names = next((ends for kind, _, ends in BOUNDED if isinstance(constraint, kind)), ())
    return {end: getattr(constraint, end) for end in names}


def support_of(name: str, site: dict, bounds: list) -> Any:
    """Our support of a latent site."""
    constraint, shape = constraint_of(site), np.shape(site["value"])
    for kind, support, _ in BOUNDED:
        if isinstance(constraint, kind):
            return support(*bounds, shape=shape)
    for kind, support, event in EVENTS:
        if isinstance(constraint, kind):
            return support(shape[-1], shape=shape[: len(shape) - event])
    if isinstance(constraint, type(constraints.lower_cholesky)):
        return LowerCholesky(shape)
    if isinstance(constraint, constraints.zero_sum):
        return ZeroSum(shape, constraint.event_dim)
    remedy = "Write the model with another distribution, or as a transformation of one."
    raise WrongValue("model", f"site {name!r} on {constraint}", "a support that mcmc has", remedy)
