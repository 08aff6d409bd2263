"""What a user's functions give, and the names of its axes, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mcmc.errors import WrongType, WrongValue


def check_dims(dims: Mapping, coords: Mapping, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ValueError where dims or coords do not fit these arrays."""
    for name, shape in shapes.items():
        labels = dims.get(name)
        if labels is None:
            continue
        if len(labels) != len(shape):
            expected = f"{len(shape)} names, one a dimension of {shape}"
            raise WrongValue(f"dims[{name!r}]", labels, expected, "Name each dimension.")
        for label, size in zip(labels, shape, strict=True):
            if label in coords and len(coords[label]) != size:
                found = f"{len(coords[label])} labels"
                expected = f"{size}, the size of {name!r}"
                raise WrongValue(f"coords[{label!r}]", found, expected, "Match the shape.")


def check_names(dims: Mapping, data: Any, recorded: Iterable[str]) -> None:
    """Raise ValueError where dims name neither what is recorded nor data."""
    unknown = sorted(set(dims) - set(recorded) - set(data if isinstance(data, Mapping) else ()))
    if unknown:
        expected = f"names among {', '.join(recorded)}"
        raise WrongValue("dims", ", ".join(unknown), expected, "Correct the name.")


def as_named(argument: str, values: Any) -> dict:
    """What a function gives, by name; TypeError unless it is a dict."""
    if not isinstance(values, dict):
        raise WrongType(argument, type(values), "a function that returns a dict", "Return {name: array}.")
    return values


def scalar(lp: Any) -> jax.Array:
    """A log density as a real scalar; TypeError, ValueError for anything else."""
    try:
        lp = jnp.asarray(lp)
    except (TypeError, ValueError) as error:
        remedy = "Return the sum of its terms."
        raise WrongType("log_density", lp, "that it returns a scalar", remedy) from error
    if lp.shape != ():
        remedy = "Sum over the data, e.g. jnp.sum(...)."
        raise WrongValue("log_density", f"an array of shape {lp.shape}", "that it returns a scalar", remedy)
    if jnp.issubdtype(lp.dtype, jnp.complexfloating) or lp.dtype == bool:
        raise WrongType("log_density", str(lp.dtype), "a real number", "Return the logarithm of a density.")
    return lp
