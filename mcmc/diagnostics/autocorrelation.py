"""Effective sample size from autocorrelations: averaged power spectra, Geyer's truncation in closed form."""

from typing import Any

import numpy as np

ROOM = 1 << 16
"""About how many values are transformed in one batch: their spectra stay in the cache."""

FEW_LAGS = 32
"""The lags that are tried first, at least: of chains that mix the sum ends in them."""


def ess_of(xp: Any, x: Any) -> Any:
    """Return the effective sample size of the mean of `(column, chain, draw)`, each chain taken as it is.

    `S / tau` with `tau = -1 + 2 sum_t rho_t` cut by Geyer's initial positive and monotone sequences, where
    `rho_t = 1 - (W - acov_t) / var_plus` and `acov_t` is the mean of the chains' autocovariances. The inverse
    transform is linear, so one of the averaged power spectrum gives that mean exactly. Columns without any
    variation count every draw.
    """
    size, draws = x.shape[1] * x.shape[2], x.shape[2]
    mean = x.mean(axis=-1)
    tau = _tau_numpy(x, mean) if xp is np else _tau(xp, _autocovariance_jax(xp, x, mean), mean, draws)[0]
    ess = size / xp.maximum(tau, 1 / np.log10(size))
    constant = x.max(axis=(1, 2)) == x.min(axis=(1, 2))
    return xp.where(constant, 1.0 * size, ess)


def _tau_numpy(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Try few lags first (less padding); columns whose sum runs on get the full transform."""
    draws = x.shape[2]
    likely = _likely_lags(x, mean)
    tau, complete = np.empty(len(x)), np.zeros(len(x), bool)
    for lags in np.unique(likely).tolist():
        some = np.flatnonzero(likely == lags)
        covariance = _autocovariance(x, mean, lags, some)
        tau[some], complete[some], _ = _tau(np, covariance, mean[some], draws)
    more = np.flatnonzero(~complete)
    if more.size:
        tau[more] = _tau(np, _autocovariance(x, mean, draws, more), mean[more], draws)[0]
    return tau


def _likely_lags(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """How many lags each column may need: from a sixteenth of many chains; of few, an eighth of all lags, or 32."""
    columns, chains, draws = x.shape
    if draws < 32:
        return np.full(columns, draws)
    if chains < 64:
        return np.full(columns, min(draws, max(draws // 8, FEW_LAGS)))
    x, mean = x[:, ::16], mean[:, ::16]
    kept = _tau(np, _autocovariance(x, mean, draws, np.arange(columns)), mean, draws)[2]
    lengths = [_fast_length(draws + 4 * pairs + 8) for pairs in kept.tolist()]  # with less noise more are kept
    return np.minimum(np.array(lengths) - draws, draws)


def _autocovariance(x: np.ndarray, mean: np.ndarray, lags: int, some: np.ndarray) -> np.ndarray:
    """Return the chains' mean autocovariance at lags `0 ... lags - 1` of some columns: `(column, lags)`."""
    _, chains, draws = x.shape
    padded = _fast_length(draws + lags)
    power = np.zeros((len(some), padded // 2 * 2 + 2))  # of real and imaginary parts in turn
    rows = min(chains, max(1, ROOM // padded))
    columns = max(1, ROOM // (rows * padded))
    room = np.zeros((min(columns, len(some)), rows, padded))
    spectrum = np.empty((*room.shape[:2], padded // 2 + 1), complex)
    for at in range(0, len(some), columns):
        part = some[at : at + columns]
        for row in range(0, chains, rows):
            inside = slice(row, min(row + rows, chains))
            k, c = len(part), inside.stop - inside.start
            np.subtract(x[part, inside], mean[part, inside, None], out=room[:k, :c, :draws])
            np.fft.rfft(room[:k, :c], axis=-1, out=spectrum[:k, :c])
            parts = spectrum[:k, :c].view(np.float64)
            power[at : at + k] += np.einsum("kcf,kcf->kf", parts, parts)
    return np.fft.irfft(power[:, 0::2] + power[:, 1::2], n=padded, axis=-1)[:, :lags] / (draws * chains)


def _fast_length(n: int) -> int:
    """The least length from `n` on that is a power of two times 1, 3, 5, 9 or 15, which transforms fast."""
    return min(odd << max(0, (-(-n // odd) - 1).bit_length()) for odd in (1, 3, 5, 9, 15))


def _autocovariance_jax(xp: Any, x: Any, mean: Any) -> Any:
    """The same at all lags, by powers of two."""
    draws = x.shape[2]
    padded = 1 << (2 * draws - 1).bit_length()
    spectrum = xp.fft.rfft(x - mean[..., None], n=padded, axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
    return xp.fft.irfft(power, n=padded, axis=-1)[:, :draws] / draws


def _tau(xp: Any, acov: Any, mean: Any, draws: int) -> tuple[Any, Any, Any]:
    """Return tau of each column, whether the lags at hand sufficed for it, and how many pairs of them it took.

    With pair sums `s_j = rho_2j + rho_2j+1`, pairs are kept while positive: `K` of them, at most `(n - 3) //
    2`. Monotone means their running minimum. The even term after the last pair is added where it is positive,
    or where its pair is not negative.
    """
    within = acov[:, :1] * draws / (draws - 1)
    total = acov[:, :1]
    if mean.shape[1] > 1:
        total = total + mean.var(axis=-1, ddof=1)[:, None]
    rho = 1 - (within - acov) / total
    first_odd = rho[:, 1]
    rho = xp.concatenate([xp.ones_like(rho[:, :1]), rho[:, 1:]], axis=-1)
    most = max((draws - 3) // 2, 0)
    known = min(most + 1, rho.shape[1] // 2)
    even, pair = rho[:, : 2 * known : 2], rho[:, : 2 * known : 2] + rho[:, 1 : 2 * known : 2]
    going = xp.cumprod((pair > 0).astype(rho.dtype), axis=-1)
    kept = going.sum(axis=-1).astype(int)
    complete = (kept < known) | (known == most + 1)
    kept = xp.minimum(kept, known - 1)
    inside = xp.arange(known) < kept[:, None]
    monotone = xp.minimum.accumulate(pair, axis=-1)
    last_even = xp.take_along_axis(even, kept[:, None], axis=-1)[:, 0]
    last_pair = xp.take_along_axis(pair, kept[:, None], axis=-1)[:, 0]
    tail = xp.where((last_even > 0) | (last_pair >= 0), last_even, 0.0)
    tau = -1 + 2 * xp.where(inside, monotone, 0.0).sum(axis=-1) + tail
    return xp.where(xp.isnan(first_odd), xp.nan, tau), complete, kept
