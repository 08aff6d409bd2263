"""Which axis of an array counts chains: what a shape or its values leave open is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mcmc.readers.limits import fail

ALIKE = 0.2
"""Correlation of neighbours along the first axis, above that along the second, from which draws may lie along it."""
MOST, FEWEST = 200_000, 16


def with_chains(arrays: Mapping[str, np.ndarray], chains: int | None, file: object) -> dict[str, np.ndarray]:
    """Arrays `(chain, draw, ...)` of one run: as they lie, turned as `chains` says, or rows parted into chains.

    Where one of them has a single axis, the first axis of all counts the draws of all chains, one chain after another,
    as NumPyro's `get_samples` and flat chains of emcee have them.
    """
    flat = [name for name, values in arrays.items() if values.ndim == 1 and len(values) > 1]
    if not flat:
        return {name: chains_first(name, values, chains, file) for name, values in arrays.items()}
    rows = len(arrays[flat[0]])
    for name, values in arrays.items():
        if values.shape[:1] != (rows,):
            remedy = "Write all arrays as (chain, draw, ...), or all with a row a draw."
            raise fail(f"{file}, {name}", f"shape {values.shape}", f"{rows} rows, as {flat[0]} has", remedy)
    if chains is None:
        remedy = "Say how many chains lie one after another: chains= in Python, --chains in the shell; 1 for one."
        raise fail(
            f"{file}, {flat[0]}", f"shape ({rows},), a row a draw", "(chain, draw, ...), or how many chains", remedy
        )
    if rows % chains:
        raise fail(f"{file}, {flat[0]}", f"{rows} draws", f"a multiple of {chains}, the chains", "Correct chains.")
    return {name: values.reshape(chains, -1, *values.shape[1:]) for name, values in arrays.items()}


def chains_first(name: str, values: np.ndarray, chains: int | None, file: object) -> np.ndarray:
    """An array `(chain, draw, ...)`; what may be `(draw, chain, ...)` is refused, or turned as `chains` says."""
    if values.ndim < 2:
        return values
    place, shape = f"{file}, {name}", values.shape
    if chains is not None:
        if shape[0] == chains:
            return values
        if shape[1] == chains:
            return values.swapaxes(0, 1)
        if chains == 1 and values.ndim == 2:  # a row a draw
            return values[None]
        raise fail(place, f"shape {shape}", f"{chains} chains as its first axis, or its second", "Correct chains.")
    told = f"shape {shape}, which is {shape[0]} chains of {shape[1]} draws, or (draw, chain)"
    if shape[0] > shape[1]:
        remedy = f"Say how many chains there are: {shape[0]} or {shape[1]} (chains= in Python, --chains in the shell)."
        raise fail(place, told, "fewer chains than draws, or their number", remedy)
    if shape[0] == shape[1] > 1:
        remedy = f"Where it is (chain, draw), say so: chains={shape[0]} (--chains); else write it so."
        raise fail(place, told, "fewer chains than draws, or their number", remedy)
    if _draws_come_first(values):
        found = f"{told}: neighbours along its first axis are alike, as draws of a chain are, and not along its second"
        remedy = f"Say how many chains there are: {shape[0]} or {shape[1]} (chains= in Python, --chains in the shell)."
        raise fail(place, found, "(chain, draw, ...), or the number of chains", remedy)
    return values


def _draws_come_first(values: np.ndarray) -> bool:
    """Whether rows follow each other as draws do: chains are in no order, so that neighbours among them are not alike.

    Chains that sit apart are alike along their draws too, which tells them from this, and what all chains do at one
    time, as in burn-in, goes on along the draws.
    """
    if values.dtype.kind not in "iuf" or min(values.shape[:2]) < FEWEST:
        return False
    x = values.reshape(*values.shape[:2], -1)
    x = x[:, :, :: max(1, x.shape[2] // 8)]
    x = np.asarray(x[:, : max(FEWEST, MOST // (x.shape[0] * x.shape[2]))], dtype=np.float64)
    x = x[:, :, np.isfinite(x).all((0, 1))]
    low, middle, high = np.quantile(x, (0.25, 0.5, 0.75), axis=(0, 1))
    x, spread = x[:, :, low < high], (high - low)[low < high]
    if not x.size:
        return False
    z = np.clip((x - middle[low < high]) / spread, -2, 2)  # one draw far out, as a start is, says nothing
    together = z.mean(0)
    apart = np.minimum(_alike(z), _alike(z) - _alike(z.swapaxes(0, 1)))  # antithetic draws are unlike
    within = _alike(z - together)
    goes_on = _alike(together[:, None])
    return bool(np.median(np.where(goes_on > ALIKE, within, np.maximum(apart, within))) > ALIKE)


def _alike(z: np.ndarray) -> np.ndarray:
    """Correlation of neighbours along the first axis `(parameter,)`."""
    z = z - z.mean((0, 1))
    variance = np.square(z).mean((0, 1))
    return (z[1:] * z[:-1]).mean((0, 1)) / np.where(variance > 0, variance, 1)
