"""Which kernel and how many chains, where the user does not say."""

from __future__ import annotations

from typing import Any

import jax

from mcmc.errors import got
from mcmc.kernels.differential_evolution import DifferentialEvolution
from mcmc.kernels.hmc import HMC
from mcmc.target import Target, Traced

DEFAULT_CHAINS = 64
INFINITY = float("inf")
RANGES = (  # of the fields that built-in kernels have: above, below
    ("step_size", 0.0, INFINITY),
    ("length", 0.0, INFINITY),
    ("noise", 0.0, INFINITY),
    ("scale", 1.0, INFINITY),
    ("target_acceptance", 0.0, 1.0),
    ("jump_rate", 0.0, 1.0),
)


def choose_kernel(target: Target, traced: Traced, dtype: Any) -> tuple[Any, str]:
    """A kernel for the target, and why."""
    if target.discrete:
        names = ", ".join(target.discrete)
        remedy = "Pass kernel=mcmc.MetropolisHastings(proposal) with a proposal of your own."
        raise ValueError(got("kernel", None, f"a kernel, because {names} is discrete and has no gradient", remedy))
    position = jax.ShapeDtypeStruct((target.dim,), dtype)
    try:
        jax.eval_shape(jax.grad(lambda y: traced.log_density(traced.arrays, y)), position)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return DifferentialEvolution(), f"the log density has no gradient ({reason[:80]})"
    return HMC(), "the log density has a gradient, and all chains can share one leapfrog count"


def check_kernel(kernel: Any, target: Target, chains: int) -> None:
    """Raise ValueError or TypeError for a kernel that can't run on this target with so many chains."""
    name = type(kernel).__name__
    if isinstance(kernel, type) or not all(callable(getattr(kernel, m, None)) for m in ("init", "step")):
        remedy = "Use mcmc.HMC(), mcmc.RandomWalk(), ..., called, or your own dataclass with init and step."
        raise TypeError(got("kernel", kernel, "a kernel, an object with init and step", remedy))
    if target.discrete and not getattr(kernel, "takes_discrete", False):
        names = ", ".join(target.discrete)
        remedy = "Use mcmc.MetropolisHastings(proposal) with a proposal of whole numbers."
        raise ValueError(got("kernel", name, f"a kernel for discrete parameters, because {names} is one", remedy))
    if getattr(kernel, "ensemble", False):
        least = max(4, 2 * target.dim)
        if chains < least or chains % 2:
            remedy = f"Use chains={least + least % 2} or more."
            raise ValueError(got("chains", chains, f"an even number, at least {least}, for {name}", remedy))
    for field, low, high in RANGES:
        _check_number(kernel, field, low, high)
    for field in ("num_steps", "max_steps"):
        steps = getattr(kernel, field, None)
        if steps is not None and (isinstance(steps, bool) or int(steps) != steps or steps < 1):
            expected = "a whole number of leapfrog steps, 1 or more"
            raise ValueError(got(field, steps, expected, "Use 16, or leave it out."))
    if hasattr(kernel, "metric"):
        from mcmc.kernels.metric import check_metric

        check_metric(kernel.metric, target.dim)


def _check_number(kernel: Any, field: str, low: float, high: float) -> None:
    value = getattr(kernel, field, None)
    if value is None:
        return
    try:
        good = low < float(value) < high
    except (TypeError, ValueError):
        good = False
    if not good:
        remedy = "Leave it None to have it tuned." if field == "step_size" else "Leave it out for the default."
        expected = f"a finite number above {low:g}" if high == INFINITY else f"a number between {low:g} and {high:g}"
        raise ValueError(got(field, value, expected, remedy))
