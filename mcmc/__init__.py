"""From a log density to a posterior that can be trusted: MCMC and direct sampling on JAX."""

from mcmc.diagnostics import Diagnosis, diagnose, ess, mcse, nested_rhat, plot, rhat, summary
from mcmc.errors import (
    ConvergenceWarning,
    FingerprintError,
    InitializationError,
    MemoryLimitError,
    SamplingError,
)
from mcmc.kernels import (
    HMC,
    DifferentialEvolution,
    Direct,
    IndependentMetropolis,
    MetropolisHastings,
    RandomWalk,
    Stretch,
)
from mcmc.predict import predict
from mcmc.sampling import resume, sample
from mcmc.support import (
    boolean,
    cholesky_factor_corr,
    circular,
    corr_matrix,
    cov_matrix,
    integer,
    interval,
    lower,
    ordered,
    positive,
    positive_ordered,
    real,
    simplex,
    unit_vector,
    upper,
)
from mcmc.target import Target
from mcmc.version import __version__

__all__ = [
    "HMC",
    "ConvergenceWarning",
    "Diagnosis",
    "DifferentialEvolution",
    "Direct",
    "FingerprintError",
    "IndependentMetropolis",
    "InitializationError",
    "MemoryLimitError",
    "MetropolisHastings",
    "RandomWalk",
    "SamplingError",
    "Stretch",
    "Target",
    "__version__",
    "boolean",
    "cholesky_factor_corr",
    "circular",
    "corr_matrix",
    "cov_matrix",
    "diagnose",
    "ess",
    "integer",
    "interval",
    "lower",
    "mcse",
    "nested_rhat",
    "ordered",
    "plot",
    "positive",
    "positive_ordered",
    "predict",
    "real",
    "resume",
    "rhat",
    "sample",
    "simplex",
    "summary",
    "unit_vector",
    "upper",
]
