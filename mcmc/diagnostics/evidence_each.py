"""Evidence of many data sets at once: their columns are read side by side, which takes a fraction of one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from mcmc.diagnostics.arrays import each_block
from mcmc.diagnostics.circular import about_mean
from mcmc.diagnostics.columns import Plan, column_numbers
from mcmc.diagnostics.evidence import QUICK_ABOVE, Evidence, begun, settled, stuck_of, weights
from mcmc.diagnostics.inputs import Variable, posterior_variables

DATASET = "dataset"


class Part:
    """A variable of one data set: what is asked of most is made from its NumPy array, the rest by xarray on demand.

    A DataArray costs more than a check that uses it.
    """

    def __init__(self, whole: Any, at: int, attrs: Any = None) -> None:
        self.whole, self.at, self.attrs = whole, at, whole.attrs if attrs is None else attrs
        self.dims, self.dtype = tuple(dim for dim in whole.dims if dim != DATASET), whole.dtype

    @property
    def values(self) -> np.ndarray:
        """The values (chain, draw, ...)."""
        values = self.whole.values
        return values[(slice(None),) * self.whole.dims.index(DATASET) + (self.at,)] if self._several else values

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        return tuple(n for n, dim in zip(self.whole.shape, self.whole.dims, strict=True) if dim != DATASET)

    @property
    def _several(self) -> bool:
        return DATASET in self.whole.dims

    def transpose(self, *dims: Any) -> Any:
        """With these dimensions in front."""
        return self if self.dims[:1] == dims[:1] and dims[1:] == (...,) else self._array.transpose(*dims)

    @cached_property
    def _array(self) -> Any:
        import xarray

        array = self.whole.isel({DATASET: self.at}) if self._several else self.whole
        return xarray.DataArray(array).assign_attrs(self.attrs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    def __getitem__(self, key: Any) -> Any:
        return self._array[key]


@dataclass(frozen=True)
class OfOne:
    """A group of one data set: its part of the variables (data set, ...), each made when it is asked for."""

    whole: Any
    at: int

    @property
    def attrs(self) -> Any:
        """Those of the group."""
        return self.whole.attrs

    @property
    def coords(self) -> Any:
        """The labels."""
        return self.whole.coords

    def __contains__(self, name: str) -> bool:
        return name in self.whole

    def __getitem__(self, name: str) -> Part:
        return Part(self.whole.variables[name], self.at)


def gather_each(groups: Mapping[str, Any], quick: bool | None) -> list[Evidence]:
    """What `gather` finds in each data set of groups with a dimension `dataset`, which are in memory."""
    posterior = groups["posterior"].transpose(DATASET, "chain", "draw", ...)
    sets = posterior.sizes[DATASET]
    like, chains, n = posterior_variables(posterior.isel({DATASET: 0}))
    quick = sum(v.size for v in like) * chains * n > QUICK_ABOVE if quick is None else quick
    held = {"posterior": posterior} | {name: group for name, group in groups.items() if name != "posterior"}
    found = []
    for s in range(sets):
        own = {name: OfOne(group, s) for name, group in held.items()}
        parts: list[Any] = [Part(posterior.variables[v.name], s, v.array.attrs) for v in like]
        variables = [Variable(v.name, part) for v, part in zip(like, parts, strict=True)]
        found.append(begun(own, variables, chains, n, quick) if not s else _another(found[0], own, variables))
    _read(found, posterior, like)
    return [settled(evidence) for evidence in found]


def _another(first: Evidence, groups: dict[str, Any], variables: list[Variable]) -> Evidence:
    """Evidence of another data set like the first, before any of its draws was read."""
    kept = ("discrete", "bounded", "derived")
    blank = {n: np.zeros_like(v) for n, v in vars(first).items() if isinstance(v, np.ndarray) and n not in kept}
    return replace(first, **blank, groups=groups, variables=variables, numbers={}, lock=Lock())


def _read(found: list[Evidence], posterior: Any, like: list[Variable]) -> None:
    """Fill in what the draws say: everything that is asked of single columns for all data sets together."""
    first, sets = found[0], len(found)
    parts = []
    for variable in like:
        values = posterior[variable.name].values.astype(float).reshape(sets, *_shape(posterior), -1)
        if variable.circular:
            flat = np.moveaxis(values, 0, 2).reshape(*values.shape[1:3], -1)
            values = np.moveaxis(about_mean(flat).reshape(*values.shape[1:3], sets, -1), 2, 0)
        parts.append(values)
    x = np.moveaxis(np.concatenate(parts, -1), -1, 1)  # (set, column, chain, draw)
    bad = ~np.isfinite(x)
    low, high, count = x.min((2, 3)), x.max((2, 3)), bad.sum((2, 3))
    _read_chains(found, x, bad)
    x[count > 0] = 0.0
    numbers = _numbers(x.reshape(-1, *x.shape[2:]), first.plan)
    for s, evidence in enumerate(found):
        evidence.smallest[:], evidence.largest[:], evidence.non_finite[:] = low[s], high[s], count[s]
        for name, values in numbers.items():
            evidence.numbers[name] = np.where(count[s] > 0, np.nan, values.reshape(sets, -1)[s])


def _shape(posterior: Any) -> tuple[int, int]:
    """How many chains and draws."""
    return posterior.sizes["chain"], posterior.sizes["draw"]


def _read_chains(found: list[Evidence], x: np.ndarray, bad: np.ndarray) -> None:
    """What is asked of whole chains: whether they move, whether two are the same, whether a discrete value stays."""
    discrete = found[0].discrete
    counted = np.arange(x.shape[1]) if discrete.all() else np.flatnonzero(~discrete)
    by_draw, by_column = weights(0, x.shape[3]), weights(0, x.shape[1])
    for s, evidence in enumerate(found):
        own = np.ascontiguousarray(x[s][counted])
        evidence.moved[:] = (own[:, :, 1:] != own[:, :, :-1]).any(axis=0)
        hashed = (own.view(np.uint64) * by_draw).sum(axis=-1)
        evidence.fingerprint[:] = (hashed * by_column[counted][:, None]).sum(axis=0)
        evidence.bad_chains[:] = bad[s].any(axis=(0, 2))
        if discrete.any():
            still = stuck_of(x[s], int(discrete.sum())) & discrete[:, None]
            evidence.stuck[:], evidence.stuck_chains[:] = still.sum(axis=1), still.any(axis=0)


def _numbers(x: np.ndarray, plan: Plan) -> dict[str, np.ndarray]:
    """Every number of finite draws (column, chain, draw), by name, in blocks of bounded size."""
    numbers: dict[str, np.ndarray] = {}

    def work(part: slice, block: np.ndarray) -> None:
        for name, values in column_numbers(block, plan).items():
            numbers.setdefault(name, np.full(len(x), np.nan))[part] = values

    each_block((work, np.moveaxis(x, 0, 2)))
    return numbers
