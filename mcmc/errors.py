"""Errors, warnings, and the result codes of compiled code with their remedies."""

import os
import warnings
from enum import IntEnum
from typing import Any

import numpy as np

PACKAGE = os.path.dirname(__file__) + os.sep

OPTIONAL_LIBRARIES = {
    "service": ("fastapi", "uvicorn", "pydantic", "python-multipart", "prometheus-client"),
    "numpyro": ("numpyro", "funsor"),
    "pymc": ("pymc",),
    "parquet": ("pyarrow",),
    "rstar": ("scikit-learn",),
    "workers": ("loky",),
}


class ConvergenceWarning(UserWarning):
    """The draws are returned, but the diagnosis found that they should not be trusted yet."""


def warn(message: str) -> None:
    """Warn with a `ConvergenceWarning` that names the line of the caller of the package."""
    warnings.warn(message, ConvergenceWarning, skip_file_prefixes=(PACKAGE,))


class SamplingError(RuntimeError):
    """A run can't go on; the message says what happened, where, and what to do.

    Attributes:
        chain: the chain concerned, or None.
        position: its parameters (constrained, by name) where it happened, or None.
    """

    def __init__(self, message: str, *, chain: int | None = None, position: dict | None = None):
        super().__init__(message)
        self.chain = chain
        self.position = position


class InitializationError(SamplingError):
    """No finite log density was found to start a chain from."""


class MemoryLimitError(SamplingError):
    """The draws asked for do not fit in memory; said before anything is compiled."""


class StoreError(SamplingError):
    """A run's store on disk can't be written or read."""


class FingerprintError(SamplingError):
    """A run is resumed with a target, kernel or machine other than its own."""


class EnvelopeViolation(SamplingError):
    """The density rises above its envelope: draws would be biased, so there are none.

    Attributes:
        point: where it was found.
        excess: log density − log proposal density − log bound there.
        log_bound_needed: the least log bound that covers the point.
    """

    def __init__(self, message: str, *, point: Any, excess: float, log_bound_needed: float):
        super().__init__(message)
        self.point = point
        self.excess = excess
        self.log_bound_needed = log_bound_needed


class BudgetExhausted(SamplingError):
    """A rejection sampler made all the proposals that it may and has not drawn what was asked for.

    Attributes:
        acceptance_rate: accepted proposals, as a share.
        drawn: how many draws there were.
        needed: about how many proposals all draws would have taken (infinite where none was accepted).
    """

    def __init__(self, message: str, *, acceptance_rate: float, drawn: int, needed: float):
        super().__init__(message)
        self.acceptance_rate = acceptance_rate
        self.drawn = drawn
        self.needed = needed


class Result(IntEnum):
    """What became of a chain in compiled code; every member carries its remedy.

    >>> Result.INFINITE.remedy[:17]
    'A log density of '
    """

    OK = 0
    INFINITE = 1
    LOST = 2

    @property
    def remedy(self) -> str:
        """One sentence that says what to do."""
        return _REMEDIES[self]


_REMEDIES = {
    Result.OK: "Nothing to do.",
    Result.INFINITE: (
        "A log density of +inf swallows the chain: bound the density (a minimum scale, a proper prior) or keep "
        "the parameter away from that point with a support such as mcmc.lower(a)."
    ),
    Result.LOST: (
        "The log density of an accepted draw is not finite, so the kernel let it through: return the log density "
        "that the kernel was given, unchanged, from its accept step."
    ),
}


def got(argument: str, value: object, expected: str, remedy: str) -> str:
    """The one form of an argument error: argument, got, expected, remedy."""
    if isinstance(value, np.generic):
        value = value.item()
    shown = value if isinstance(value, str) and " " in value else " ".join(repr(value).split("\n"))
    return f"{argument}: got {shown if len(shown) < 200 else shown[:197] + '...'}; expected {expected}. {remedy}"


def how_to_install(extra: str) -> str:
    """The command that installs an extra's libraries, in words that work wherever `mcmc` was installed from.

    >>> how_to_install("parquet")
    'pip install pyarrow (the extra "parquet" of mcmc)'
    """
    return f'pip install {" ".join(OPTIONAL_LIBRARIES[extra])} (the extra "{extra}" of mcmc)'
