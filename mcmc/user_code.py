"""A user's function under JAX: what it can't do there, said at the user's own line, with the ways out."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jax.errors import (
    ConcretizationTypeError,
    NonConcreteBooleanIndexError,
    TracerArrayConversionError,
    TracerBoolConversionError,
    TracerIntegerConversionError,
)

from mcmc.errors import WithPage, got

OWN = str(Path(__file__).parent)
LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")})
COMPILED = (".pyx", ".pxd", ".pyi", ".c", ".cpp")
"""Sources of compiled libraries, which name them by no whole path."""
WAYS_OUT = {
    "log_density": "or keep it as it is: mcmc.Target.black_box(f, parameters) takes any Python.",
    "log_prior": "or give log_density as a whole to mcmc.Target.black_box(f, parameters), which takes any Python.",
    "prior": "or leave it out: the prior is then drawn by MCMC.",
    "derived": "or compute it after the run, in NumPy, from draws.posterior.",
    "log_likelihood": "or compute it after the run, in NumPy, from draws.posterior.",
    "predictive": "or simulate after the run, in NumPy, from draws.posterior.",
    "InverseCDF": "or keep it as it is, with parameters that are known: any Python of one number is taken then.",
    "Discrete": "or write it for one number: any Python is taken then.",
    "Rejection": "or keep it as it is, with parameters that are known: any Python of one number is taken then.",
}
KINDS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        TracerBoolConversionError,
        "asks for the truth of a traced value (if, while, and, or, not, max, min)",
        "Write jnp.where(condition, a, b), & and | for and and or",
    ),
    (
        TracerArrayConversionError,
        "makes a NumPy array of a traced value, as functions of NumPy and SciPy do",
        "Write it with jax.numpy (jnp.exp for np.exp) or jax.scipy",
    ),
    (
        TracerIntegerConversionError,
        "takes a traced value for a length or an index in Python",
        "Use a fixed length and jnp.where, jax.lax.fori_loop, or index a jnp.array",
    ),
    (
        NonConcreteBooleanIndexError,
        "picks elements by a traced condition, so that their number is not known",
        "Write jnp.where(condition, x, 0.0) in place of x[condition]",
    ),
    (
        ConcretizationTypeError,
        "asks for the number in a traced value, as float(), int(), range() and the module math do",
        "Write it with jax.numpy (jnp.log for math.log)",
    ),
)
FOREIGN = {
    "pandas": ("computes with a pandas object", "Take its values first: y = jnp.asarray(y.to_numpy())"),
    "xarray": ("computes with an xarray object", "Take its values first: y = jnp.asarray(y.values)"),
    "numpy/ma": ("computes with a masked array", "Take y.compressed(), or y.filled(0.0) with jnp.where and the mask"),
}
DOUBLE_WHERE = (
    "jnp.where passes NaN on from the branch that it does not take: guard the operand too, as in "
    "jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)."
)
INDEX = "Only integer scalar arrays can be converted to a scalar index"
"""What JAX says of a traced real number as an index."""
EAGER = ("truth value of an array", "Only scalar arrays", "only length-1 arrays", "only 0-dimensional arrays")


class Traced(WithPage, TypeError):
    """A user's function does what JAX can't: the message names its line, its expression and the ways out."""

    code = "traced"


def explained(argument: str, error: Exception, function: Callable, ways_out: str | None = None) -> TypeError | None:
    """What a user's function can't do under JAX, as an error to raise; None where the error is another.

    `ways_out` names an entry of `WAYS_OUT`; None: the argument's.
    """
    files = " ".join(frame.filename for frame in traceback.extract_tb(error.__traceback__))
    found = _kind(error, files)
    if found is None:
        return None
    what, instead = found
    where, expression = _where(error, function)
    way = WAYS_OUT[ways_out or argument]
    expected = "operations of JAX, which compiles the function before any value is known"
    if found == _of_a_dict(error):
        expected = "a name that it has"
    else:
        instead = f"{instead}, {way}"
    said = got(argument, _Said(f"{expression} ({where}), which {what}"), expected, instead)
    return Traced(said)


@contextmanager
def explaining(argument: str, function: Callable, ways_out: str) -> Iterator[None]:
    """Within, what the user's function can't do under JAX is raised in these words."""
    try:
        yield
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        if told := explained(argument, error, function, ways_out):
            raise told from error
        raise


class _Said(str):
    """Text that is shown as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def of_a_library(argument: str, value: Any, function: Callable) -> TypeError | None:
    """What a function gives that is an object of pandas or xarray, as an error to raise; None where it is not."""
    found = FOREIGN.get(type(value).__module__.partition(".")[0])
    if found is None:
        return None
    what, instead = found
    code = getattr(function, "__code__", None)
    where = f"{Path(code.co_filename).name}, line {code.co_firstlineno}" if code else "no source"
    said = _Said(f"{type(value).__name__} ({where}), since it {what}")
    return Traced(got(argument, said, "an array of JAX", f"{instead}, {WAYS_OUT[argument]}"))


def _kind(error: Exception, files: str) -> tuple[str, str] | None:
    """What the function did, and what to write instead."""
    text = str(error)
    jax_said = isinstance(error, tuple(kind for kind, _, _ in KINDS)) or "Tracer" in text
    if jax_said:
        for part, found in FOREIGN.items():
            if f"/{part}/" in files.replace("\\", "/"):
                return found
    if "numpy masked arrays" in text:
        return FOREIGN["numpy/ma"]
    if isinstance(error, ValueError) and "setting an array element" in text and jax_said | _traced(error.__cause__):
        return (
            "puts a traced value into a NumPy array",
            "Build it of its parts with jnp.array([...]) or jnp.stack, or write x = x.at[i].set(v) on a jnp array",
        )
    if "JAX arrays are immutable" in text:
        return "assigns to a part of a JAX array", "Write x = x.at[i].set(v) in place of x[i] = v"
    if isinstance(error, AttributeError) and (found := _of_a_dict(error)):
        return found
    for kind, what, instead in KINDS:
        if isinstance(error, kind) or (kind is TracerIntegerConversionError and INDEX in text):
            return what, instead
    if isinstance(error, TypeError) and "'list'" in text and "Tracer" in text:
        return "computes with a list", "Make it an array: jnp.array(y)"
    if isinstance(error, TypeError) and "Tracer" in text:
        return "takes a traced value where that is not possible", "Write it with jax.numpy or jax.scipy"
    if isinstance(error, TypeError | ValueError) and any(part in text for part in EAGER):
        return "asks for one number of an array of points", "Write it with jax.numpy, elementwise (jnp.where for if)"
    return None


def _of_a_dict(error: Exception) -> tuple[str, str] | None:
    """An attribute asked of a dict."""
    if "'dict' object has no attribute" not in str(error):
        return None
    name = getattr(error, "name", "x")
    return "asks a dict for an attribute", f"Parameters and data come by name: write p[{name!r}]."


def _traced(cause: BaseException | None) -> bool:
    """Whether an error comes from a traced value."""
    return isinstance(cause, tuple(kind for kind, _, _ in KINDS)) or "Tracer" in str(cause)


def _where(error: Exception, function: Callable) -> tuple[str, str]:
    """The place of the user's expression, and the expression: the innermost frame that is no library's and not ours."""
    code = getattr(function, "__code__", None)
    made = () if code and code.co_filename == "<string>" else ("<string>",)  # SciPy makes functions of text
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        others = (OWN, *LIBRARIES, "<frozen", *made)
        if not frame.filename.startswith(others) and not frame.filename.endswith(COMPILED):
            return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}", _expression(frame)
    name = getattr(function, "__name__", type(function).__name__)
    return (f"{Path(code.co_filename).name}, line {code.co_firstlineno}" if code else "no source"), f"{name}(...)"


def _expression(frame: traceback.FrameSummary) -> str:
    whole = linecache.getline(frame.filename, frame.lineno or 0).rstrip()
    if frame.lineno == frame.end_lineno and frame.colno is not None and frame.end_colno is not None:
        part = whole.encode()[frame.colno : frame.end_colno].decode(errors="replace")
        return part or whole.strip() or f"{frame.name}(...)"
    return whole.strip() or f"{frame.name}(...)"


# --- names that are not there -----------------------------------------------------------------------------


class MissingName(WithPage, ValueError):
    """A function of the target asks for a name that its parameters, or its data, do not have.

    Attributes:
        kind: "parameter" or "data".
        name: what was asked for.
    """

    code = "missing_name"

    def __init__(self, message: str, kind: str, name: Any):
        super().__init__(message)
        self.kind, self.name = kind, name


class _Watched(dict):
    """A dict that says, of a name that is missing, which dict was asked."""

    def __init__(self, values: dict, kind: str):
        super().__init__({k: _Watched(v, kind) if type(v) is dict else v for k, v in values.items()})
        self.kind = kind

    def __missing__(self, key: Any) -> Any:
        raise _Missing(self.kind, key, list(self))


class _Missing(KeyError):
    def __init__(self, kind: str, key: Any, known: list):
        super().__init__(key)
        self.kind, self.key, self.known = kind, key, known


def missing_name(argument: str, function: Callable, arguments: tuple, n: int) -> MissingName | None:
    """Which name a function that raised a KeyError asked its parameters or its data for; None where it was neither.

    `arguments[n]` is the dict of parameters; what follows it is the data. The function is called again.
    """
    kinds = {n: "parameter", n + 1: "data"}
    watched = [_Watched(a, kinds[i]) if i in kinds and type(a) is dict else a for i, a in enumerate(arguments)]
    try:
        function(*watched)
    except _Missing as error:
        missing = error
    except Exception:
        return None
    else:
        return None
    key, data = missing.key, arguments[n + 1] if len(arguments) > n + 1 else {}
    known = ", ".join(map(str, missing.known))
    if missing.kind == "data":
        remedy = "Add it to data=, or correct it."
        if key in arguments[n]:
            remedy = f"It is a parameter: write p[{key!r}]."
        text = got(argument, _Said(f"data[{key!r}]"), f"one of the data {known}", remedy)
        return MissingName(f"no data {key!r}: {text}", "data", key)
    remedy = "Add it to parameters=, or correct it."
    if isinstance(data, dict) and key in data:
        remedy = f"It is in data: write data[{key!r}]."
    text = got(argument, key, f"one of the parameters {known}", remedy)
    return MissingName(f"unknown parameter {key!r}: {text}", "parameter", key)
