"""Which kernel and how many chains, where the user does not say."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from mcmc.engine.program_cache import FACTS, options
from mcmc.errors import WrongType, WrongValue, warn
from mcmc.kernels.gibbs import Gibbs, compose
from mcmc.kernels.hmc import HMC
from mcmc.target.blocks import Block
from mcmc.target.cost import cost_of, traced_gradient
from mcmc.target.target import Target
from mcmc.target.traced import Traced

DEFAULT_CHAINS, FEW_CHAINS = 64, 16
MANY_WITHOUT_GRADIENT = 30
INFINITY = float("inf")
RANGES = (  # of the fields that built-in kernels have: above, below
    ("step_size", 0.0, INFINITY),
    ("length", 0.0, INFINITY),
    ("width", 0.0, INFINITY),
    ("noise", 0.0, INFINITY),
    ("spread", 0.0, INFINITY),
    ("scale", 1.0, INFINITY),
    ("bandwidth", 0.0, INFINITY),
    ("target_acceptance", 0.0, 1.0),
    ("jump_rate", 0.0, 1.0),
    ("adaptive_rate", 0.0, 1.0),
    ("snooker_rate", 0.0, 1.0),
)


def choose_kernel(target: Target, traced: Traced, dtype: Any, chains: int) -> tuple[Any, str]:
    """A kernel for the target and so many chains, and why."""
    if target.discrete:
        return compose(target, lambda block: _no_gradient(target, traced, dtype, block))
    reason = _no_gradient(target, traced, dtype)
    if reason:
        from mcmc.kernels.differential_evolution import DifferentialEvolution

        if target.dim > MANY_WITHOUT_GRADIENT:
            remedy = "Write the log density with jax.numpy, so that it has one."
            text = f"{target.dim} dimensions without a gradient: expect few effective draws. {remedy}"
            warn(text)
        return DifferentialEvolution(), f"the log density has no gradient ({reason})"
    if chains <= FEW_CHAINS:
        from mcmc.kernels.nuts import NUTS

        return NUTS(), "the log density has a gradient, and so few chains tune no trajectory length together"
    return HMC(), "the log density has a gradient, and all chains can share one leapfrog count"


def _no_gradient(target: Target, traced: Traced, dtype: Any, block: Block | None = None) -> str:
    """Why the log density has no gradient (in a block's parameters), or nothing where it has one; asked once."""
    return _gradient(target, traced, dtype, block)[0]


def cost_of_gradient(target: Target, traced: Traced, dtype: Any) -> float:
    """About how many seconds a gradient takes of one core, estimated from what it computes; infinite without one."""
    return _gradient(target, traced, dtype)[1]


def _gradient(target: Target, traced: Traced, dtype: Any, block: Block | None = None) -> tuple[str, float]:
    """Why there is no gradient, if so, and about how many seconds one takes; asked once."""
    block = block or Block(target, target.names)
    own = traced.fingerprint.private
    columns = tuple(block.columns.tolist())
    question = ("gradient", traced.fingerprint, columns, str(dtype), options())
    return (target.programs if own else FACTS).get(question, lambda: _traced_gradient(target, traced, dtype, block))


def _traced_gradient(target: Target, traced: Traced, dtype: Any, block: Block) -> tuple[str, float]:

    def density(arrays: tuple, position: jax.Array) -> jax.Array:
        return traced.log_density(arrays, block.joined(jnp.zeros(target.dim, dtype), position))

    try:
        program = traced_gradient(density, traced.arrays, len(block.columns), dtype)
    except Exception as error:
        text = str(error).strip()
        return text.splitlines()[0][:80] if text else type(error).__name__, INFINITY
    return "", 1e-9 * cost_of(program)


def check_kernel(kernel: Any, target: Target | Block, chains: int) -> None:
    """Raise ValueError or TypeError for a kernel that can't run on this target with so many chains."""
    name = type(kernel).__name__
    if isinstance(kernel, type) or not all(callable(getattr(kernel, m, None)) for m in ("init", "step")):
        remedy = "Use mcmc.HMC(), mcmc.RandomWalk(), ..., called, or your own dataclass with init and step."
        raise WrongType("kernel", kernel, "a kernel, an object with init and step", remedy)
    if target.discrete and not getattr(kernel, "takes_discrete", False):
        names = ", ".join(target.discrete)
        remedy = "Use mcmc.DiscreteGibbs() for them, and mcmc.Gibbs({...}) where other parameters are continuous."
        raise WrongValue("kernel", name, f"a kernel for discrete parameters, because {names} is one", remedy)
    if isinstance(kernel, Gibbs):
        for inner, block in kernel.check(target):
            check_kernel(inner, block, chains)
        return
    if getattr(kernel, "ensemble", False):
        least = max(4, 2 * target.dim)
        if chains < least or chains % 2:
            remedy = f"Use chains={least + least % 2} or more."
            raise WrongValue("chains", chains, f"an even number, at least {least}, for {name}", remedy)
        _check_size(getattr(kernel, "size", None), chains // 2)
    if getattr(kernel, "several", False):
        for inner in kernel.check():
            check_kernel(inner, target, chains)
        return
    for field, low, high in RANGES:
        _check_number(kernel, field, low, high)
    for field in ("num_steps", "max_steps"):
        steps = getattr(kernel, field, None)
        if steps is not None and (isinstance(steps, bool) or int(steps) != steps or steps < 1):
            expected = "a whole number of leapfrog steps, 1 or more"
            raise WrongValue(field, steps, expected, "Use 16, or leave it out.")
    depth = getattr(kernel, "max_tree_depth", None)
    if depth is not None:
        _check_depth(depth)
    if hasattr(kernel, "metric"):
        from mcmc.kernels.metric import check_metric

        check_metric(kernel.metric, target.dim)


def _check_size(size: Any, half: int) -> None:
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 2 <= size <= half):
        expected = f"a whole number of chains, 2 to {half}, half of all"
        raise WrongValue("size", size, expected, "Leave it out, or use more chains.")


def _check_depth(depth: Any) -> None:
    from mcmc.kernels.nuts import MOST_DOUBLINGS

    if isinstance(depth, bool) or depth not in range(1, MOST_DOUBLINGS + 1):
        expected = f"a whole number of doublings, 1 to {MOST_DOUBLINGS}"
        raise WrongValue("max_tree_depth", depth, expected, "Use 10, or leave it out.")


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
        raise WrongValue(field, value, expected, remedy)
