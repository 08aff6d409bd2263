"""The processes of one run: several, on one machine or many, once `jax.distributed` is initialised.

Every process runs the same script. Chains are divided among them; what needs all chains (warmup, starts, the log
densities after each chunk) is gathered in chain order, so that all see the same. What depends on a clock, and what
floating-point libraries of different machines may round differently, the first process decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mcmc.errors import SamplingError


@dataclass(frozen=True)
class Processes:
    """Which process this is, among all that share a run."""

    index: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Processes:
        """As JAX knows them; one, where `jax.distributed` is not initialised."""
        if not jax.distributed.is_initialized():
            return cls()
        return cls(jax.process_index(), jax.process_count())

    def gather(self, x: Any) -> np.ndarray:
        """An array of the same shape and type from every process, (process, ...), bit for bit."""
        x = np.asarray(x)
        if self.count == 1:
            return x[None]
        from jax.experimental import multihost_utils

        raw = np.frombuffer(x.tobytes(), np.uint8)
        if not raw.size:
            return np.zeros((self.count, *x.shape), x.dtype)
        try:
            gathered = np.asarray(multihost_utils.process_allgather(raw))
        except (RuntimeError, ValueError, OSError) as error:
            remedy = "Its own messages say why. mcmc.resume(target, store) goes on from the last commit."
            raise SamplingError(f"another process of this run has ended or can't be reached. {remedy}") from error
        return np.frombuffer(gathered.tobytes(), x.dtype).reshape(self.count, *x.shape)

    def first(self, x: Any) -> Any:
        """What the first process has: a number, or a pytree of arrays."""
        if self.count == 1:
            return x
        leaves, structure = jax.tree.flatten(x)
        arrays = [np.asarray(leaf) for leaf in leaves]
        raw = self.gather(np.frombuffer(b"".join(a.tobytes() for a in arrays), np.uint8))[0].tobytes()
        ends = np.cumsum([a.nbytes for a in arrays]).tolist()
        parts = (
            np.frombuffer(raw[e - a.nbytes : e], a.dtype).reshape(a.shape) for a, e in zip(arrays, ends, strict=True)
        )
        return jax.tree.unflatten(structure, list(parts))

    def first_bytes(self, raw: bytes) -> bytes:
        """What the first process has, whose length the others need not know."""
        if self.count == 1:
            return raw
        size = int(self.first(np.int64(len(raw))))
        return self.first(np.frombuffer(raw.ljust(size, b"\0")[:size], np.uint8)).tobytes()

    def wait(self) -> None:
        """Until every process is here."""
        self.gather(np.zeros(1, np.uint8))

    def once(self, act: Callable[[], Any]) -> None:
        """Have the first process do it, while the others wait; where it fails, all do."""
        error: Exception | None = None
        if self.index == 0:
            try:
                act()
            except Exception as raised:
                error = raised
        if self.first(error is not None):
            raise error or SamplingError("the first process could not go on; its own message says why.")
