"""Compiled Stan programs, of bridgestan or of PyStan, behind one protocol."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from mcmc.errors import WrongType
from mcmc.target.workers import Workers, check_workers

BRIDGESTAN = ("log_density_gradient", "param_constrain", "param_unconstrain", "param_names", "param_unc_num")
PYSTAN = ("program_code", "model_name", "constrained_param_names", "log_prob", "grad_log_prob", "constrain_pars")


class StanProgram(Protocol):
    """What a Target needs of a Stan program with its data; floats of 64 bits, rows are unconstrained positions.

    `names` are those of all entries, column by column ("theta.2.1"), parameters first; `count` of them are parameters'.
    `random` says whether generated quantities may draw; `said` is what a program said when it rejected a position.
    """

    names: list[str]
    count: int
    dim: int
    random: bool
    said: str

    def log_densities(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log density of each row, Jacobian included, and its gradient; -inf and zero at a rejection."""
        ...

    def written(self, rows: np.ndarray) -> np.ndarray:
        """Of each row the entries that `names` names; NaN at a rejection."""
        ...

    def unconstrained(self, x: np.ndarray, named: Mapping[str, Any]) -> np.ndarray:
        """The position of parameters, given as their entries and by name."""
        ...


class BridgeStan:
    """A `bridgestan.StanModel`; what is random in its generated quantities depends on the position alone."""

    def __init__(self, model: Any):
        self.model, self.dim, self.random, self.said = model, int(model.param_unc_num()), True, ""
        self.count = len(_named(model.param_names()))
        self.names = _named(model.param_names(include_tp=True, include_gq=True))

    def log_densities(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As in `StanProgram`."""
        lps, gradients, self.said = _each_density(self.model.log_density_gradient, rows)
        return lps, gradients

    def written(self, rows: np.ndarray) -> np.ndarray:
        """As in `StanProgram`."""
        return _each_written(self._one, rows, len(self.names))

    def _one(self, y: np.ndarray) -> np.ndarray:
        rng = self.model.new_rng(zlib.crc32(y.tobytes()))
        return self.model.param_constrain(y, include_tp=True, include_gq=True, rng=rng)

    def unconstrained(self, x: np.ndarray, named: Mapping[str, Any]) -> np.ndarray:
        """As in `StanProgram`."""
        return np.asarray(self.model.param_unconstrain(x))


class PyStan:
    """A model that `stan.build` gave.

    Its own methods start a server and load the compiled program at each call (4 ms); here it is loaded once, in a
    process of its own, for what Stan differentiates with is bound to a thread. Its random generator begins anew at
    each call, so generated quantities that draw are left out.
    """

    def __init__(self, model: Any):
        self.random, self.said = re.search(r"\w_rng\s*\(", _code(model.program_code)) is None, ""
        check_workers(1)
        names = _named(model.constrained_param_names)
        self.process = Workers(_answer, (model.model_name, dict(model.data)), 1)
        self.dim, self.count, known = self._ask("sizes", len(names))
        self.names = names if self.random else names[:known]

    def _ask(self, what: str, *given: Any) -> Any:
        return next(self.process.results([(what, *given)]))

    def log_densities(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As in `StanProgram`."""
        lps, gradients, self.said = self._ask("densities", rows)
        return lps, gradients

    def written(self, rows: np.ndarray) -> np.ndarray:
        """As in `StanProgram`."""
        return self._ask("written", rows, self.random, len(self.names))

    def unconstrained(self, x: np.ndarray, named: Mapping[str, Any]) -> np.ndarray:
        """As in `StanProgram`."""
        return self._ask("unconstrained", {name: np.asarray(value, float).tolist() for name, value in named.items()})


def program_of(model: Any, data: Any) -> StanProgram:
    """The program of a compiled model, on other data where these are given; TypeError for anything else."""
    if all(hasattr(model, name) for name in BRIDGESTAN):
        return BridgeStan(model if data is None else _on_data(model, data))
    if all(hasattr(model, name) for name in PYSTAN):
        return PyStan(model if data is None else dataclasses.replace(model, data=_plain(data)))
    remedy = "Write bridgestan.StanModel('model.stan', data), or stan.build(code, data)."
    raise WrongType("model", model, "a bridgestan.StanModel, or a model of PyStan's", remedy)


def _on_data(model: Any, data: Any) -> Any:
    library = getattr(model, "lib_path", None)
    if library is None:
        remedy = "Make bridgestan.StanModel(library, data) yourself, and leave data out here."
        raise WrongType("data", data, "None for a model that does not say where its library is", remedy)
    return type(model)(library, _plain(data) if isinstance(data, Mapping) else data, warn=False)


def _plain(data: Mapping) -> dict:
    return {name: x.tolist() if isinstance(x, np.ndarray | np.generic) else x for name, x in data.items()}


def _named(names: Any) -> list[str]:
    return [name for name in names if name]


# --- calls ------------------------------------------------------------------------------------------------

REJECTED = (RuntimeError, ValueError)  # what bridgestan and httpstan make of a rejection


def _each_density(density: Callable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    lps, gradients, said = np.full(len(rows), -math.inf), np.zeros(rows.shape), ""
    for i, y in enumerate(rows):
        try:
            lps[i], gradients[i] = density(np.ascontiguousarray(y))
        except REJECTED as error:
            said = str(error).strip()
    return lps, gradients, said


def _each_written(one: Callable, rows: np.ndarray, width: int) -> np.ndarray:
    made = np.full((len(rows), width), math.nan)
    for row, y in zip(made, rows, strict=True):
        try:
            row[:] = one(np.ascontiguousarray(y))
        except REJECTED:
            continue
    return made


def _answer(question: tuple, model_name: str, data: dict) -> Any:
    """In the process of a program of PyStan's: what is asked of it."""
    services, (what, *given) = _services_of(model_name), question

    def density(y: np.ndarray) -> tuple[float, list]:
        at = y.tolist()
        return services.log_prob(data, at, True), services.log_prob_grad(data, at, True)

    if what == "densities":
        return _each_density(density, *given)
    if what == "written":
        rows, generated, width = given
        return _each_written(lambda y: services.write_array(data, y.tolist(), True, generated), rows, width)
    if what == "unconstrained":
        return np.asarray(services.transform_inits(data, *given))
    dim = _dim(services, data, *given)
    return dim, *(len(services.write_array(data, [0.0] * dim, more, False)) for more in (False, True))


def _dim(services: Any, data: dict, most: int) -> int:
    """The number of unconstrained coordinates: a wrong one is refused before anything is computed."""
    for dim in range(most, 0, -1):
        try:
            services.log_prob(data, [0.0] * dim, True)
        except RuntimeError as error:
            if "number of parameters" in str(error):
                continue
        except ValueError:
            pass  # outside the support
        return dim
    return 0


@functools.cache
def _services_of(model_name: str) -> Any:
    from httpstan.models import import_services_extension_module  # pyright: ignore[reportMissingImports]

    return import_services_extension_module(model_name)


def _code(program: str) -> str:
    """A Stan program without its comments."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", program, flags=re.DOTALL)
