"""From any ArviZ-like tree to named columns: groups, variables, labels, and pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.diagnostics.circular import about_mean, is_circular
from mcmc.errors import WrongType, WrongValue

if TYPE_CHECKING:
    import xarray
    from numpy.typing import ArrayLike

type Draws = xarray.DataTree | xarray.Dataset | Mapping[str, xarray.Dataset] | Mapping[str, Mapping[str, ArrayLike]]
"""Draws as an ArviZ tree, the Dataset of its posterior, or arrays `(chain, draw, ...)` by group and name."""

PIECE_BYTES = 1 << 28
"""Variables above this size are read in slices of their first dimension."""


@dataclass(frozen=True)
class Variable:
    """One posterior variable with dims `(chain, draw, ...)`, possibly lazy."""

    name: str
    array: xarray.DataArray

    @property
    def event(self) -> tuple[int, ...]:
        """Its shape without chain and draw."""
        return tuple(self.array.shape[2:])

    @property
    def size(self) -> int:
        """How many scalar parameters it holds."""
        return int(np.prod(self.event))

    @property
    def discrete(self) -> bool:
        """Whether it holds integers or booleans."""
        return self.array.dtype.kind in "biu"

    def axes(self) -> list[Any]:
        """The labels along each of its dims: coordinate values where it has them, else positions."""
        return [
            self.array.coords[dim].values if dim in self.array.coords else range(size)
            for dim, size in zip(self.array.dims[2:], self.event, strict=True)
        ]

    @property
    def circular(self) -> bool:
        """Whether it holds angles."""
        return is_circular(self.array)

    @property
    def bounded(self) -> bool:
        """Whether its values are bounded on both sides, as `sample` writes in its attribute `support`."""
        return self.circular or self.array.attrs.get("support") == "bounded"

    def pieces(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Read it as `(columns, draws)` pairs, draws `(chain, draw, k)`, in slices of bounded size.

        Angles come about their mean direction, so that none of a mass across ±π is far from the rest.
        """
        for columns, values in self.read():
            yield columns, about_mean(values) if self.circular else values

    def read(self) -> Iterator[tuple[slice, np.ndarray]]:
        """The pieces as they were recorded."""
        if not self.event:
            yield slice(0, 1), np.asarray(self.array.values)[:, :, None]
            return
        rest = self.size // self.event[0] if self.event[0] else 0
        row_bytes = max(1, self.array.dtype.itemsize * self.array.shape[0] * self.array.shape[1] * rest)
        rows = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, self.event[0], rows):
            part = self.array.isel({self.array.dims[2]: slice(start, start + rows)})
            values = np.asarray(part.values)
            yield slice(start * rest, (start + part.shape[2]) * rest), values.reshape(*values.shape[:2], -1)


def groups_of(draws: Any) -> dict[str, Any]:
    """Return the groups of a DataTree, a Dataset (its posterior), an InferenceData or a mapping of groups.

    Values are `xarray.Dataset`s. What is no such thing is a TypeError; one without a posterior a ValueError.
    """
    import xarray

    if isinstance(draws, xarray.DataTree):
        found = {name: node.to_dataset() for name, node in draws.children.items()}
        if not found and draws.data_vars:
            found = {"posterior": draws.to_dataset()}
    elif isinstance(draws, xarray.Dataset):
        found = {"posterior": draws}
    elif isinstance(draws, Mapping):
        found = {str(name): _dataset(group, str(name)) for name, group in draws.items() if group is not None}
    elif isinstance(getattr(draws, "posterior", None), xarray.Dataset):
        names = [name for name in ("posterior", "sample_stats", "run_state") if hasattr(draws, name)]
        found = {name: getattr(draws, name) for name in names}
    else:
        if isinstance(draws, str | Path):
            raise WrongType.told(
                "posterior",
                f"draws: got the path {str(draws)!r}; expected draws. Read them: mcmc.read({str(draws)!r}).",
            )
        raise WrongType.told(
            "posterior",
            f"draws is a {type(draws).__name__}; expected an xarray DataTree with a posterior group: "
            "pass what sample() returned, or build one with arviz.from_dict.",
        )
    if "posterior" not in found:
        raise WrongValue.told(
            "posterior",
            f"draws has groups {sorted(found)}; expected a posterior group: put the draws there, as "
            "{'posterior': {'name': (chain, draw, ...) array}}.",
        )
    return found


def posterior_variables(posterior: Any) -> tuple[list[Variable], int, int]:
    """Return the variables of a posterior and its numbers of chains and draws; refuse an empty one."""
    variables = []
    for name, array in posterior.data_vars.items():
        missing = [dim for dim in ("chain", "draw") if dim not in array.dims]
        if missing:
            raise WrongValue.told(
                "posterior",
                f"posterior variable {name} has dims {array.dims}; expected 'chain' and 'draw' among them: "
                "rename its dims, or drop it from the posterior.",
            )
        if array.dtype.kind not in "biuf":
            raise WrongType.told(
                "posterior",
                f"posterior variable {name} has dtype {array.dtype}; expected real numbers or booleans: "
                "drop it from the posterior, or encode it as numbers.",
            )
        variable = Variable(str(name), array.transpose("chain", "draw", ...))
        if variable.size:
            variables.append(variable)
    if not variables:
        raise WrongValue.told(
            "posterior", "draws has an empty posterior; expected at least one variable: record some parameters."
        )
    chains, n = variables[0].array.shape[:2]
    if not chains or not n:
        raise WrongValue.told(
            "posterior",
            f"draws has {chains} chains of {n} draws; expected at least 1 of each: sample before judging the sample.",
        )
    return variables, chains, n


def _dataset(group: Any, name: str) -> Any:
    """Turn a mapping of `(chain, draw, ...)` arrays into a Dataset; pass datasets through."""
    import xarray

    if isinstance(group, xarray.DataTree):
        return group.to_dataset()
    if isinstance(group, xarray.Dataset):
        return group
    if not isinstance(group, Mapping):
        raise WrongType.told(
            "posterior",
            f"draws[{name!r}] is a {type(group).__name__}; expected a Dataset or a mapping of names to "
            "arrays: give each variable a (chain, draw, ...) array.",
        )
    arrays = {}
    for key, value in group.items():
        if isinstance(value, xarray.DataArray):
            arrays[key] = value
            continue
        value = np.asarray(value)
        lead = ["chain", "draw"][: value.ndim] if name != "run_state" else ["chain"][: value.ndim]
        if name == "posterior" and value.ndim < 2:
            raise WrongValue.told(
                "posterior",
                f"draws['posterior'][{key!r}] has shape {value.shape}; expected (chain, draw, ...): "
                "for one chain add a leading axis of length 1.",
            )
        arrays[key] = (lead + [f"{key}_dim_{i}" for i in range(value.ndim - len(lead))], value)
    return xarray.Dataset(arrays)
