"""What a kernel and a direct sampler are, for type checkers: any object with these methods will do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax


class Kernel(Protocol):
    """A Markov kernel of one chain: `init` makes the state at a position (dim,), `step` moves it.

    Optional class attributes say more: `needs_gradient`, `takes_discrete`, `ensemble`.
    """

    def init(self, position: jax.Array, log_density: Callable[[jax.Array], jax.Array], /) -> Any:
        """The state of a chain that starts at `position`."""
        ...

    def step(self, key: jax.Array, state: Any, log_density: Callable[[jax.Array], jax.Array], /) -> tuple[Any, Any]:
        """The next state, and what the step did."""
        ...


class DirectSampler(Protocol):
    """A sampler of independent draws."""

    def sample(self, key: jax.Array, shape: tuple[int, ...], /) -> Any:
        """Draws with these leading dimensions: an array, or a dict of arrays by name."""
        ...
