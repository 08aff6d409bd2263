"""Draws that carry exact pathwise gradients in their parameters: `f(key, parameters..., *, shape, dtype)`.

Each draw is of its exact law, and a differentiable function of the parameters whose mean gradient is the gradient
of the mean. All work under jit, vmap and grad, in float32 and float64, with keys of any implementation.
"""

from mcmc.direct.categorical import gumbel_softmax
from mcmc.direct.reparam_basic import (
    cauchy,
    exponential,
    gumbel,
    laplace,
    logistic,
    lognormal,
    normal,
    pareto,
    uniform,
    weibull,
)
from mcmc.direct.reparam_circular import von_mises
from mcmc.direct.reparam_gamma import chi_square, gamma, inverse_gamma, loggamma, student_t
from mcmc.direct.reparam_implicit import bernoulli, discrete, implicit, poisson
from mcmc.direct.reparam_inverse_gaussian import inverse_gaussian
from mcmc.direct.reparam_matrix import lkj, lkj_cholesky, wishart
from mcmc.direct.reparam_mixture import normal_mixture
from mcmc.direct.reparam_multivariate import multivariate_normal
from mcmc.direct.reparam_simplex import beta, dirichlet, log_dirichlet
from mcmc.direct.reparam_truncated import truncated_normal

__all__ = [
    "bernoulli",
    "beta",
    "cauchy",
    "chi_square",
    "dirichlet",
    "discrete",
    "exponential",
    "gamma",
    "gumbel",
    "gumbel_softmax",
    "implicit",
    "inverse_gamma",
    "inverse_gaussian",
    "laplace",
    "lkj",
    "lkj_cholesky",
    "log_dirichlet",
    "loggamma",
    "logistic",
    "lognormal",
    "multivariate_normal",
    "normal",
    "normal_mixture",
    "pareto",
    "poisson",
    "student_t",
    "truncated_normal",
    "uniform",
    "von_mises",
    "weibull",
    "wishart",
]
