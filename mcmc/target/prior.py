"""A target's log density in its two parts: the prior, as a scalar or as named terms, and the pointwise likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from mcmc.errors import WrongType, WrongValue

if TYPE_CHECKING:
    from mcmc.target.target import Target

SCALAR = "log_prior"
"""The name under which a prior without named terms is recorded."""


@dataclass(frozen=True, eq=False)
class Joint:
    """The log density of a target in two parts: log_prior(p[, data]) + log_likelihood(p[, data])."""

    log_prior: Callable[..., Any]
    log_likelihood: Callable[..., Any]

    def __call__(self, p: Any, *data: Any) -> jax.Array:
        """The sum of all terms of both."""
        return total(prior_terms(self.log_prior(p, *data))) + total(likelihood_terms(self.log_likelihood(p, *data)))


def check_parts(log_density: Any, log_prior: Any, log_likelihood: Any, prior: Any) -> None:
    """Raise TypeError or ValueError unless the density is given once: as a whole or in two parts."""
    for name, function in (("log_prior", log_prior), ("prior", prior)):
        if function is not None and not callable(function):
            raise WrongType(name, function, "a function", "Pass the function itself.")
    if log_density is None and (log_prior is None or log_likelihood is None):
        missing = "log_prior" if log_prior is None else "log_likelihood"
        expected = "a function of the parameters p, or None with log_prior= and log_likelihood="
        raise WrongType("log_density", f"None, without {missing}", expected, f"Give {missing}=, or log_density.")
    if log_density is not None and log_prior is not None:
        remedy = "Write mcmc.Target(None, parameters, log_prior=f, log_likelihood=g)."
        raise WrongValue("log_prior", "a function beside log_density", "either of them", remedy)


def prior_terms(value: Any) -> dict[str, jax.Array]:
    """The terms of a log prior by name; a scalar is one term, called `log_prior`."""
    if isinstance(value, Mapping):
        return {str(name): _real("log_prior", term) for name, term in value.items()}
    term = _real("log_prior", value)
    if term.shape != ():
        remedy = "Sum it, e.g. jnp.sum(...), or return a dict of terms by name."
        raise WrongValue("log_prior", f"an array of shape {term.shape}", "a scalar, or a dict of terms", remedy)
    return {SCALAR: term}


def likelihood_terms(value: Any) -> dict[str, jax.Array]:
    """The pointwise log likelihoods by name."""
    if not isinstance(value, Mapping):
        raise WrongType("log_likelihood", type(value), "a function that returns a dict", "Return {name: array}.")
    return {str(name): _real("log_likelihood", term) for name, term in value.items()}


def total(terms: Mapping[str, jax.Array]) -> jax.Array:
    """The sum of terms of any shapes."""
    return sum((jnp.sum(term) for term in terms.values()), jnp.zeros(()))


def parts_at(target: Target, p: Any, data: Any) -> tuple[jax.Array, jax.Array]:
    """Log prior and log likelihood, each a scalar, of a target that has both."""
    assert target.log_prior is not None
    assert target.log_likelihood is not None
    prior = prior_terms(target._call("log_prior", target.log_prior, p, data))
    likelihood = likelihood_terms(target._call("log_likelihood", target.log_likelihood, p, data))
    return total(prior), total(likelihood)


def within(log_prior: Callable[..., Any], condition: Callable[[Any], Any]) -> Callable[..., dict]:
    """The same prior where a condition on the parameters holds, and −inf elsewhere."""

    def restricted(p: Any, *data: Any) -> dict:
        holds = condition(p)
        return {name: jnp.where(holds, term, -jnp.inf) for name, term in prior_terms(log_prior(p, *data)).items()}

    return restricted


def prior_alone(target: Target) -> Target:
    """The target's prior as a target; ValueError where it is not known.

    Data stay, since a prior may read them.
    """
    log_prior = target.log_prior
    if log_prior is None:
        remedy = "Write mcmc.Target(None, parameters, log_prior=f, log_likelihood=g), or give prior=."
        raise WrongValue("target", target, "one that knows its prior", remedy)

    def log_density(p: Any, *data: Any) -> jax.Array:
        return total(prior_terms(log_prior(p, *data)))

    return target._copy(log_density=log_density, log_prior=None, log_likelihood=None, predictive=None, prior=None)


def _real(argument: str, value: Any) -> jax.Array:
    try:
        value = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise WrongType(argument, value, "numbers", "Return arrays.") from error
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise WrongType(argument, str(value.dtype), "real numbers", "Return the real part.")
    return value
