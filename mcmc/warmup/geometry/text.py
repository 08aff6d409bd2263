"""What a map says of the model, in one line: which parameters scale which, and which shift them."""

from __future__ import annotations

import numpy as np

from mcmc.target.space import Leaf, Space
from mcmc.target.support import Interval, Lower, Real
from mcmc.warmup.geometry.block_layer import BlockLayer
from mcmc.warmup.geometry.curve_layer import CurveLayer
from mcmc.warmup.geometry.joint_layer import JointLayer
from mcmc.warmup.geometry.linear_layer import LinearLayer
from mcmc.warmup.geometry.tail_layer import TailLayer
from mcmc.warmup.geometry.triangular_map import Layer


def describe(layers: tuple[Layer, ...], space: Space) -> str:
    """Such as "log tau scales theta[0..7], mu shifts them"; "affine" where there is no map.

    Parameters that are moved on another scale than their own stand with it: log tau, logit p.
    """
    parts = []
    for layer, following in zip(layers, (*layers[1:], None), strict=False):
        if isinstance(layer, LinearLayer):
            count = len(following.parents) if isinstance(following, BlockLayer) else 1
            combinations = "a combination" if count == 1 else f"{count} combinations"
            verb = _verb("scale", np.arange(count))
            return f"{combinations} of {_names(np.arange(space.dim), space)} {verb} others"
        if isinstance(layer, TailLayer):
            parts.append(f"{_names(layer.mapped, space)} with tails made normal")
            continue
        if isinstance(layer, CurveLayer):
            bend = f"{_names(layer.parents, space)} {_verb('bend', layer.parents)}"
            parts.append(f"{bend} {_names(layer.mapped, space)}")
            continue
        if isinstance(layer, BlockLayer):
            shifts = np.sort(np.concatenate([layer.rest, layer.beside]))
            parts.append(_hierarchy(layer.parents, shifts, layer.first, space))
            continue
        if isinstance(layer, JointLayer):
            parts.append(f"{_hierarchy(layer.parents, layer.parents[:0], layer.mapped, space)} together")
            continue
        mapped = layer.mapped
        scales = layer.parents[(layer.exponents[mapped] != 0).any((0, 1))]
        shifts = np.setdiff1d(layer.parents[(layer.slopes[mapped] != 0).any((0, 1))], scales)
        parts.append(_hierarchy(scales, shifts, mapped, space))
    return "; ".join(parts) or "affine"


def _hierarchy(scales: np.ndarray, shifts: np.ndarray, mapped: np.ndarray, space: Space) -> str:
    text = f"{_names(scales, space)} {_verb('scale', scales)} {_names(mapped, space)}" if len(scales) else ""
    if not len(shifts):
        return text
    moved = f"{_names(shifts, space)} {_verb('shift', shifts)}"
    return f"{text}, {moved} {'them' if len(mapped) > 1 else 'it'}" if text else f"{moved} {_names(mapped, space)}"


def _verb(verb: str, names: np.ndarray) -> str:
    return verb if len(names) > 1 else f"{verb}s"


def _names(coordinates: np.ndarray, space: Space) -> str:
    """The parameters that these coordinates of the position belong to."""
    parts = []
    for leaf in space.leaves:
        own = [int(i) - leaf.start for i in coordinates if leaf.start <= i < leaf.stop]
        if own:
            parts.append(_scale(leaf) + leaf.name + _indices(own, leaf.stop - leaf.start, leaf.support.position_shape))
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def _scale(leaf: Leaf) -> str:
    if isinstance(leaf.support, Interval):
        return "logit "
    return "log " if isinstance(leaf.support, Lower) and not isinstance(leaf.support, Real) else ""


def _indices(own: list[int], size: int, shape: tuple[int, ...]) -> str:
    """In brackets: one, a range, or how many of how many."""
    if not shape:
        return ""
    if len(own) == 1:
        return "[" + ", ".join(map(str, np.unravel_index(own[0], shape))) + "]"
    if len(shape) == 1 and own == list(range(own[0], own[-1] + 1)):
        return f"[{own[0]}..{own[-1]}]"
    return "" if len(own) == size else f" ({len(own)} of {size})"
