"""The parameters that a user declares, as a dictionary of supports that may nest: names checked, places given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mcmc.errors import WrongType, WrongValue
from mcmc.target.space import Leaf
from mcmc.target.support import Support

MOST_BYTES = 200  # of a name, which is a folder of a store


def leaves(parameters: Mapping) -> Iterator[Leaf]:
    """The parameters of a dictionary of supports, checked, and where each sits in the position."""
    if not isinstance(parameters, Mapping):
        remedy = 'Write {"mu": mcmc.real(), "tau": mcmc.positive()}.'
        raise WrongType("parameters", parameters, "a dict of names to supports", remedy)
    start, taken = 0, set()
    for path, support in _walk(parameters, ()):
        name = ".".join(path)
        if not isinstance(support, Support):
            remedy = "Use mcmc.real(), mcmc.positive(), ..., called."
            raise WrongType(f"parameters[{name!r}]", support, "a support", remedy)
        if name in taken:
            raise WrongValue("parameters", name, "another name", "Names are unique.")
        check_name("parameters", name)
        taken.add(name)
        yield Leaf(name, path, support, start, start + support.size)
        start += support.size
    if start == 0:
        raise WrongValue("parameters", parameters, "at least one parameter", "Give a name and a support.")


def check_name(argument: str, name: Any) -> None:
    """Raise TypeError or ValueError for what can't name an array in a run and in a file."""
    if not isinstance(name, str):
        raise WrongType(argument, name, "names that are strings", "Rename it.")
    size = len(name.encode())
    if "/" in name or name in ("", ".", "..", "chain", "draw") or size > MOST_BYTES:
        shown = f"a name of {size} bytes, {name[:20]}..." if size > MOST_BYTES else name
        remedy = f"A name has up to {MOST_BYTES} bytes, no '/', and is not 'chain' or 'draw'."
        raise WrongValue(argument, shown, "another name", remedy)


def _walk(tree: Mapping, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if not isinstance(key, str) or not key:
            raise WrongType("parameters", key, "names that are strings", "Rename it.")
        if isinstance(value, Mapping):
            yield from _walk(value, (*path, key))
        else:
            yield (*path, key), value


def names_in(tree: Mapping, before: str = "") -> set[str]:
    """The names of nested values: `a.b`."""
    parts = [names_in(v, f"{before}{k}.") if isinstance(v, Mapping) else {f"{before}{k}"} for k, v in tree.items()]
    return set().union(*parts)
