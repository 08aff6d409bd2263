"""Targets made from the models of other libraries: NumPyro, PyMC and Stan, each imported only when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mcmc.errors import how_to_install

if TYPE_CHECKING:
    from mcmc.target.target import Target

if TYPE_CHECKING:
    import pymc


def from_numpyro(model: Callable[..., Any], *args: Any, **kwargs: Any) -> Target:
    r"""The posterior of a NumPyro model as a Target.

    log π(y) = log p(x(y), data) + log |dx/dy|: the first term is NumPyro's log density of the constrained sites x,
    the change of variables is the target's own. Latent sites are the parameters, with their supports; plates are
    dims; deterministic sites are recorded; observed sites give `observed_data`, `log_likelihood` and, where they can
    be sampled from, `predictive`. An observed value that depends on a latent one is a part of the density, and no
    data. Discrete sites are integers or booleans; those that are marked with `infer={"enumerate": "parallel"}` are
    summed out (with funsor), and drawn back by `predictive`. The log density is compared with NumPyro's own at
    random points before the target is given.

    Args:
        model: a function with NumPyro's primitives.
        *args: its arguments, as for `numpyro.infer.MCMC.run`. Arrays among them are `target.data` by the name of the
            argument, and values of observed sites by the name of the site (once, where an argument is observed as
            it is); with `target.with_data({**target.data, "y": new})` the sampler is not compiled again. Arrays
            that the model needs as plain numbers, or a bound depends on, keep their values: `with_data` says so,
            and `target.with_arguments(...)` reads the model anew.
        **kwargs: its arguments by keyword, likewise.

    Raises:
        ImportError: NumPyro is not installed.
        TypeError, ValueError: arguments that are not the model's; no latent site; a support, `param` site,
            subsampled plate, `obs_mask` or random draw that a Target can't have, each with its site and a remedy; a
            log density that differs from NumPyro's, with both numbers.

    Source: Phan, Pradhan & Jankowiak 2019, "Composable effects for flexible and accelerated probabilistic
    programming in NumPyro".

    Example:
        >>> import numpy as np, numpyro, numpyro.distributions as dist
        >>> def model(y):
        ...     mu = numpyro.sample("mu", dist.Normal(0.0, 10.0))
        ...     numpyro.sample("y", dist.Normal(mu, 1.0), obs=y)
        ...
        >>> target = from_numpyro(model, np.array([1.0, 2.0]))
        >>> target.names, list(target.data)
        (('mu',), ['y'])
    """
    _require("numpyro")
    from mcmc.models.numpyro_bridge import target_of

    return target_of(model, args, kwargs)


def from_pymc(model: pymc.Model) -> Target:
    r"""The posterior of a PyMC model as a Target.

    log π(y) = log p(x(y), data) + log |dx/dy|: the first term is PyMC's log density of the free variables x without
    its transforms, as a JAX function; the change of variables is the target's own. Supports are those of the
    variables' transforms; dims and coords are the model's; `Deterministic`s are recorded; observed variables give
    `observed_data` and `log_likelihood`, potentials count. For simulated data use
    `pymc.sample_posterior_predictive(draws, model=model)`.

    Args:
        model: a `pymc.Model`. Its observed values and `pymc.Data` are `target.data` by name;
            with `target.with_data({**target.data, "y": new})` the sampler is not compiled again, shapes being
            equal. Data on which a bound depends keep their values: `with_data` says so.

    Raises:
        ImportError: PyMC is not installed.
        TypeError, ValueError: no model; no free variable; a transform that no support corresponds to, or a random
            draw in the density, each with its name and a remedy.

    A model of which a part has no JAX form is evaluated by PyMC's compiled density and gradient on the host; a notice
    names the part.

    Source: Abril-Pla et al. 2023, "PyMC: a modern and comprehensive probabilistic programming framework in Python".

    Example:
        >>> import pymc as pm
        >>> with pm.Model() as model:
        ...     mu = pm.Normal("mu", 0.0, 10.0)
        ...     y = pm.Normal("y", mu, 1.0, observed=[1.0, 2.0])
        ...
        >>> target = from_pymc(model)
        >>> target.names, list(target.data)
        (('mu',), ['y'])
    """
    _require("pymc")
    from mcmc.models.pymc_bridge import target_of

    return target_of(model)


def from_stan(model: Any, data: Any = None) -> Target:
    r"""The posterior of a compiled Stan program as a Target.

    log π(y) is Stan's log density of the unconstrained position y, its Jacobian included, with Stan's gradient; Stan
    is called on the host for each chain. Parameters, transformed parameters and generated quantities are recorded
    under Stan's names, in Stan's shapes. A rejection by the program is a density of zero.

    Args:
        model: a `bridgestan.StanModel`, or a model that PyStan's `stan.build` gave, compiled with its data. PyStan's
            own methods take 4 ms a call; here its compiled program is called directly. Where its generated quantities
            draw random numbers they are left out, for PyStan would give every draw the same ones; bridgestan's
            depend on the draw.
        data: other data, as a dict (bridgestan: a JSON string or file too); None: those of the model.

    Starts (`init`) name all parameters, constrained, as in Stan.

    Raises:
        TypeError, ValueError: no compiled program, no parameters, no finite log density within 2 of zero
            (unconstrained), with what Stan said.

    Source: Roualdes, Ward, Carpenter, Seyboldt & Axen 2023, "BridgeStan: efficient in-memory access to the methods of
    a Stan model".

    Example:
        import bridgestan
        model = bridgestan.StanModel("schools.stan", {"J": 8, "y": y, "sigma": sigma})
        draws = mcmc.sample(mcmc.from_stan(model))
    """
    from mcmc.models.stan_bridge import target_of

    return target_of(model, data)


def _require(library: str) -> None:
    """Raise ImportError, saying what to install, where the library is absent."""
    try:
        importlib.import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        remedy = f"Install it: {how_to_install(library)}."
        raise ImportError(f"mcmc.from_{library} needs {library}, which is not installed. {remedy}") from error


__all__ = ["from_numpyro", "from_pymc", "from_stan"]
