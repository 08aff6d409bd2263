"""Compiled programs, kept in the process by what they are: the latest few, whichever target they were made for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import jax

from mcmc.target.fingerprint import Fingerprint

MOST_PROGRAMS, MOST_FACTS = 64, 1024


class Cache:
    """A bounded mapping that forgets what was used longest ago."""

    def __init__(self, most: int):
        self.most, self._held, self._lock = most, OrderedDict(), threading.Lock()

    def __reduce__(self) -> tuple:  # a copy is empty
        return Cache, (self.most,)

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What is kept under a key; made, and kept, where there is nothing."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        with self._lock:
            self._held[key] = made
            while len(self._held) > self.most:
                self._held.popitem(last=False)
        return made

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()


class OfTarget(Protocol):
    """What has a cache of its own, for programs that are of no use to others."""

    programs: Cache


def cache_of(target: OfTarget, *parts: Fingerprint) -> Cache:
    """Where a program of these parts is kept: with its target, if they mean something to that alone."""
    return target.programs if any(part.private for part in parts) else PROGRAMS


PROGRAMS, FACTS = Cache(MOST_PROGRAMS), Cache(MOST_FACTS)


def options() -> tuple:
    """The settings of JAX that a program depends on, as they are now."""
    return tuple((name, str(getattr(jax.config, name, value))) for name, value in sorted(jax.config.values.items()))
