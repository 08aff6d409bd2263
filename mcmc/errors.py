"""Errors, warnings, and the result codes of compiled code with their remedies."""

import os
import re
import warnings
from enum import IntEnum
from typing import Any, Self

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


class WithPage(Exception):
    """An error of which `mcmc explain CODE` says more; its text ends with that address.

    Attributes:
        code: the name of its page.
    """

    code: str = "sampling"

    def __str__(self) -> str:
        return with_address(super().__str__(), self.code)


class ConvergenceWarning(UserWarning):
    """The draws are returned, but the diagnosis found that they should not be trusted yet."""


def warn(message: str) -> None:
    """Warn with a `ConvergenceWarning` that names the line of the caller of the package."""
    warnings.warn(message, ConvergenceWarning, skip_file_prefixes=(PACKAGE,))


class SamplingError(WithPage, RuntimeError):
    """A run can't go on; the message says what happened, where, and what to do.

    Attributes:
        code: the page that says more: `mcmc explain CODE`.
        chain: the chain concerned, or None.
        position: its parameters (constrained, by name) where it happened, or None.
    """

    def __init__(
        self, message: str, *, chain: int | None = None, position: dict | None = None, code: str | None = None
    ):
        super().__init__(message)
        self.code = code or self.code
        self.chain = chain
        self.position = position


class InitializationError(SamplingError):
    """No finite log density was found to start a chain from."""

    code = "initialization"


class MemoryLimitError(SamplingError):
    """The draws asked for do not fit in memory; said before anything is compiled."""

    code = "memory_limit"


class StoreError(SamplingError):
    """A run's store on disk can't be written or read."""

    code = "store"


class FingerprintError(SamplingError):
    """A run is resumed with a target, kernel or machine other than its own."""

    code = "fingerprint"


class EnvelopeViolation(SamplingError):
    """The density rises above its envelope: draws would be biased, so there are none.

    Attributes:
        point: where it was found.
        excess: log density − log proposal density − log bound there.
        log_bound_needed: the least log bound that covers the point.
    """

    code = "envelope"

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

    code = "budget"

    def __init__(self, message: str, *, acceptance_rate: float, drawn: int, needed: float):
        super().__init__(message)
        self.acceptance_rate = acceptance_rate
        self.drawn = drawn
        self.needed = needed


ARGUMENTS = {
    "settings": "chains draws warmup seed thin until lanes superchains keep keep_dtype reduce dtype mesh geometry "
    "chunk save_warmup store progress sample jax_disable_jit",
    "target": "target log_density parameters dims coords derived log_likelihood log_prior prior predictive fn names "
    "vectorized gradient workers condition support",
    "kernel": "kernel kernels metric blocks max_tree_depth temperatures inverse_temperatures reference_scale proposal "
    "Gibbs DiscreteGibbs Tempered",
    "init": "init start",
    "data": "data folds each",
    "model": "model args",
}
PAGES = {argument: code for code, arguments in ARGUMENTS.items() for argument in arguments.split()}
"""The page of an argument, by its first name; of every other it is `argument`."""


class ArgumentError(WithPage):
    """An argument that can't be used: its name, what it was, what it may be, and what to write instead.

    Attributes:
        argument: its name.
    """

    code = "argument"

    def __init__(self, argument: str, value: object, expected: str, remedy: str):
        super().__init__(got(argument, value, expected, remedy))
        self.argument = argument
        self.code = PAGES.get(re.split(r"\W", argument)[0], self.code)

    @classmethod
    def told(cls, argument: str, text: str) -> Self:
        """The error of an argument in words of its own."""
        return restored(cls, text, {"argument": argument, "code": PAGES.get(argument, cls.code)})

    def __reduce__(self) -> tuple:
        return restored, (type(self), self.args[0], vars(self))


class WrongValue(ArgumentError, ValueError):
    """An argument of a value that can't be used."""


class WrongType(ArgumentError, TypeError):
    """An argument of a type that can't be used."""


def kind_of(kind: type[BaseException]) -> str:
    """The name by which people know a kind of error: of an argument's, Python's own.

    >>> kind_of(WrongValue), kind_of(StoreError)
    ('ValueError', 'StoreError')
    """
    known = (base for base in kind.__mro__ if base.__module__ == "builtins")
    return next(known).__name__ if issubclass(kind, ArgumentError) else kind.__name__


def restored(kind: type[ArgumentError], text: str, attributes: dict[str, Any]) -> Any:
    """An argument's error with this text, as processes hand it to each other."""
    error = kind.__new__(kind, text)
    error.args = (text,)
    vars(error).update(attributes)
    return error


class Result(IntEnum):
    """What became of a chain in compiled code; every member carries its remedy.

    >>> Result.INFINITE.remedy[:17]
    'A log density of '
    """

    OK = 0
    INFINITE = 1
    LOST = 2

    @property
    def code(self) -> str:
        """The page that says more: `mcmc explain CODE`."""
        return self.name.lower()

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


def with_address(text: str, *codes: str) -> str:
    """The text, and the command that says more of these codes; once only, where errors are told within others.

    >>> with_address("No finite start was found.", "initialization")
    'No finite start was found. (More: mcmc explain initialization)'
    """
    return text if "mcmc explain " in text or not codes else f"{text} (More: mcmc explain {' '.join(codes)})"


def more(*codes: str) -> str:
    """The line of a verdict that names the command which says more of these codes.

    >>> more("rhat", "modes")
    '  More: mcmc explain rhat modes'
    """
    return f"  More: mcmc explain {' '.join(codes)}"


def how_to_install(extra: str) -> str:
    """The command that installs an extra's libraries, in words that work wherever `mcmc` was installed from.

    >>> how_to_install("parquet")
    'pip install pyarrow (the extra "parquet" of mcmc)'
    """
    return f'pip install {" ".join(OPTIONAL_LIBRARIES[extra])} (the extra "{extra}" of mcmc)'
