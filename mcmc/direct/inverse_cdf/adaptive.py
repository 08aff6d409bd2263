"""The adaptive setup, from a density on the host to tables with a certificate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mcmc.direct.inverse_cdf.cumulative import Ranges
from mcmc.direct.inverse_cdf.far import Far, far_of, with_far
from mcmc.direct.inverse_cdf.lookup import Table
from mcmc.direct.inverse_cdf.panels import MOST, Panels, adapt, densest, unresolved
from mcmc.direct.inverse_cdf.scan import HostDensity, SingularPoint, scan
from mcmc.direct.inverse_cdf.tables import beyond, halves, split, tabulate
from mcmc.errors import SamplingError

MOST_FOUND = 16  # points where the function is 0/0 or has a pole


class SetUp(NamedTuple):
    """What was found: see `InverseCDF`."""

    table: Table
    ranges: Ranges
    log_normalizer: np.ndarray
    u_error: float
    far: Far


def set_up(log_density: Callable, support: tuple, breaks: tuple, tol: float, params: tuple) -> SetUp:
    """The setup; points where the function is 0/0 or has a pole are found by their values, and become breaks."""
    for _ in range(MOST_FOUND):
        try:
            return _once(log_density, support, breaks, tol, params)
        except SingularPoint as error:
            breaks = tuple(sorted((*breaks, error.at)))
    return _once(log_density, support, breaks, tol, params)


def _once(log_density: Callable, support: tuple, breaks: tuple, tol: float, params: tuple) -> SetUp:
    density = HostDensity(log_density, support, params, breaks=breaks)
    cuts = density.find_powers()
    panels = split(density, adapt(density, scan(density, breaks), breaks, cuts, tol))
    ends, beyond_doubt = beyond(density, panels, tol)
    table, added = tabulate(halves(density, panels, ends), support, tol)
    total = panels.mass.sum() + sum(ends)
    doubt = np.maximum(panels.doubt - panels.blur, 0).sum() + unresolved(density, panels, tol) + beyond_doubt
    error = float((panels.u_error().max() + doubt) / total + added)
    if not error <= tol:
        _refuse(density, panels, error, tol, beyond_doubt > 0.5 * error * total)
    log_normalizer = np.asarray(density.shift + math.log(total))
    every, ends = with_far(density, panels, ends)
    ranges, far = _ranges(every, ends, total), far_of(every, ends)
    return SetUp(table, ranges, log_normalizer, error, far)


def _refuse(density: HostDensity, panels: Panels, error: float, tol: float, of_powers: bool) -> None:
    """An error that says where the tolerance is not reached; a `SingularPoint` where that is a pole not yet known."""
    worst = densest(density, panels)
    near = min((abs(b - worst) for b in (*density.breaks, *density.support)), default=math.inf)
    known = near <= 1e-9 * abs(worst) or of_powers
    kind = SamplingError if known or not density.has_power(worst) else SingularPoint
    remedy = "Allow a larger tol" if known else "Give that point in breaks=, or allow a larger tol"
    if panels.mass.size > 0.5 * MOST:
        remedy = "Narrow the support, or allow a larger tol: the density has too many features for a table"
    raise kind(
        f"tol: got a u-error of {error:.2g} with {panels.mass.size} panels, the largest near x = {worst:.17g}; "
        f"expected at most {tol:.2g}. {remedy}.",
        position={"x": worst},
    )


def _ranges(p: Panels, ends: tuple[float, float], total: float) -> Ranges:
    return Ranges(p.anchor, p.sign.astype(float), p.t0, p.t1, p.ends()[0], np.asarray(ends) / total, p.mass / total)
