"""Exit statuses of the commands, and user errors as one message.

Exit status: 0 for draws that pass the diagnosis, 1 for draws that do not, 2 for bad input, 3 for a fault in this
package, 130 after Ctrl-C.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

OK, NOT_CONVERGED, BAD_INPUT, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


def fail(message: str, status: int = BAD_INPUT) -> NoReturn:
    """Say what is wrong on stderr, and leave with this exit status."""
    typer.secho(f"mcmc: {message}", fg="red", err=True)
    if "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized():
        os._exit(status)  # immediately: an ordinary exit would wait for the other processes
    raise typer.Exit(status)


@contextmanager
def plain_errors(script: Path | None = None) -> Iterator[None]:
    """Show what the user can mend as one message, with the line of the script; let our own faults through."""
    from mcmc import SamplingError
    from mcmc.errors import kind_of

    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        fail("interrupted; nothing was written.", INTERRUPTED)
    except Exception as error:
        place = _place(error, script)
        if place is None and not isinstance(error, ValueError | TypeError | SamplingError | OSError):
            raise
        kind = "" if isinstance(error, ValueError | SamplingError) else f"{kind_of(type(error))}: "
        fail(f"{kind}{error}{place or ''}")


def _place(error: BaseException | None, script: Path | None) -> str | None:
    """The last line of the script that an error, or what caused it, went through."""
    file = str(script.resolve()) if script else ""
    while error is not None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        if frames:
            last = frames[-1]
            return f"\n  in {script}, line {last.lineno}, in {last.name}: {last.line}"
        error = error.__cause__ or error.__context__
    return None
