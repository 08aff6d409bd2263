"""What samplers call columns that are no parameters: statistics, log likelihoods, weights, live points."""

from __future__ import annotations

import re

STATISTICS = {
    "lp": "lp", "lp__": "lp", "accept_stat__": "acceptance_rate", "stepsize__": "step_size",
    "treedepth__": "tree_depth",
    "n_leapfrog__": "n_steps", "divergent__": "diverging", "energy__": "energy", "diverging": "diverging",
    "divergent": "diverging", "acceptance_rate": "acceptance_rate", "tree_depth": "tree_depth",
    "reached_max_treedepth": "reached_max_treedepth", "n_steps": "n_steps", "step_size": "step_size",
    "is_accept": "is_accept", "log_density": "log_density", "hamiltonian_energy": "energy",
    "hamiltonian_energy_error": "energy_error", "max_hamiltonian_energy_error": "max_energy_error",
    "numerical_error": "diverging", "nom_step_size": "step_size_nom", "step_size_bar": "step_size_bar",
    "is_divergent": "diverging", "num_integration_steps": "n_steps", "num_trajectory_expansions": "tree_depth",
    "is_turning": "is_turning", "num_steps": "n_steps", "accept_prob": "acceptance_rate",
    "mean_accept_prob": "mean_accept_prob", "potential_energy": "potential_energy",
    "log_prob": "lp", "lnprob": "lp", "log_posterior": "lp", "logpost": "lp", "lnpost": "lp", "logjoint": "lp",
    "logprior": "log_prior", "log_prior": "log_prior", "lnprior": "log_prior", "lprior": "log_prior",
    "minuslogpost": "minuslogpost", "minuslogprior": "minuslogprior",
    "loglikelihood": "log_lik_total", "loglike": "log_lik_total", "lnlike": "log_lik_total",
}  # fmt: skip
"""What samplers call the statistics that they write beside parameters, and ArviZ's names of them."""
FLAGS = ("diverging", "reached_max_treedepth", "is_turning")
COUNTS = ("tree_depth", "n_steps")
LOG_LIKELIHOOD = re.compile(r"(log_likelihood|log_lik)(\[.*\]|\.[\d.]+)?")
WEIGHTS = ("weight", "weights", "importance_weight", "importance_weights", ".weight")
LOG_WEIGHTS = ("logwt", "logweight", "logweights", "log_weight", "log_weights", ".log_weight", "log_wt")
LEVELS = ("loglike", "lnlike", "loglikelihood", "log_likelihood")
"""Columns of the log likelihood beside weights."""
MAYBE_LEVELS = ("logl", "log_l")
"""They may be a luminosity: where they stand, and whether they rise, tells."""
OF_NESTED_SAMPLING = (
    "logl_birth", "birth_logl", "nlive", "logzerr", "logz_err", "logvol", "log_vol", "insert_order",
    "samples_id", "samples_it", "samples_bound", "samples_n", "samples_batch", "samples_u",
)  # fmt: skip
"""What nested sampling writes beside weights, and is no parameter there."""
OF_ITS_RUNS = ("logz", "information", "ncall", "boundidx", "bounditer", "scale", "logvol", "logzvar")
"""The same beside `samples` or `logvol`; elsewhere they may be parameters: logZ is a metallicity."""
