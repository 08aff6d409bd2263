"""Draws from a target's prior, and data simulated from them: what the model says before it sees any outcome."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.engine.compilation import compile_program
from mcmc.engine.surroundings import check_process
from mcmc.errors import ConvergenceWarning, SamplingError, WrongValue, warn
from mcmc.random import keys
from mcmc.random.draws import threefry
from mcmc.settings import Request, check_count, precision_of
from mcmc.storage import datatree
from mcmc.target.outputs import as_named
from mcmc.target.predict import at_every_draw, parted
from mcmc.target.prior import prior_alone
from mcmc.target.space import get
from mcmc.target.target import Target

if TYPE_CHECKING:
    import xarray

BY_CHAINS = "MCMC on log_prior"
BY_FUNCTION = "independent draws by prior="
PRIOR, PREDICTIVE = 1, 2  # streams of the key


def predict_prior(target: Target, draws: int = 1000, seed: int | jax.Array = 0) -> xarray.DataTree:
    r"""Draws from the prior and data simulated from them: θ ~ p(θ), ỹ ~ p(y | θ).

    The prior is drawn by the target's `prior` where it has one: independent draws. Else by MCMC on its `log_prior`,
    with a verdict of its own, of which so many draws are kept, evenly spaced in every chain.

    Args:
        target: with `prior` or `log_prior`; models from NumPyro and PyMC have them.
        draws: how many.
        seed: an int or a JAX key.

    Returns:
        A DataTree with `prior`, parameters and derived values (chain 1, draw); `prior_predictive` where the target
        has `predictive`; `observed_data`. Its attributes say how it was `drawn`, and the `verdict` on that. Put the
        groups beside a posterior with `draws.update(mcmc.predict_prior(target).children)`: ArviZ's
        `plot_prior_posterior`, `bayes_factor` and `plot_ppc_dist(group="prior_predictive")` read them there.

    Raises:
        ValueError, TypeError: a target that does not know its prior; a `prior` that gives other names or shapes than
            the target's, or values outside the supports.

    Warns:
        ConvergenceWarning: the chains on the prior did not converge, as where it is no proper density.

    Source: Gelman, Simpson & Betancourt 2017, "The prior can often only be understood in the context of the
    likelihood".

    Example:
        >>> import jax, mcmc
        >>> target = mcmc.Target(
        ...     None, {"mu": mcmc.real()}, data={"y": 1.5},
        ...     log_prior=lambda p, d: -0.5 * p["mu"] ** 2,
        ...     log_likelihood=lambda p, d: {"y": -0.5 * (d["y"] - p["mu"]) ** 2},
        ...     predictive=lambda key, p, d: {"y": p["mu"] + jax.random.normal(key)},
        ...     prior=lambda key, d: {"mu": jax.random.normal(key)})
        >>> predict_prior(target, draws=50)["prior_predictive"]["y"].shape
        (1, 50)
    """
    import xarray

    check_count("draws", draws, 1)
    check_process()
    words = keys.run_words(seed)
    with precision_of(None, None) as dtype:
        if target.prior is not None:
            named, drawn, verdict = drawn_by_function(target, draws, words, dtype), BY_FUNCTION, ""
        else:
            named, verdict = drawn_by_chains(target, draws, words)
            drawn = BY_CHAINS
    tree = xarray.DataTree.from_dict({"posterior": datatree.dataset(named, target)})
    groups = {"prior": datatree.dataset(_with_derived(target, tree, named), target)}
    predictive = getattr(target, "prior_predictive", None) or target.predictive
    if predictive is not None:
        simulated = at_every_draw(target, predictive, "predictive", tree, _stream(words, PREDICTIVE))
        groups["prior_predictive"] = datatree.dataset(simulated, target)
    named = set(groups["prior_predictive"].data_vars) if "prior_predictive" in groups else set()
    for data in datatree.data_of(target).values():
        groups |= parted(data, named)
    made = xarray.DataTree.from_dict(groups)
    made.attrs = {"drawn": drawn, "verdict": verdict}
    return made


def drawn_by_function(target: Target, draws: int, words: np.ndarray, dtype: Any) -> dict[str, np.ndarray]:
    """Independent draws (1, draw, ...) by the target's `prior`, checked against its names, shapes and supports."""
    prior, data = target.prior, target.data
    assert prior is not None

    def one(t: jax.Array, data: Any) -> tuple:
        key = threefry(keys.draw_key(_stream(words, PRIOR), np.uint32(0), t))
        p = as_named("prior", target._call("prior", prior, key, data))
        named = _checked(target, p)
        return named, target.inside(target.nest(named.values()))

    args = np.arange(draws, dtype=np.uint32), jax.tree.map(np.asarray, data)
    found, inside = compile_program(jax.vmap(one, (0, None)), *args)[0](*args)
    inside = np.asarray(inside)
    if not inside.all():
        at = int(np.flatnonzero(~inside)[0])
        shown = {name: np.asarray(x)[at] for name, x in found.items()}
        raise WrongValue("prior", shown, "values inside the supports", "Mend the prior or the supports.")
    return {name: _typed(np.asarray(found[name]), dtype)[None] for name in target.names}  # JAX sorts the names


def _checked(target: Target, p: Mapping) -> dict[str, jax.Array]:
    """The parameters that a prior gives by name, in the target's order; ValueError where they are not the target's."""
    named = {leaf.name: get(p, leaf.path, missing=None) for leaf in target.leaves}
    if missing := [name for name, x in named.items() if x is None]:
        remedy = "Return {name: value} for every parameter."
        raise WrongValue("prior", list(p), f"also {', '.join(missing)}", remedy)
    if extra := sorted(set(_paths(p)) - {leaf.path for leaf in target.leaves}):
        found = f"{', '.join('.'.join(path) for path in extra)} too"
        remedy = "Leave out what is no parameter (derived= computes values of them), or correct the name."
        raise WrongValue("prior", found, f"the parameters {', '.join(named)} alone", remedy)
    named = {name: jnp.asarray(x) for name, x in named.items()}
    for leaf in target.leaves:
        if named[leaf.name].shape != leaf.support.shape:
            found = f"{leaf.name!r} of shape {named[leaf.name].shape}"
            raise WrongValue("prior", found, f"shape {leaf.support.shape}, as in the target", "Mend its shape.")
    return named


def _paths(p: Mapping, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the values of a nested dictionary are."""
    for key, value in p.items():
        here = (*above, str(key))
        yield from _paths(value, here) if isinstance(value, Mapping) else (here,)


def drawn_by_chains(target: Target, draws: int, words: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    """Draws (1, draw, ...) of chains on the prior, and the verdict on these."""
    from mcmc.diagnostics.verdict import diagnose
    from mcmc.sampling.run import sampled

    prior = prior_alone(target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            tree = sampled(Request(prior, seed=jnp.asarray(_stream(words, PRIOR))))
        except SamplingError as error:
            raise type(error)(f"The prior can't be drawn by MCMC; give prior= to the Target. {error}") from error
    verdict = diagnose(tree)
    if not verdict.ok:
        remedy = "Give the Target prior=, which draws from it, or mend log_prior."
        warn(f"Draws of the prior. {verdict} {remedy}")
    values = {name: np.asarray(tree["posterior"][name]) for name in target.names}
    size = math.prod(values[target.names[0]].shape[:2])
    at = np.floor(np.arange(draws) * (size / draws)).astype(int)
    return {name: x.reshape(size, *x.shape[2:])[at][None] for name, x in values.items()}, verdict.verdict


def _with_derived(target: Target, tree: xarray.DataTree, named: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if target.derived is None:
        return named
    return named | at_every_draw(target, target.derived, "derived", tree, None)


def _stream(words: np.ndarray, stream: int) -> np.ndarray:
    """The words of a key for one purpose."""
    return np.random.SeedSequence([*map(int, words), stream]).generate_state(2, np.uint32)


def _typed(x: np.ndarray, dtype: Any) -> np.ndarray:
    return x.astype(dtype) if x.dtype.kind == "f" else x
