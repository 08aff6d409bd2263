"""PyMC models without a JAX form: their density, gradient and recorded values as PyTensor compiles them."""

# pyright: reportMissingImports=false
# (PyMC is optional; `mcmc.from_pymc` imports this module and says what to install.)

from __future__ import annotations

import functools
import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from pytensor import function  # pyright: ignore[reportPrivateImportUsage]
from pytensor.gradient import DisconnectedInputError, NullTypeGradError, grad

from mcmc.target.black_box import Host
from mcmc.target.host_call import call_host

if TYPE_CHECKING:
    from mcmc.models.data import ModelTarget
    from mcmc.models.pymc_bridge import Graphs

logger = logging.getLogger("mcmc")
NO_GRADIENT = (NullTypeGradError, NotImplementedError, DisconnectedInputError)
_one_at_a_time = threading.Lock()  # compiled functions keep storage of their own


class Compiled:
    """A model's graphs as functions of NumPy arrays, compiled by PyTensor when they are first called."""

    def __init__(self, plain: Any, graphs: Graphs):
        self.plain, self.graphs = plain, graphs

    def function(self, outputs: Sequence[Any]) -> tuple[list[str], Callable]:
        """The names of the arrays that graphs need, and the function of these."""
        inputs, cloned = self.graphs.as_inputs(outputs)
        return [*inputs], _called([*inputs.values()], cloned)

    def give_density(self, target: ModelTarget, which: str) -> None:
        """Have a target evaluate its density on the host, with its gradient where all parameters have one; say so."""
        names, logp = [rv.name for rv in self.plain.free_RVs], self.plain.logp()
        gradients = None if target.discrete else self._gradients(logp)
        needed, call = self.function([logp, *(gradients or [])])

        def density(p: dict, data: Mapping) -> Any:
            lp, *found = call(*((data if n in self.graphs.data else p)[n] for n in needed))
            return (lp, dict(zip(names, found, strict=True))) if gradients else lp

        target.use_host(Host(density, target.leaves, target.data, vectorized=False, gradient=gradients is not None))
        how = "compiled density and gradient" if gradients else "compiled density, without a gradient,"
        logger.warning("%s: no JAX form; PyMC's %s is called on the host instead, chain by chain", which, how)

    def _gradients(self, logp: Any) -> list | None:
        values = [self.plain.rvs_to_values[rv] for rv in self.plain.free_RVs]
        try:
            with warnings.catch_warnings():  # of operations written for older versions
                warnings.simplefilter("ignore", FutureWarning)
                found: Any = grad(logp, values, disconnected_inputs="ignore")
                return [*found]
        except NO_GRADIENT:
            return None

    def named(self, names: Sequence[str], outputs: Sequence[Any]) -> Callable[[Mapping, Mapping], dict]:
        """The graphs' values by name, as a function for JAX that calls the host."""
        needed, call = self.function(outputs)

        @functools.cache
        def shapes() -> list[tuple[int, ...]]:
            if all(None not in out.type.shape for out in outputs):
                return [out.type.shape for out in outputs]
            start = self.plain.initial_point()
            at = {rv.name: start[self.plain.rvs_to_values[rv].name] for rv in self.plain.free_RVs}
            return [np.shape(x) for x in call(*((at | self.graphs.data)[n] for n in needed))]

        def each(*arrays: np.ndarray) -> list[np.ndarray]:
            ndims = [
                np.ndim(self.graphs.data[n]) if n in self.graphs.data else len(self.graphs.shapes[n]) for n in needed
            ]
            lead = arrays[0].shape[: arrays[0].ndim - ndims[0]]
            rows = [x.reshape(-1, *x.shape[len(lead) :]) for x in arrays]
            made = [call(*row) for row in zip(*rows, strict=True)]
            return [np.stack(x).reshape(*lead, *np.shape(x[0])) for x in zip(*made, strict=True)]

        def by_name(p: Mapping, data: Mapping) -> dict:
            kind = jnp.result_type(float)
            made = [jax.ShapeDtypeStruct(shape, kind) for shape in shapes()]
            values = [jnp.asarray((data if n in self.graphs.data else p)[n]) for n in needed]
            return dict(zip(names, call_host(each, made, *values), strict=True))

        return by_name


def _called(inputs: list, outputs: list) -> Callable:
    """The compiled function of arrays of any kind of number."""

    @functools.cache
    def compiled() -> Callable:
        return function(inputs, outputs, on_unused_input="ignore")

    def call(*arrays: Any) -> list:
        typed = [np.asarray(x).astype(v.type.dtype) for x, v in zip(arrays, inputs, strict=True)]
        with _one_at_a_time, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")  # as any operation in Python
            return compiled()(*typed)

    return call
