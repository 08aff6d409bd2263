"""Arguments by the names that other tools give them: refused, with the name that is meant here."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any

from mcmc.errors import WrongType

BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
NUTS = "kernel=mcmc.NUTS({})"
KERNELS = {
    "target_acceptance": "target_accept target_accept_prob accept_rate target_acceptance_rate adapt_delta delta",
    "max_tree_depth": "max_treedepth max_depth max_num_doublings",
    "step_size": "stepsize epsilon eps scale",
    "metric": "inverse_mass_matrix mass_matrix dense_mass inv_metric covariance cov",
    "num_steps": "num_integration_steps num_leapfrog_steps n_leapfrog n_steps",
    "length": "trajectory_length path_length int_time integration_time",
}
MEANT = {
    "draws": "num_samples n_samples nsamples samples n_draws num_draws ndraws iter iterations n_iter niter "
    "iter_sampling num_results n_steps nsteps steps length size n",
    "warmup": "num_warmup n_warmup nwarmup tune n_tune num_tune burnin burn_in burn nburn n_burn iter_warmup "
    "num_burnin_steps discard num_steps_warmup n_burnin burnin_steps adapt n_adapt",
    "chains": "num_chains n_chains nchains nwalkers n_walkers num_walkers walkers parallel_chains chain",
    "seed": "random_seed rng_key rng rng_seed key random_state prng_key seeds",
    "init": "initvals initial_values initial_value init_value init_params init_values initial_params inits start p0 "
    "initial_state initial_position inits_from "
    "init_strategy position",
    "thin": "thinning thin_by num_steps_between_results",
    "progress": "progress_bar progressbar show_progress verbose",
    "kernel": "sampler step nuts_sampler method algorithm transition_kernel",
    "store": "output_dir backend trace path file filename",
    "mesh": "devices device",
    "keep": "var_names vars keep_vars extra_fields",
    "until": "rhat ess max_time timeout tol",
    "target": "model logp log_prob log_density potential_fn logdensity_fn fn",
    "save_warmup": "save_warmup_draws discard_tuned_samples collect_warmup store_warmup",
    "mesh=, or nothing: chains share the cores": "cores num_cores n_jobs chain_method pool threads",
    NUTS.format("target_acceptance=0.9"): f"target_acceptance {KERNELS['target_acceptance']}",
    NUTS.format("max_tree_depth=12"): f"max_tree_depth {KERNELS['max_tree_depth']}",
    NUTS.format("step_size=0.1"): f"step_size {KERNELS['step_size']}",
    NUTS.format("metric=covariance"): f"metric {KERNELS['metric']}",
    "mcmc.Target(log_density, parameters, data=data)": "data observed",
}
TARGET = {
    "log_density": "logp log_prob logpdf lnprob lnpost log_posterior density fn log_prob_fn logdensity_fn potential_fn",
    "parameters": "params param_names names variables supports domain space",
    "data": "observed observations obs x y",
    "log_likelihood": "loglike loglikelihood likelihood llh",
    "log_prior": "logprior lnprior",
    "prior": "priors",
    "derived": "deterministic deterministics generated_quantities transform transformed",
    "predictive": "posterior_predictive simulate simulator rng",
}
UNTIL = {
    "ess": "min_ess target_ess n_eff neff ess_bulk ess_tail",
    "rhat": "r_hat max_rhat target_rhat",
    "max_seconds": "timeout max_time time seconds minutes",
    "max_draws": "max_iter max_samples max_steps draws",
    "mcse": "tol tolerance error",
}
NEEDED = {  # arguments without a default: what is expected
    "metric": "the covariance of the normal prior: a number, a vector of variances or a matrix",
    "blocks": 'a dict from names to kernels, {"z": mcmc.DiscreteGibbs(), ("a", "b"): mcmc.HMC()}',
    "kernels": "a list of two kernels or more, [mcmc.HMC(), mcmc.Slice()]",
    "proposal": "an object that draws and, where its draws are accepted or not, has a log_prob",
    "target": "a target, mcmc.Target(log_density, parameters)",
    "log_density": "a function of the parameters that returns a scalar",
    "parameters": 'a dict from names to supports, {"x": mcmc.real(), "s": mcmc.positive()}',
    "draws": "what mcmc.sample returned",
}
READ = {
    'draws.posterior[["name"]]': "var_names vars variables parameters names filter_vars",
    "quick": "fast",
}


def own_words[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Refuse keyword arguments that the function does not have with the name, or the place, that is meant."""
    return _refusing(function, function.__name__, _by_word(MEANT))


def reading_words[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Refuse keyword arguments that a function of draws does not have with what is meant."""
    return _refusing(function, function.__name__, _by_word(READ))


def kernel_words[K: type](kind: K) -> K:
    """The class, whose settings are refused by other tools' names with the name that is meant."""
    return _class_refusing(kind, KERNELS)


def target_words[K: type](kind: K) -> K:
    """The class of targets, likewise."""
    return _class_refusing(kind, TARGET)


def until_words[K: type](kind: K) -> K:
    """The class of what a run is to reach, likewise."""
    return _class_refusing(kind, UNTIL)


def _class_refusing[K: type](kind: K, meant: dict[str, str]) -> K:
    kind.__init__ = _refusing(kind.__init__, kind.__name__, _by_word(meant))
    return kind


def _by_word(meant: dict[str, str]) -> dict[str, str]:
    return {word: name for name, words in meant.items() for word in words.split()}


def _refusing(function: Callable, name: str, meant: dict[str, str]) -> Callable:
    parameters = {p: given for p, given in inspect.signature(function).parameters.items() if p != "self"}
    known = list(parameters)
    needed = [p for p, given in parameters.items() if given.default is given.empty and given.kind in BY_PLACE]
    bound = len(inspect.signature(function).parameters) - len(known)  # self

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        for word in kwargs:
            if word not in known:
                raise WrongType.told(word, _told(name, word, known, meant))
        for word in needed[len(args) - bound :]:
            if word not in kwargs:
                raise _missing(name, word, needed)
        return function(*args, **kwargs)

    return called


def _missing(name: str, word: str, needed: list[str]) -> WrongType:
    """The error of an argument that has no default and was left out."""
    form = f"mcmc.{name}({', '.join(needed)})"
    return WrongType(word, f"nothing, in {name}()", NEEDED.get(word, "a value"), f"It has no default: write {form}.")


def _told(name: str, word: str, known: list[str], here: dict[str, str]) -> str:
    meant = here.get(word.lower())
    if meant is None:
        close = difflib.get_close_matches(word.lower(), [*known, *here], 1, 0.75)
        meant = next((here.get(near, near) for near in close), None)
    if meant is not None and meant.isidentifier() and meant not in known:
        meant = None
    shown = f"{meant}=" if meant and meant.isidentifier() else meant
    remedy = f"Did you mean {shown}?" if shown else "Leave it out."
    return f"{name}: there is no argument {word!r}. {remedy} The arguments are {', '.join(known)}."
