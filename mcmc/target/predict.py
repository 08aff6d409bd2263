"""Pointwise log likelihoods and posterior predictive data at every draw."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from mcmc.engine.compilation import compile_program
from mcmc.engine.memory import SHARE, human
from mcmc.engine.surroundings import check_process
from mcmc.errors import MemoryLimitError, WrongType, WrongValue
from mcmc.random import keys
from mcmc.random.draws import threefry
from mcmc.storage import datatree
from mcmc.target.data import names_in
from mcmc.target.outputs import as_named
from mcmc.target.prior import prior_terms
from mcmc.target.target import Target
from mcmc.user_code import MissingName

if TYPE_CHECKING:
    import xarray

BATCH = 256


def predict(
    target: Target,
    draws: xarray.DataTree,
    data: Any = None,
    seed: int | jax.Array = 0,
    args: tuple | Mapping | None = None,
) -> xarray.DataTree:
    """Pointwise log likelihoods and simulated data at every draw, by the target's own functions.

    Args:
        target: with `log_likelihood`, `predictive` or `log_prior`.
        draws: a tree with the target's parameters in `posterior`.
        data: other data than the target's; the simulations are then `predictions` instead of
            `posterior_predictive`. What it leaves out, such as the outcomes at new places, can't be asked for: a
            function that reads it is left out too.
        args: other arguments of the NumPyro model that the target was read from, of any shapes: a tuple, or a dict by
            name. Outcomes that they leave out are drawn; deterministic sites are in `predictions` too.
        seed: an int or a JAX key; the simulation at draw t of chain c depends on the seed, c and t alone.

    Returns:
        A DataTree with `log_likelihood`, `posterior_predictive` (or `predictions`) and, without new data,
        `log_prior`, each where the target gives it.

    Raises:
        ValueError: the target gives neither, a parameter is missing from the draws, or a model asks on its new
            arguments for more than was drawn. MemoryLimitError: what they give for all draws does not fit.
    """
    if args is not None:
        target, data = _on_arguments(target, draws, data, args)
    if target.log_likelihood is None and target.predictive is None and target.log_prior is None:
        remedy = "Make it with mcmc.Target(..., predictive=f)."
        raise WrongValue("target", target, "one with log_likelihood= or predictive=", remedy)
    import xarray

    check_process()
    before, new = target, data is not None
    target = target.with_data(data) if new else target
    groups, absent = {}, []
    if target.log_prior is not None and not new:
        groups["log_prior"] = log_prior_of(target, draws)
    for argument, name in (("log_likelihood", "log_likelihood"), ("predictive", "posterior_predictive")):
        function = getattr(target, argument)
        if new and function is not None and argument == "predictive":
            function = getattr(target, "predictions", None) or _with_derived(target)
        if function is not None:
            key = keys.run_words(seed) if argument == "predictive" else None
            try:
                arrays = at_every_draw(target, function, argument, draws, key)
            except MissingName as error:
                if not (new and error.kind == "data" and error.name in names_in(before.data)):
                    raise
                absent.append(error)
                continue
            made = datatree.dataset(arrays, target) if key is not None else _named(arrays, target)
            groups["predictions" if new and key is not None else name] = made
    if absent and not groups:
        raise absent[-1]  # what the simulation lacks, where there is one
    return xarray.DataTree.from_dict(groups)


def log_prior_of(target: Target, draws: xarray.DataTree) -> xarray.Dataset:
    """The terms of the log prior at every draw; those of the shape of a parameter have its dimensions."""
    log_prior = target.log_prior
    assert log_prior is not None
    return _named(at_every_draw(target, lambda *args: prior_terms(log_prior(*args)), "log_prior", draws, None), target)


def _named(arrays: dict[str, np.ndarray], target: Target) -> xarray.Dataset:
    """Log densities with the dimensions of what has their name, where they have its shape."""
    dims = {n: d for n, d in target.dims.items() if n in arrays and len(d) == arrays[n].ndim - 2}
    return datatree.dataset(arrays, target._copy(dims=dims))


def _with_derived(target: Target) -> Callable | None:
    """The target's simulated data, with what it derives from the parameters and the data beside them."""
    predictive, derived = target.predictive, target.derived
    if derived is None or predictive is None:
        return predictive

    def both(key: jax.Array, *args: Any) -> dict:
        return {**derived(*args), **predictive(key, *args)}

    return both


def _on_arguments(target: Any, draws: xarray.DataTree, data: Any, args: Any) -> tuple[Target, Any]:
    """The target of the model on other arguments, and its data; ValueError where the draws don't serve them."""
    if data is not None:
        raise WrongValue("args", args, "either args= or data=", "Give the model's arguments alone.")
    if not hasattr(target, "with_arguments"):
        remedy = "Give data=, the new data of a target written by hand."
        raise WrongValue("args", args, "a target from mcmc.from_numpyro", remedy)
    if not isinstance(args, tuple | Mapping):
        raise WrongType("args", args, "a tuple of the model's arguments, or a dict by name", "Write args=(x,).")
    new = target.with_arguments(**args) if isinstance(args, Mapping) else target.with_arguments(*args)
    for leaf in new.leaves:
        name, shape = leaf.name, leaf.support.shape
        found = draws["posterior"][name].shape[2:] if name in draws["posterior"] else None
        if found is None or len(found) != len(shape) or any(n > have for n, have in zip(shape, found, strict=True)):
            drawn = "no draws" if found is None else f"draws of shape {found}"
            remedy = "Pass the number of groups as an argument, and give the groups the numbers that they had."
            raise WrongValue("args", f"shape {shape} of {name!r}", f"what was drawn: {drawn}", remedy)
    if new.predictions is not None:
        _check_indices(new, draws)
    return new, new.data


def _check_indices(target: Any, draws: xarray.DataTree) -> None:
    """Raise ValueError where a simulation reads past the end of an array: JAX would give it the last value."""
    p = jax.tree.map(lambda a: a[0, 0], datatree.draws_of(draws, target))
    with jax.enable_x64(True):
        checked = jax.jit(checkify.checkify(target.predictions, errors=checkify.index_checks))
        try:
            error, _ = checked(threefry(jnp.asarray(keys.run_words(0))), p, jax.tree.map(np.asarray, target.data))
        except NotImplementedError:  # an operation that can't be checked
            return
    if said := error.get():
        remedy = "Give the groups the numbers that they had."
        raise WrongValue("args", said.partition(". ")[0], "indices of what was drawn", remedy)


def add_predictions(tree: xarray.DataTree, target: Target) -> None:
    """Put the groups that the target gives into a run's tree; data that neither names is `constant_data`."""
    import xarray

    if target.log_likelihood is None and target.predictive is None and target.log_prior is None:
        return
    try:
        made = predict(target, tree).children
    except MemoryLimitError as error:
        warnings.warn(f"{error} The draws themselves are here.", RuntimeWarning, stacklevel=5)
        return
    for name, group in made.items():
        tree[name] = group
    if "observed_data" not in tree.children:
        return
    named = {n for g in ("log_likelihood", "posterior_predictive") if g in tree.children for n in tree[g].data_vars}
    for name, group in parted(tree["observed_data"].to_dataset(), named).items():
        tree[name] = xarray.DataTree(group)


def parted(data: xarray.Dataset, named: Collection[Hashable]) -> dict[str, xarray.Dataset]:
    """Data as `observed_data`, those that are named, and `constant_data`; ArviZ compares the first with simulations."""
    observed, constant = ([n for n in data.data_vars if (n in named) == wanted] for wanted in (True, False))
    if observed and constant:
        return {"observed_data": data[observed], "constant_data": data[constant]}
    return {"observed_data": data}


def at_every_draw(
    target: Target, function: Callable, argument: str, draws: xarray.DataTree, key: np.ndarray | None
) -> dict[str, np.ndarray]:
    """What a function of the target gives at every draw, by name (chain, draw, ...)."""
    p = datatree.draws_of(draws, target)
    chains, n = draws["posterior"].sizes["chain"], draws["posterior"].sizes["draw"]
    wide = any(a.dtype == np.float64 for a in jax.tree.leaves(p))
    with jax.enable_x64(wide):
        c, t = np.divmod(np.arange(chains * n, dtype=np.uint32), np.uint32(n))

        def one(at: tuple, data: Any) -> dict:
            p, c, t = at
            call = function if key is None else partial(function, threefry(keys.draw_key(key, c, t)))
            return as_named(argument, target._call(argument, call, p, data))

        def every(at: tuple, data: Any) -> dict:
            return jax.lax.map(lambda x: one(x, data), at, batch_size=min(BATCH, chains * n))

        flat = jax.tree.map(lambda a: a.reshape(chains * n, *a.shape[2:]), p)
        data = jax.tree.map(np.asarray, target.data)
        args = ((flat, c, t), data)
        _check_size(argument, jax.eval_shape(every, *args))
        found = compile_program(every, *args)[0](*args)
    return {k: np.asarray(v).reshape(chains, n, *v.shape[1:]) for k, v in found.items()}


def _check_size(argument: str, made: Any) -> None:
    """Raise MemoryLimitError where these arrays are more than four fifths of what is free."""
    import psutil

    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(made))
    free = SHARE * psutil.virtual_memory().available
    if size > free:
        remedy = "mcmc.predict(target, draws.isel(draw=slice(None, None, 10))) makes it for every tenth draw."
        raise MemoryLimitError(f"{argument}: takes {human(size)}; expected at most {human(free)}. {remedy}")
