"""A page for every code of the verdict and of the errors: `mcmc explain CODE`; the documentation shows the same."""

import re
from functools import cache
from importlib.resources import files

LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


@cache
def codes() -> tuple[str, ...]:
    """Every code that has a page, in alphabetical order."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))


def page(code: str) -> str:
    """The page of a code, in Markdown.

    Raises:
        KeyError: no page has this code.

    Example:
        >>> page("divergences").splitlines()[0]
        '# divergences: draws that diverge'
    """
    if code not in codes():
        raise KeyError(code)
    return files(__name__).joinpath(f"{code}.md").read_text(encoding="utf-8")


def title(code: str) -> str:
    """What the code says, in a few words.

    >>> title("burn_in")
    'the first draws differ from the rest'
    """
    return page(code).splitlines()[0].partition(": ")[2]


def text(code: str) -> str:
    """The page as it is shown in a terminal: links are their words, marks of emphasis are left out."""
    return LINK.sub(r"\1", page(code)).replace("**", "")
