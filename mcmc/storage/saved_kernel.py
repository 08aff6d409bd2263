"""A kernel in words and as it is saved: its name, what was left None, and its arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from mcmc.errors import WrongValue
from mcmc.kernels.gibbs import Gibbs
from mcmc.kernels.metric import LowRank, Metric
from mcmc.kernels.mixture import Mixture, weights_of
from mcmc.kernels.tempered import Tempered

# Kernels that a run on disk names, and that are made again from their arrays.
KINDS = [
    "RandomWalk",
    "HMC",
    "NUTS",
    "MALA",
    "Barker",
    "EllipticalSlice",
    "MAMS",
    "Slice",
    "Multiscale",
    "Stretch",
    "DifferentialEvolution",
    "Walk",
    "KDE",
    "DiscreteGibbs",
]


def describe_kernel(kernel: Any) -> str:
    """A kernel with its settings, arrays by their shapes."""

    def show(value: Any) -> str:
        if dataclasses.is_dataclass(value):
            return describe_kernel(value)
        if getattr(value, "shape", None):
            return f"array{value.shape}"
        return f"{float(value):.4g}" if hasattr(value, "dtype") else str(value)

    if isinstance(kernel, Gibbs):
        return f"Gibbs({', '.join(f'{names}: {describe_kernel(inner)}' for names, inner in kernel.blocks.items())})"
    if isinstance(kernel, Mixture):
        weights = ", ".join(f"{float(w):.3g}" for w in weights_of(kernel.weights, len(kernel.kernels)))
        return f"Mixture({', '.join(map(describe_kernel, kernel.kernels))}; weights {weights})"
    if not dataclasses.is_dataclass(kernel):
        return type(kernel).__name__
    simple = {
        f.name: getattr(kernel, f.name)
        for f in dataclasses.fields(kernel)
        if f.name not in ("metric", "proposal", "supports", "ends")
    }
    return f"{type(kernel).__name__}({', '.join(f'{k}={show(v)}' for k, v in simple.items())})"


def specification(kernel: Any) -> dict:
    """What `rebuilt` wants to know of a kernel besides its arrays."""
    if isinstance(kernel, Gibbs):
        blocks = [{"names": names, **specification(inner)} for names, inner in kernel.blocks.items()]
        return {"name": "Gibbs", "none": [], "blocks": blocks}
    if isinstance(kernel, Tempered):
        inner = specification(kernel.kernel)
        return {"name": "Tempered", "none": [], "temperatures": int(kernel.temperatures), "kernel": inner}
    if isinstance(kernel, Mixture):
        return {"name": "Mixture", "none": [], "kernels": list(map(specification, kernel.kernels))}
    none = []
    if dataclasses.is_dataclass(kernel):
        none = [f.name for f in dataclasses.fields(kernel) if getattr(kernel, f.name) is None]
    arrays = len(jax.tree.leaves(getattr(kernel, "metric", None)))
    ends = getattr(kernel, "ends", None) is not None  # saved runs from before there were any say nothing of it
    found = {"name": type(kernel).__name__, "none": none, "metric": arrays, "ends": ends}
    size = getattr(kernel, "size", None)
    return found | ({"size": size} if isinstance(size, int) else {})


def full_name(specification: Mapping) -> str:
    """A kernel's name; of a composed one with those inside."""
    if "temperatures" in specification:
        return f"Tempered({full_name(specification['kernel'])}, temperatures={specification['temperatures']})"
    if "kernels" in specification:
        return f"Mixture({', '.join(map(full_name, specification['kernels']))})"
    if "blocks" not in specification:
        return specification["name"]
    blocks = [(b["names"], full_name(b)) for b in specification["blocks"]]
    listed = [f"{names if isinstance(names, str) else '(' + ', '.join(names) + ')'}: {name}" for names, name in blocks]
    return f"Gibbs({', '.join(listed)})"


def rebuilt(specification: Mapping, leaves: Iterator) -> Any:
    """A built-in kernel of its array leaves, in order."""
    name = specification["name"]
    if name == "Gibbs":
        blocks = [(b["names"], rebuilt(b, leaves)) for b in specification["blocks"]]
        return Gibbs({names if isinstance(names, str) else tuple(names): kernel for names, kernel in blocks})
    if name == "Tempered":
        inner = jax.tree.map(lambda a: a[0], rebuilt(specification["kernel"], leaves))
        return Tempered(inner, specification["temperatures"], next(leaves), next(leaves))
    if name == "Mixture":
        kernels = [rebuilt(inner, leaves) for inner in specification["kernels"]]
        return Mixture(kernels, next(leaves))
    if name not in KINDS:
        remedy = "Pass kernel= as the run was started."
        raise WrongValue("kernel", None, f"the run's {name}, which holds functions of yours", remedy)
    import mcmc

    kind, values = getattr(mcmc, name), {}
    for f in dataclasses.fields(kind):
        if f.name in specification["none"] or (f.name == "ends" and not specification.get("ends")):
            values[f.name] = None
        elif not f.metadata.get("static"):
            values[f.name] = _metric(leaves, specification) if f.name == "metric" else next(leaves)
    return kind(**values | {name: specification[name] for name in ("size",) if name in specification})


def _metric(leaves: Iterator, specification: Mapping) -> Metric | LowRank:
    arrays = [next(leaves) for _ in range(specification["metric"])]
    return LowRank(*arrays) if len(arrays) > 1 else Metric(*arrays)
