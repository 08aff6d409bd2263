"""A Target made from another library's model: its data are named arrays, some of which can't be exchanged."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from mcmc.engine.program_cache import MOST_PROGRAMS, Cache
from mcmc.errors import WrongType, WrongValue
from mcmc.target.black_box import Host
from mcmc.target.target import Target


class ModelTarget(Target):
    """A Target whose `data` is a flat dict: values of observed sites, and other arrays, by name.

    Args:
        settings: those of `Target`, by keyword.
        fixed: names of data that shaped the model when it was read, and so keep their values.
        optional: names of data that may be left out, to predict them only.
        predictions: `predictions(key, p, data) -> dict`, `predictive` and what is derived from the same simulation.
        log_prior: as in `Target`, beside a `log_density` of which it is a part.
        prior_predictive: `prior_predictive(key, p, data) -> dict`, what `predictive` gives where no outcome is known;
            None: the same.
        outcomes: `outcomes(data) -> dict`, observed values that are computed from data of other names.
        read_anew: the target of the same model on other arguments, where the model has any.
    """

    def __init__(
        self,
        fixed: Iterable[str] = (),
        optional: Iterable[str] = (),
        predictions: Callable[..., dict] | None = None,
        outcomes: Callable[..., dict] | None = None,
        read_anew: Callable[..., ModelTarget] | None = None,
        log_prior: Callable[..., dict] | None = None,
        prior_predictive: Callable[..., dict] | None = None,
        **settings: Any,
    ):
        self.fixed, self.optional = frozenset(fixed), frozenset(optional)
        self.predictions, self.outcomes, self.read_anew = predictions, outcomes, read_anew
        super().__init__(**settings)
        self.log_prior, self.prior_predictive = log_prior, prior_predictive

    def with_arguments(self, *args: Any, **kwargs: Any) -> ModelTarget:
        """The target of the same model on other arguments, of any shapes; it is read anew.

        Outcomes that the new arguments leave out are no parameters: `mcmc.predict` draws them.
        """
        if self.read_anew is None:
            remedy = "Read the model anew, or use with_data."
            raise WrongValue("args", args, "nothing: this model takes no arguments", remedy)
        new = self.read_anew(*args, **kwargs)
        new.coords = {**self.coords, **new.coords}
        return new

    def with_data(self, data: Any) -> ModelTarget:
        """The same target on other data, by the names in `target.data`; equal shapes and types compile nothing."""
        names = ", ".join(self.data) or "nothing"
        if not isinstance(data, Mapping):
            raise WrongType("data", data, f"a dict of {names}", "Write {**target.data, name: new}.")
        unknown = sorted(set(data) - set(self.data))
        missing = sorted(set(self.data) - set(data) - self.optional)
        if unknown or missing:
            raise WrongValue("data", ", ".join(map(str, data)), names, "Write {**target.data, name: new}.")
        for name in sorted(self.fixed & set(data)):
            if not np.array_equal(np.asarray(data[name]), np.asarray(self.data[name])):
                remedy = "Read the model anew with the new values."
                expected = "the value it had, for a bound, a shape or a plain number of the model comes from it"
                raise WrongValue(f"data[{name!r}]", data[name], expected, remedy)
        new = copy.copy(self)
        new.data = dict(data)
        if self.host:
            new.use_host(self.host.with_data(new.data))
        return new

    def _check_names(self, recorded: Any) -> None:
        """Nothing: the dims are the model's own, also of predictions that are left out."""

    def use_host(self, host: Host) -> None:
        """Have the log density evaluated by a function on the host."""
        self.host, self.log_density = host, host.log_density
        self.programs = Cache(MOST_PROGRAMS)  # a program keeps its host


def axis_names(name: str, labels: Mapping[int, str], ndim: int) -> list[str] | None:
    """The dims of a variable from the labels of some of its axes; None where there is no label."""
    return [labels.get(i, f"{name}_dim_{i}") for i in range(ndim)] if labels else None
