"""Names of a target's scalar columns, as the diagnosis writes them, for those who watch a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from mcmc.diagnostics.evidence import Labels
from mcmc.target.target import Target
from mcmc.target.traced import Column


@dataclass(frozen=True)
class Recorded:
    """A recorded array and the labels along its dimensions."""

    column: Column
    target: Target

    @property
    def name(self) -> str:
        """Its name."""
        return self.column.name

    @property
    def event(self) -> tuple[int, ...]:
        """Its shape at one draw."""
        return self.column.shape

    @property
    def size(self) -> int:
        """How many scalars it holds."""
        return prod(self.event)

    def axes(self) -> list[Sequence[Any]]:
        """The labels along each of its dimensions: the target's coordinates where it has them, else positions."""
        dims = self.target.dims.get(self.name) or [""] * len(self.event)
        return [
            self.target.coords.get(dim, range(size)) if dim else range(size)
            for dim, size in zip(dims, self.event, strict=True)
        ]


def labels_of(target: Target, columns: Sequence[Column]) -> Labels:
    """The name of each scalar in a recorded draw, made when it is asked for.

    >>> import mcmc
    >>> columns = (Column("theta", (2,), "float64", 0, 2), Column("mu", (), "float64", 2, 3))
    >>> list(labels_of(mcmc.Target(lambda p: p["mu"], {"mu": mcmc.real()}), columns))
    ['theta[0]', 'theta[1]', 'mu']
    """
    arrays: list[Any] = [Recorded(column, target) for column in columns if 0 not in column.shape]
    return Labels(arrays)
