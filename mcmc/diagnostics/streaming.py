"""Moments of chains as their draws arrive: R-hat and ESS of a run in progress, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcmc.diagnostics import variances
from mcmc.diagnostics.estimators import ess_from_chain_means
from mcmc.errors import WrongValue


class Moments:
    r"""Count, mean and sum of squared deviations of every chain and column, over equal blocks of draws.

    Draws go into blocks of `block` draws; when there would be more than `max_blocks`, neighbours are merged
    and `block` doubles (Chan, Golub, LeVeque 1983):

    .. math:: M_2 = M_{2a} + M_{2b} + (m_a - m_b)^2 \, n_a n_b / (n_a + n_b)

    so that the first and the last half of the run are always at hand, in `O(max_blocks * chains * dim)`
    memory, for a few nanoseconds a value. All results are of the draws themselves, not of their ranks. R-hat
    and ESS use whole blocks only; the draws left out are at most `2 / max_blocks` of them.

    Args:
        max_blocks: how many blocks are kept; an even number, at least 4. None: 32 for up to 32 chains, 8 for
            more (where chains, not blocks, give the ESS).

    Raises:
        ValueError: `max_blocks` odd or below 4; a chunk that is not `(chain, n, dim)` or changes `chain` or
        `dim`.

    Example:
        >>> import numpy as np
        >>> moments = Moments()
        >>> for chunk in np.random.default_rng(0).normal(size=(10, 4, 100, 3)):
        ...     moments.update(chunk)
        >>> moments.draws, moments.rhat().shape
        (1000, (3,))
    """

    def __init__(self, max_blocks: int | None = None):
        if max_blocks is not None and (max_blocks < 4 or max_blocks % 2):
            raise WrongValue.told("x", f"max_blocks is {max_blocks}; expected an even number from 4: use None or 32.")
        self.max_blocks = max_blocks or 0
        self.block = 1
        """Draws in a full block."""
        self.draws = 0
        """Draws taken in so far, per chain."""
        self._filled = 0  # full blocks; the block after them may be part full
        self._open = 0  # draws in that one
        self._mean = np.empty((0, 0, 0))  # (block, chain, dim)
        self._m2 = np.empty((0, 0, 0))

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        """What `restored` needs: arrays with a chain axis second, and counts."""
        counts = {"max_blocks": self.max_blocks, "block": self.block, "draws": self.draws}
        counts |= {"filled": self._filled, "open": self._open}
        return {"moments_mean": self._mean, "moments_m2": self._m2}, counts

    @classmethod
    def restored(cls, arrays: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> Moments:
        """The moments of a `state`."""
        moments = cls(counts["max_blocks"] or None)
        moments.block, moments.draws = counts["block"], counts["draws"]
        moments._filled, moments._open = counts["filled"], counts["open"]
        moments._mean, moments._m2 = (np.array(arrays[f"moments_{n}"]) for n in ("mean", "m2"))
        return moments

    # --- draws in -----------------------------------------------------------------------------------------

    def update(self, chunk: Any) -> None:
        """Take in the next draws of every chain: a `(chain, n, dim)` chunk of any real dtype and any `n`."""
        chunk = np.asarray(chunk)
        self._check(chunk)
        self._make_room(chunk.shape[1])
        at, n = 0, chunk.shape[1]
        if self._open and n:
            at = min(self.block - self._open, n)
            self._extend_open(chunk[:, :at])
        whole = (n - at) // self.block
        if whole:
            into = slice(self._filled, self._filled + whole)
            pieces = chunk[:, at : at + whole * self.block]
            pieces = pieces.reshape(chunk.shape[0], whole, self.block, chunk.shape[2])
            mean, m2 = _block_moments(pieces)
            self._mean[into], self._m2[into] = mean.swapaxes(0, 1), m2.swapaxes(0, 1)
            self._filled += whole
            at += whole * self.block
        if at < n:
            self._extend_open(chunk[:, at:])
        self.draws += n

    def _check(self, chunk: np.ndarray) -> None:
        if chunk.ndim != 3 or chunk.dtype.kind not in "biuf":
            raise WrongValue.told(
                "x",
                f"chunk has shape {chunk.shape} and dtype {chunk.dtype}; expected real (chain, n, dim): "
                "reshape the draws to a matrix per chain.",
            )
        shape = (chunk.shape[0], chunk.shape[2])
        if not self.draws:
            self.max_blocks = self.max_blocks or (32 if chunk.shape[0] <= 32 else 8)
            self._mean = np.zeros((self.max_blocks + 1, *shape))
            self._m2 = np.zeros((self.max_blocks + 1, *shape))
        elif shape != self._mean.shape[1:]:
            raise WrongValue.told(
                "x",
                f"chunk has (chain, dim) = {shape}; expected {self._mean.shape[1:]}, as before: "
                "start new Moments for another run.",
            )

    def _make_room(self, n: int) -> None:
        """Double the block until all draws fit in `max_blocks`."""
        while self.draws + n > self.max_blocks * self.block:
            odd = self._filled % 2
            if odd and self._open:  # the part-full block joins the last full one
                self._merge_pair(self._filled - 1, self.block, self._open)
                self._open += self.block
            elif odd:
                self._open = self.block
            pairs = self._filled // 2
            for new in range(pairs):
                self._merge_pair(2 * new, self.block, self.block)
                self._mean[new], self._m2[new] = self._mean[2 * new], self._m2[2 * new]
            if self._open:
                last = self._filled - 1 if odd else self._filled
                self._mean[pairs], self._m2[pairs] = self._mean[last], self._m2[last]
            self._filled = pairs
            self.block *= 2

    @np.errstate(all="ignore")
    def _merge_pair(self, first: int, n: int, m: int) -> None:
        """Merge block `first + 1` (of `m` draws) into block `first` (of `n`)."""
        shift = self._mean[first + 1] - self._mean[first]
        self._mean[first] += shift * (m / (n + m))
        self._m2[first] += self._m2[first + 1] + shift**2 * (n * m / (n + m))

    def _extend_open(self, draws: np.ndarray) -> None:
        at, new = self._filled, draws.shape[1]
        mean, m2 = _block_moments(draws[:, None])
        if self._open:
            self._mean[at + 1], self._m2[at + 1] = mean[:, 0], m2[:, 0]
            self._merge_pair(at, self._open, new)
        else:
            self._mean[at], self._m2[at] = mean[:, 0], m2[:, 0]
        self._open += new
        if self._open == self.block:
            self._filled, self._open = self._filled + 1, 0

    # --- results out --------------------------------------------------------------------------------------

    @property
    def chains(self) -> int:
        """How many chains there are; 0 before the first chunk."""
        return self._mean.shape[1]

    def chain_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and unbiased variance of all draws of each chain: two `(chain, dim)` arrays."""
        counts = np.full(self._filled + bool(self._open), float(self.block))
        if self._open:
            counts[-1] = self._open
        mean, m2 = _merged(self._mean[: len(counts)], self._m2[: len(counts)], counts)
        with np.errstate(all="ignore"):
            return mean, m2 / (self.draws - 1)

    def mean(self) -> np.ndarray:
        """Return the mean over all chains and draws, `(dim,)`."""
        return self.chain_moments()[0].mean(axis=0)

    def variance(self) -> np.ndarray:
        """Return the variance over all chains and draws, `(dim,)`, within chains and between them."""
        mean, variance = self.chain_moments()
        n, size = self.draws, self.draws * self.chains
        with np.errstate(all="ignore"):
            m2 = (n - 1) * variance.sum(axis=0) + n * ((mean - mean.mean(axis=0)) ** 2).sum(axis=0)
            return m2 / (size - 1)

    def rhat(self) -> np.ndarray:
        """Return split R-hat of the draws, `(dim,)`: from the first and the last half of the blocks.

        NaN below two blocks of two draws, or for a column that never varies. One chain is compared with
        itself.
        """
        halves = self._halves()
        if halves is None:
            return np.full(self._mean.shape[2], np.nan)
        with np.errstate(all="ignore"):
            return variances.rhat_of(np, *halves[:2], halves[2])

    def nested_rhat(self, superchains: Any) -> np.ndarray:
        """Return nested split R-hat of the draws, `(dim,)`; one superchain label a chain, equal sizes."""
        groups = variances.superchain_groups(superchains, self.chains)
        halves = self._halves()
        if halves is None:
            return np.full(self._mean.shape[2], np.nan)
        with np.errstate(all="ignore"):
            return variances.nested_rhat_of(np, *halves[:2], variances.split_groups(groups))

    def ess(self) -> np.ndarray:
        r"""Return the effective sample size of the mean, `(dim,)`, from batch means.

        .. math:: \mathrm{ESS} = \frac{K \, s^2(x)}{s^2(\mathrm{means})}

        over the `K` longest batches of which there are at least 32 in all: whole chains from 32 chains on
        (then right even for chains shorter than their autocorrelation), parts of chains below. Precise to
        about `sqrt(2 / (K - 1))`. A stuck ensemble still counts its batches: judge together with R-hat.
        """
        per_batch = 1
        while self._filled // (2 * per_batch) * self.chains >= 32:
            per_batch *= 2
        batches = self._filled // per_batch
        if batches * self.chains < 4 or self.draws < 2:
            return np.full(self._mean.shape[2], np.nan)
        if batches == 1:
            means = self.chain_moments()[0]
        else:
            means = self._mean[: batches * per_batch].reshape(batches, per_batch, *self._mean.shape[1:]).mean(axis=1)
        means = means.reshape(-1, self._mean.shape[2]).T
        draws = self.draws * self.chains / means.shape[1]
        with np.errstate(all="ignore"):
            return ess_from_chain_means(np, means, self.variance(), draws)

    def worst(self) -> tuple[float | None, float | None]:
        """The largest R-hat and the smallest ESS of any column, None where there is none yet."""
        with np.errstate(all="ignore"):
            rhat, ess = self.rhat(), self.ess()
        rhat, ess = rhat[np.isfinite(rhat)], ess[np.isfinite(ess)]
        return (float(rhat.max()) if rhat.size else None), (float(ess.min()) if ess.size else None)

    def _halves(self) -> tuple[np.ndarray, np.ndarray, int] | None:
        """Means and variances `(dim, 2 chain)` of the halves of the full blocks, and their length."""
        half = self._filled // 2
        n = half * self.block
        if n < 2:
            return None
        counts = np.full(half, float(self.block))
        last = slice(self._filled - half, self._filled)
        first_half = _merged(self._mean[:half], self._m2[:half], counts)
        last_half = _merged(self._mean[last], self._m2[last], counts)
        mean = np.stack([first_half[0], last_half[0]], axis=1).reshape(-1, self._mean.shape[2])
        m2 = np.stack([first_half[1], last_half[1]], axis=1).reshape(-1, self._mean.shape[2])
        return mean.T, m2.T / (n - 1), n


def _block_moments(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and sum of squared deviations over the draws of `(chain, block, draw, dim)`.

    In one pass, of deviations from each block's first draw, so that nothing is lost to a large mean.
    """
    n = draws.shape[2]
    reference = draws[:, :, 0].astype(np.float64)
    with np.errstate(all="ignore"):
        shifted = draws - reference[:, :, None]
        total = np.einsum("cbnd->cbd", shifted)
        square = np.einsum("cbnd,cbnd->cbd", shifted, shifted)
        return reference + total / n, np.maximum(square - total**2 / n, 0.0)


def _merged(mean: np.ndarray, m2: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Merge blocks along the first axis: mean and sum of squared deviations of their union."""
    weight = (counts / counts.sum())[:, None, None]
    with np.errstate(all="ignore"):
        overall = (weight * mean).sum(axis=0)
        return overall, m2.sum(axis=0) + (counts[:, None, None] * (mean - overall) ** 2).sum(axis=0)
