"""Which kernel and how many chains, where the user does not say."""

from __future__ import annotations

from typing import Any

import jax

from mcmc.errors import got
from mcmc.kernels.differential_evolution import DifferentialEvolution
from mcmc.kernels.hmc import HMC
from mcmc.target import Target, Traced

DEFAULT_CHAINS = 64


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
    for field, low in (("step_size", 0.0), ("length", 0.0), ("scale", 1.0)):
        _check_number(kernel, field, low)
    if getattr(kernel, "target_acceptance", None) is not None and not 0 < float(kernel.target_acceptance) < 1:
        value = kernel.target_acceptance
        raise ValueError(got("target_acceptance", value, "a number between 0 and 1", "0.8 is usual."))
    steps = getattr(kernel, "num_steps", None)
    if steps is not None and (isinstance(steps, bool) or int(steps) != steps or steps < 1):
        raise ValueError(got("num_steps", steps, "a whole number of leapfrog steps, 1 or more", "Use 16, or None."))
    if hasattr(kernel, "metric"):
        from mcmc.kernels.metric import check_metric

        check_metric(kernel.metric, target.dim)


def _check_number(kernel: Any, field: str, low: float) -> None:
    value = getattr(kernel, field, None)
    if value is None:
        return
    try:
        good = low < float(value) < float("inf")
    except (TypeError, ValueError):
        good = False
    if not good:
        remedy = "Leave it None to have it tuned." if field == "step_size" else "The default is usually right."
        raise ValueError(got(field, value, f"a finite number above {low:g}", remedy))
