"""Arguments by the names that other tools give them: refused, with the name that is meant here."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable

NUTS = "kernel=mcmc.NUTS({})"
MEANT = {
    "draws": "num_samples n_samples nsamples samples n_draws num_draws ndraws iter iterations n_iter niter "
    "iter_sampling num_results n_steps nsteps steps length size n",
    "warmup": "num_warmup n_warmup nwarmup tune n_tune num_tune burnin burn_in burn nburn n_burn iter_warmup "
    "num_burnin_steps discard num_steps_warmup",
    "chains": "num_chains n_chains nchains nwalkers n_walkers num_walkers walkers parallel_chains chain",
    "seed": "random_seed rng_key rng rng_seed key random_state prng_key seeds",
    "init": "initvals init_params init_values initial_params inits start p0 initial_state initial_position inits_from "
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
    NUTS.format("target_acceptance=0.9"): "target_accept target_accept_prob adapt_delta delta target_acceptance",
    NUTS.format("max_tree_depth=12"): "max_treedepth max_tree_depth max_depth",
    NUTS.format("step_size=0.1"): "step_size stepsize epsilon",
    NUTS.format("metric=covariance"): "inverse_mass_matrix mass_matrix metric dense_mass inv_metric",
    "mcmc.Target(log_density, parameters, data=data)": "data observed",
}
HERE = {word: meant for meant, words in MEANT.items() for word in words.split()}


def own_words[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Refuse keyword arguments that the function does not have with the name, or the place, that is meant."""
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        for word in kwargs:
            if word not in known:
                raise TypeError(_told(function.__name__, word, known))
        return function(*args, **kwargs)

    return called


def _told(name: str, word: str, known: list[str]) -> str:
    meant = HERE.get(word.lower())
    if meant is None:
        meant = next(iter(difflib.get_close_matches(word.lower(), known, 1, 0.75)), None)
    elif meant.isidentifier() and meant not in known:
        meant = None
    shown = f"{meant}=" if meant and meant.isidentifier() else meant
    remedy = f"Did you mean {shown}?" if shown else "Leave it out."
    return f"{name}: there is no argument {word!r}. {remedy} The arguments are {', '.join(known)}."
