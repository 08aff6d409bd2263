"""Effective sample size from autocorrelations: averaged power spectra, Geyer's truncation in closed form."""

from typing import Any

import numpy as np


def ess_of(xp: Any, x: Any) -> Any:
    """Return the effective sample size of the mean of `(column, chain, draw)`, each chain taken as it is.

    `S / tau` with `tau = -1 + 2 sum_t rho_t` cut by Geyer's initial positive and monotone sequences, where
    `rho_t = 1 - (W - acov_t) / var_plus` and `acov_t` is the mean of the chains' autocovariances. The inverse
    transform is linear, so one of the averaged power spectrum gives that mean exactly. Columns without any
    variation count every draw.
    """
    size = x.shape[1] * x.shape[2]
    mean = x.mean(axis=-1)
    centred = x - mean[..., None]
    if xp is np:
        tau = _tau_numpy(mean, centred)
    else:
        tau = _tau(xp, _autocovariance(xp, centred, x.shape[2]), mean, x.shape[2])[0]
    ess = size / xp.maximum(tau, 1 / np.log10(size))
    constant = x.max(axis=(1, 2)) == x.min(axis=(1, 2))
    return xp.where(constant, 1.0 * size, ess)


def _tau_numpy(mean: np.ndarray, centred: np.ndarray) -> np.ndarray:
    """Try an eighth of the lags first (less padding); columns whose sum runs on get the full transform."""
    draws = centred.shape[2]
    lags = draws // 8
    if lags < 32:
        return _tau(np, _autocovariance(np, centred, draws), mean, draws)[0]
    tau, complete = _tau(np, _autocovariance(np, centred, lags), mean, draws)
    more = np.flatnonzero(~complete)
    if more.size:
        tau[more] = _tau(np, _autocovariance(np, centred[more], draws), mean[more], draws)[0]
    return tau


def _autocovariance(xp: Any, centred: Any, lags: int) -> Any:
    """Return the chains' mean autocovariance at lags `0 ... lags - 1`: `(column, lags)`."""
    columns, chains, draws = centred.shape
    if xp is not np:
        padded = 1 << (draws + lags - 1).bit_length()
        spectrum = xp.fft.rfft(centred, n=padded, axis=-1)
        power = (spectrum.real**2 + spectrum.imag**2).mean(axis=1)
        return xp.fft.irfft(power, n=padded, axis=-1)[:, :lags] / draws
    from scipy.fft import irfft, next_fast_len, rfft

    padded = int(next_fast_len(draws + lags, real=True) or 0)
    power = np.empty((columns, padded // 2 + 1))
    for column in range(columns):  # one column at a time keeps its spectrum in the cache
        spectrum = np.ascontiguousarray(rfft(centred[column], n=padded, axis=-1))
        parts = spectrum.view(np.float64)  # real and imaginary parts in turn
        square = np.einsum("cf,cf->f", parts, parts)
        power[column] = square[0::2] + square[1::2]
    return np.asarray(irfft(power, n=padded, axis=-1))[:, :lags] / (draws * chains)


def _tau(xp: Any, acov: Any, mean: Any, draws: int) -> tuple[Any, Any]:
    """Return tau of each column, and whether the lags at hand sufficed for it.

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
    return xp.where(xp.isnan(first_odd), xp.nan, tau), complete
