"""A kernel as arrays, which are arguments of a program, and the rest, which it is compiled with."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import jax

from mcmc.engine.loop import Shapes, shapes_of
from mcmc.engine.plan import Plan
from mcmc.engine.program_cache import FACTS, cache_of, options
from mcmc.target.fingerprint import Fingerprint, of_static


class KernelForm:
    """The structure of a kernel, its leaves that are no arrays, and its first arrays."""

    def __init__(self, kernel: Any):
        leaves, self.structure = jax.tree.flatten(kernel)
        self.fixed = {i: leaf for i, leaf in enumerate(leaves) if not hasattr(leaf, "dtype")}
        self.start = self.leaves_of(kernel)

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """What programs of this kernel are compiled with, where no leaf is fixed."""
        return of_static(self.structure)

    def leaves_of(self, kernel: Any) -> list:
        """The arrays of a kernel of this form."""
        return [leaf for i, leaf in enumerate(jax.tree.leaves(kernel)) if i not in self.fixed]

    def rebuild(self, leaves: list) -> Any:
        """The kernel of these arrays."""
        rest = iter(leaves)
        n = len(leaves) + len(self.fixed)
        return jax.tree.unflatten(self.structure, [self.fixed[i] if i in self.fixed else next(rest) for i in range(n)])


def kernel_shapes(form: KernelForm, kernel: Any, plan: Plan) -> Shapes:
    """What `shapes_of` says, kept in the process: tracing a kernel takes longer than a short run."""
    traced, dim = plan.traced, plan.target.dim

    def log_density(position: jax.Array) -> jax.Array:
        return traced.log_density(traced.arrays, position)

    def made() -> Shapes:
        return shapes_of(kernel, log_density, dim, plan.dtype)

    if form.fixed:
        return made()
    parts = traced.fingerprint, form.fingerprint
    leaves = tuple(str(jax.typeof(leaf)) for leaf in form.start)
    cache = FACTS if cache_of(plan.target, *parts) is not plan.target.programs else plan.target.programs
    return cache.get(("shapes", parts, leaves, dim, str(plan.dtype), options()), made)
