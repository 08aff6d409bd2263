"""Angles: draws about their mean direction, so that the cut at ±π splits nothing; circular mean and sd."""

from typing import Any

import numpy as np

WHOLE = 2 * np.pi


def is_circular(array: Any) -> bool:
    """Whether a posterior variable holds angles: its attribute `support`, which `sample` writes, says so."""
    return array.attrs.get("support") == "circular"


def about_mean(values: np.ndarray) -> np.ndarray:
    """Angles (chain, draw, k) within half a turn of the mean direction of each column; they may pass ±π."""
    mean = _resultant(values)[0]
    return mean + wrapped(values - mean)


def circular_sd(values: np.ndarray) -> np.ndarray:
    """√(−2 log R) of each column of angles (chain, draw, k), R the length of the mean of (cos, sin), as in ArviZ."""
    length = _resultant(values)[1]
    return np.sqrt(np.maximum(0.0, -2 * np.log(np.maximum(length, np.finfo(float).tiny))))


def mean_direction(values: np.ndarray) -> np.ndarray:
    """The direction of the mean of (cos, sin) of each column of angles (chain, draw, k), in [−π, π)."""
    return wrapped(_resultant(values)[0])


def wrapped(angle: np.ndarray) -> np.ndarray:
    """The same angle in [−π, π)."""
    return (angle + np.pi) % WHOLE - np.pi


def _resultant(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, float)
    with np.errstate(invalid="ignore"):  # infinite draws are another check's business
        x, y = np.cos(values).mean(axis=(0, 1)), np.sin(values).mean(axis=(0, 1))
    return np.arctan2(y, x), np.hypot(x, y)
