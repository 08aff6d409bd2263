"""What tunes the kernels of many data sets in warmup: all by the same array operations, or one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from mcmc.engine.run import Run
from mcmc.warmup.lost_chains import lost_chains
from mcmc.warmup.pooled import Pooled


class Seen(NamedTuple):
    """What the chains of all data sets did since the last step: acceptance rates (set, chain, ...), and positions, with
    gradients or None, (set, chain, iteration, dim); log densities where they are (set, chain).
    """

    rates: np.ndarray
    positions: np.ndarray
    gradients: np.ndarray | None
    lps: np.ndarray


class Tuning:
    """The tuner's state of each data set, one after the other, and their kernels with the data sets in front."""

    state: Any

    def __init__(self, run: Run, tuner: Any, size: int):
        self.run, self.tuner, self.size = run, tuner, size
        self.state, self.leaves = self.start()

    @classmethod
    def of(cls, run: Run, tuner: Any, size: int) -> Tuning:
        """What tunes the kernel of this run."""
        return (SideBySide if isinstance(tuner, Pooled) else cls)(run, tuner, size)

    def start(self) -> tuple[Any, list]:
        """States and kernels before the first iteration."""
        return [self.run.start_tuning] * self.size, _repeated(self.run.form.start, self.size)

    def adjust(self, seen: Seen, t: int, total: int) -> None:
        """Tune the kernels by what chains did, those left out that are lost; `t` iterations of `total` are over."""
        each = []
        for i in range(self.size):
            among = ~lost_chains(seen.lps[i])
            rows = [None if x is None else x[i][among].reshape(-1, x.shape[-1]) for x in seen[1:3]]
            kernel = self.run.form.rebuild([x[i] for x in self.leaves])
            rate = seen.rates[i][among].mean(0)
            self.state[i], kernel = self.tuner.adjust(self.state[i], kernel, t, total, rate, *rows)
            each.append(self.run.form.leaves_of(kernel))
        self.leaves = [np.stack(x) for x in zip(*each, strict=True)]

    def restart(self, again: np.ndarray) -> None:
        """Tune anew on these data sets, where a window has just closed."""
        state, leaves = self.start()
        self.state = [new if a else old for a, new, old in zip(again, state, self.state, strict=True)]
        self.leaves = _either(again, leaves, self.leaves)


class SideBySide(Tuning):
    """The same where the tuner takes arrays with the data sets in front."""

    def start(self) -> tuple[Any, list]:
        """States and kernels before the first iteration."""
        return _repeated((self.run.start_tuning, self.run.form.start), self.size)

    def adjust(self, seen: Seen, t: int, total: int) -> None:
        """Tune the kernels. In place of the rows of a lost chain are those of another."""
        with np.errstate(invalid="ignore"):
            lost = lost_chains(seen.lps)
        sound = ~lost.reshape(*lost.shape, *(1,) * (seen.rates.ndim - 2))
        rate = np.where(sound, seen.rates, 0.0).sum(1) / sound.sum(1)
        rows = [None if x is None else _others(x, lost) for x in seen[1:3]]
        kernel = self.run.form.rebuild(self.leaves)
        with np.errstate(all="ignore"):  # as above: a data set may have failed
            self.state, kernel = self.tuner.adjust(self.state, kernel, t, total, rate, *rows)
        self.leaves = self.run.form.leaves_of(kernel)

    def restart(self, again: np.ndarray) -> None:
        """Tune anew on these data sets, where a window has just closed."""
        self.state, self.leaves = _either(again, self.start(), (self.state, self.leaves))


def _either(again: np.ndarray, new: Any, old: Any) -> Any:
    """The new arrays at data sets that begin again, the old ones elsewhere."""
    return jax.tree.map(lambda a, b: np.where(again.reshape(-1, *(1,) * (a.ndim - 1)), a, b), new, old)


def _others(x: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """Rows (set, chain · iteration, dim) of (set, chain, iteration, dim)."""
    for i in np.flatnonzero(lost.any(1)):
        x[i, lost[i]] = x[i, np.resize(np.flatnonzero(~lost[i]), lost[i].sum())]
    return x.reshape(len(x), -1, x.shape[-1])


def _repeated(tree: Any, size: int) -> Any:
    return jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], size, 0), tree)
