"""Which variables of a posterior are parameters, that a kernel moves, and which only follow from them."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

FOLLOWS = re.compile(
    r"(log_?lik(elihood)?|y_?(hat|rep|pred|new|sim)|(minus_?)?log_?(prior|post|posterior)|chi2|lp(__)?)(__.*|_.*)?",
    re.I,
)
"""Names by which other programs record what follows from the parameters."""


def derived_names(groups: Mapping[str, Any], names: Sequence[str]) -> set[str]:
    """Return the variables that are no parameters: as `sample` recorded them, or by the names that are in use.

    Example:
        >>> sorted(derived_names({}, ["mu", "log_lik", "minuslogprior__0", "chi2_BAO", "lp"]))
        ['chi2_BAO', 'log_lik', 'lp', 'minuslogprior__0']
    """
    state = groups.get("run_state")
    recorded = getattr(state, "attrs", {}).get("derived")
    found = {name for name in names if FOLLOWS.fullmatch(name)} if recorded is None else set(json.loads(recorded))
    return found if len(found) < len(names) else set()  # alone they are what there is to judge


def recorded(groups: Mapping[str, Any]) -> bool:
    """Whether `sample` recorded which variables are derived."""
    return "derived" in getattr(groups.get("run_state"), "attrs", {})
