"""From a log density to a posterior that can be trusted: MCMC and direct sampling on JAX."""

from mcmc.diagnostics import Diagnosis, diagnose, ess, mcse, nested_rhat, plot, rhat, summary
from mcmc.direct import categorical
from mcmc.direct.inverse_cdf import InverseCDF
from mcmc.direct.rejection import Rejection
from mcmc.engine.stopping import Converged
from mcmc.errors import (
    BudgetExhausted,
    ConvergenceWarning,
    EnvelopeViolation,
    FingerprintError,
    InitializationError,
    MemoryLimitError,
    SamplingError,
    StoreError,
)
from mcmc.kernels import (
    HMC,
    MALA,
    NUTS,
    DifferentialEvolution,
    Direct,
    DiscreteGibbs,
    Gibbs,
    IndependentMetropolis,
    MetropolisHastings,
    Multiscale,
    RandomWalk,
    Stretch,
    Tempered,
)
from mcmc.models import from_numpyro, from_pymc
from mcmc.predict import predict
from mcmc.sampling import resume, sample
from mcmc.stored import open_run as open
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
    "MALA",
    "NUTS",
    "BudgetExhausted",
    "Converged",
    "ConvergenceWarning",
    "Diagnosis",
    "DifferentialEvolution",
    "Direct",
    "DiscreteGibbs",
    "EnvelopeViolation",
    "FingerprintError",
    "Gibbs",
    "IndependentMetropolis",
    "InitializationError",
    "InverseCDF",
    "MemoryLimitError",
    "MetropolisHastings",
    "Multiscale",
    "RandomWalk",
    "Rejection",
    "SamplingError",
    "StoreError",
    "Stretch",
    "Target",
    "Tempered",
    "__version__",
    "boolean",
    "categorical",
    "cholesky_factor_corr",
    "circular",
    "corr_matrix",
    "cov_matrix",
    "diagnose",
    "ess",
    "from_numpyro",
    "from_pymc",
    "integer",
    "interval",
    "lower",
    "mcse",
    "nested_rhat",
    "open",
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
