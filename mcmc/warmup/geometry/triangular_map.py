"""A triangular map from the kernel's positions to the target's: layers, those found first applied last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.target.fingerprint import of_static
from mcmc.target.traced import Traced
from mcmc.warmup.geometry.block_layer import BlockLayer
from mcmc.warmup.geometry.conditional_layer import ConditionalLayer
from mcmc.warmup.geometry.curve_layer import CurveLayer
from mcmc.warmup.geometry.joint_layer import JointLayer
from mcmc.warmup.geometry.linear_layer import LinearLayer
from mcmc.warmup.geometry.tail_layer import TailLayer

Layer = BlockLayer | ConditionalLayer | CurveLayer | JointLayer | LinearLayer | TailLayer
KINDS = {
    "block": BlockLayer,
    "conditional": ConditionalLayer,
    "curve": CurveLayer,
    "joint": JointLayer,
    "linear": LinearLayer,
    "tail": TailLayer,
}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TriangularMap:
    """Layers in the order in which they were found."""

    layers: tuple[Layer, ...]

    def forward(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The position y of z (dim,), and log |dy/dz| up to a constant."""
        log_jacobian = jnp.zeros((), z.dtype)
        for layer in reversed(self.layers):
            z, more = layer.forward(z)
            log_jacobian += more
        return z, log_jacobian


def mapped(traced: Traced, layers: tuple[Layer, ...], dtype: Any) -> Traced:
    """The target as functions of positions in front of a map, whose numbers are arrays of the program."""
    if not layers:
        return traced
    leaves, structure = jax.tree.flatten(TriangularMap(layers))
    numbers = tuple(np.asarray(a, np.int32 if np.issubdtype(a.dtype, np.integer) else dtype) for a in leaves)
    n = len(traced.arrays)

    def forward(arrays: tuple, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.tree.unflatten(structure, arrays[n:]).forward(z)

    def log_density(arrays: tuple, z: jax.Array) -> jax.Array:
        y, log_jacobian = forward(arrays, z)
        return traced.log_density(arrays[:n], y) + log_jacobian

    return replace(
        traced,
        log_density=log_density,
        record=lambda arrays, z: traced.record(arrays[:n], forward(arrays, z)[0]),
        log_jacobian=lambda arrays, z: forward(arrays, z)[1],
        arrays=(*traced.arrays, *numbers),
        fingerprint=traced.fingerprint.joined(
            of_static(("triangular map", [type(layer).__name__ for layer in layers]))
        ),
    )


# --- on the host: rows of positions and gradients (row, dim) ------------------------------------------------------


def forward(layers: tuple[Layer, ...], y: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the target in front of a map."""
    for layer in layers:
        y, g = layer.whiten(y, g)
    return y, g


def backward(layers: tuple[Layer, ...], z: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in front of a map as the target has them."""
    for layer in reversed(layers):
        z, g = layer.unwhiten(z, g)
    return z, g


def moved(old: tuple[Layer, ...], new: tuple[Layer, ...], z: np.ndarray) -> np.ndarray:
    """Positions (chain, dim) in front of one map, in front of another."""
    nothing = np.zeros_like(z)
    return forward(new, backward(old, z, nothing)[0], nothing)[0]


# --- as arrays by name, for a saved run and for other processes ---------------------------------------------------


def to_arrays(layers: tuple[Layer, ...]) -> dict[str, np.ndarray]:
    """The numbers of the layers: `map_<layer>_<kind>_<field>`."""
    names = {kind: name for name, kind in KINDS.items()}
    return {
        f"map_{i}_{names[type(layer)]}_{field.name}": np.asarray(getattr(layer, field.name))
        for i, layer in enumerate(layers)
        for field in fields(layer)
    }


def from_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[Layer, ...]:
    """The layers of these arrays; other arrays are passed over."""
    found: dict[tuple[int, str], dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        if name.startswith("map_"):
            _, i, kind, field = name.split("_", 3)
            found.setdefault((int(i), kind), {})[field] = np.asarray(array)
    return tuple(KINDS[kind](**numbers) for (_, kind), numbers in sorted(found.items()))
