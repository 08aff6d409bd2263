"""What the runs of one target on many data sets share: kernel, layout, and how much of it is data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from mcmc.engine.devices import Layout, devices_of, layout_of
from mcmc.engine.free_lanes import FEWEST
from mcmc.engine.plan import Plan, Settings
from mcmc.engine.program_cache import cache_of, options
from mcmc.engine.run import Run
from mcmc.kernels.choose import check_kernel, choose_kernel
from mcmc.settings import Request, settings_of
from mcmc.target.data import as_arrays
from mcmc.target.proposals import bind
from mcmc.target.target import Target
from mcmc.target.traced import Traced
from mcmc.warmup.tuners import prepare


@dataclass(frozen=True)
class Together:
    """What runs on data sets of equal shapes share: target, kernel, layout, and how many go in one program."""

    target: Target
    traced: Traced
    kernel: Any
    tuner: Any
    settings: Settings
    layout: Layout
    dtype: Any
    leaves: int
    """How many of the traced arrays are data."""
    axes: tuple
    """Along which each of the traced arrays is mapped over data sets."""
    value_and_grad: Callable
    """Log densities and gradients at positions (set, n, dim), given arrays."""
    init: Any = None
    """A user's starts, of every data set."""

    def alone(self, data: list, words: np.ndarray) -> Run:
        """The run on one data set, of which these are the arrays."""
        traced = replace(self.traced, arrays=(*data, *self.traced.arrays[self.leaves :]))
        plan = Plan(self.target, traced, self.kernel, self.settings, words, self.dtype)
        return Run(plan, self.tuner, self.layout)

    @property
    def first(self) -> Run:
        """The run on the data set that the target was traced with."""
        return self.alone(list(self.traced.arrays[: self.leaves]), np.zeros(2, np.uint32))

    def given(self, data: list) -> Target:
        """The target on one data set, of which these are the arrays."""
        return self.target.with_data(jax.tree.unflatten(jax.tree.structure(self.target.data), data))

    def stacked(self, each: list[list]) -> list[np.ndarray]:
        """The leaves of each data set as arrays (set, ...), in the types of the program."""
        kinds = [np.asarray(x).dtype for x in self.traced.arrays[: self.leaves]]
        return [np.stack([np.asarray(x[i]) for x in each]).astype(kind) for i, kind in enumerate(kinds)]

    def named(self, kept: np.ndarray) -> dict[str, np.ndarray]:
        """Recorded rows (..., width) by parameter, each in its own shape and type."""
        lead = kept.shape[:-1]
        columns = self.traced.columns
        return {c.name: kept[..., c.start : c.stop].reshape(*lead, *c.shape).astype(c.dtype) for c in columns}

    @property
    def groups(self) -> np.ndarray:
        """The group that each chain shares its start with (chain,)."""
        groups = self.settings.superchains
        return np.arange(self.settings.chains) if groups is None else groups


def together(target: Target, traced: Traced, kernel: Any, settings: Settings, dtype: Any, init: Any = None) -> Together:
    """What runs of a kernel share; `target` and `traced` have the first data set, whose shapes are those of all."""
    device = devices_of(None)[0]
    prepared, tuner = prepare(bind(kernel, target, dtype), target.dim, dtype)
    tuner = tuner if settings.warmup else None
    # Lanes that do not wait for each other keep all rows in the state of a loop, which vmap would copy at each step.
    lanes = FEWEST // 2 if getattr(prepared, "runs_freely", False) else None
    numbers = traced.width + 8
    layout = layout_of(settings.chains, lanes, numbers, dtype.itemsize, prepared, tuner is not None, (device,))
    blocks = -(-settings.chains // layout.lanes)
    layout = replace(layout, devices=(device,), blocks=blocks, rows=min(layout.rows, settings.draws))
    leaves = len(jax.tree.leaves(target.data))
    axes = (*[0] * leaves, *[None] * (len(traced.arrays) - leaves))

    def made() -> Callable:
        one = jax.vmap(jax.value_and_grad(traced.log_density, 1), (None, 0))
        return jax.jit(jax.vmap(one, (axes, 0)))

    key = ("value_and_grad of data sets", traced.fingerprint, axes, options())
    value_and_grad = cache_of(target, traced.fingerprint).get(key, made)
    return Together(target, traced, prepared, tuner, settings, layout, dtype, leaves, axes, value_and_grad, init)


def chosen(
    first: Target, traced: Traced, asked: dict[str, Any], dtype: Any, thin: int = 1
) -> tuple[Any, Settings, str]:
    """The kernel and the numbers of the runs, and why this kernel where none was named."""
    kernel, why = asked["kernel"], ""
    if kernel is None:
        kernel, why = choose_kernel(first, traced, dtype, asked["chains"])
    numbers = {name: asked[name] for name in ("chains", "draws", "warmup")}
    settings = settings_of(Request(first, kernel, **numbers, thin=thin), first, kernel)
    check_kernel(kernel, first, settings.chains)
    return kernel, settings, why


def by_shape(data: list[Any], dtype: Any) -> dict[Any, list[int]]:
    """Which data sets have arrays of the same shapes and types, in the order in which they come."""
    shapes: dict[Any, list[int]] = {}
    for i, one in enumerate(data):
        leaves, structure = jax.tree.flatten(as_arrays(one, dtype))
        shapes.setdefault((structure, *((x.shape, str(x.dtype)) for x in leaves)), []).append(i)
    return shapes
