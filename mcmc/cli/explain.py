"""`mcmc explain CODE`: what a code of the verdict or of an error means, and what to do; it needs no network."""

import difflib
from typing import Annotated

import typer

from mcmc import help
from mcmc.cli.exits import fail


def explain(
    code: Annotated[
        list[str] | None, typer.Argument(help="Codes, as the verdict names them; none: list them all.")
    ] = None,
) -> None:
    """Say what a finding of the verdict, or an error, means, and what to do about it."""
    if not code:
        width = max(map(len, help.codes()))
        for name in help.codes():
            typer.echo(f"{name:{width}}  {help.title(name)}")
        return
    named = [each.strip(",").lower().replace("-", "_") for each in code]
    for each in named:
        if each not in help.codes():
            fail(f"explain: no page is called {each!r}. {_near(each)}`mcmc explain` lists all.")
    typer.echo("\n".join(help.text(each) for each in named), nl=False)


def _near(wanted: str) -> str:
    """The pages whose code or title is like what was asked for."""
    inside = [name for name in help.codes() if wanted in f"{name} {help.title(name)}"]
    near = list(dict.fromkeys([*inside, *difflib.get_close_matches(wanted, help.codes())]))
    return f"Did you mean {', '.join(near[:4])}? " if near else ""
