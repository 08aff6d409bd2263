"""What was read, in one line; and parts of it: without the beginning, thinned, some parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from math import prod
from typing import Any

from mcmc.errors import WrongValue, got
from mcmc.readers.limits import ReadError


def understood(tree: Any, format: str, files: int) -> str:
    """One line on what was taken from the files, and as what."""
    posterior = tree["posterior"]
    scalars = sum(prod(n for d, n in v.sizes.items() if d not in ("chain", "draw")) for v in posterior.values())
    parts = [f"{counted(posterior.sizes['chain'], 'chain')} x {counted(posterior.sizes['draw'], 'draw')}"]
    if "warmup_posterior" in tree.children:
        warmup = tree["warmup_posterior"]
        parts.append(f"{warmup.sizes['draw']} warmup rows of each dropped")
    parts.append(counted(scalars, "parameter"))
    line = f"read as {format} ({counted(files, 'file')}): {', '.join(parts)}"
    for group in ("sample_stats", "log_likelihood"):
        if group in tree.children and (names := [str(name) for name in tree[group].data_vars]):
            line += f"; {group}: {_some(names)}"
    ignored = tree.attrs.pop("ignored", "")
    note = tree.attrs.get("note", "")
    return line + (f"; ignored: {ignored}" if ignored else "") + (f"; {note}" if note else "")


def selected(
    tree: Any, *, burn: float = 0, thin: int = 1, vars: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Any:  # fmt: skip
    """The tree without the first `burn` draws, every `thin`-th kept, of these variables."""
    if not isinstance(thin, int) or thin < 1:
        raise WrongValue("thin", thin, "a positive integer", "1 keeps every draw.")
    draws = tree["posterior"].sizes["draw"]
    first = _first(burn, draws)
    if first == 0 and thin == 1 and vars is None and exclude is None:
        return tree
    names = [str(name) for name in tree["posterior"].data_vars]
    kept = names if vars is None else _matching(names, vars, "vars")
    dropped = [] if exclude is None else _matching(names, exclude, "exclude")
    kept = [name for name in names if name in kept and name not in dropped]
    if not kept:
        raise ReadError(got("vars, exclude", "no parameter left", "at least one", f"There are: {_some(names)}."))
    import xarray

    parts = {}
    for node in tree.subtree:
        dataset = node.to_dataset(inherit=False)
        if node.path == "/posterior":
            dataset = dataset[kept]
        if dataset.sizes.get("draw") == draws and not node.name.startswith("warmup_"):
            dataset = dataset.isel(draw=slice(first, None, thin))
        parts[node.path] = dataset
    found = xarray.DataTree.from_dict(parts)
    taken = [f"{first} draws of each chain dropped as burn-in"] * bool(first)
    taken += [f"one in {thin} kept"] * (thin > 1) + [f"{len(kept)} of {len(names)} variables"] * (kept != names)
    left = found["posterior"].sizes["draw"]
    found.attrs["understood"] = f"{found.attrs.get('understood', '')}; {', '.join(taken)}: {counted(left, 'draw')} left"
    return found


def _first(burn: float, draws: int) -> int:
    """How many draws to leave out."""
    if isinstance(burn, bool) or not isinstance(burn, int | float) or not 0 <= burn < float("inf"):
        raise WrongValue("burn", burn, "a number of draws, or a fraction below 1", "0 keeps all.")
    if burn >= 1 and burn != int(burn):
        raise WrongValue("burn", burn, "a whole number of draws, or a fraction below 1", "Round it.")
    first = int(burn * draws) if burn < 1 else int(burn)
    if first >= draws:
        raise ReadError(got("burn", burn, f"fewer than the {draws} draws that there are", "Leave out fewer."))
    return first


def _matching(names: list[str], asked: Sequence[str], option: str) -> list[str]:
    """Names that are asked for: `theta` is `theta` or `theta[0]`, `theta[1]`, ..."""
    asked = [asked] if isinstance(asked, str) else list(asked)
    found = []
    for wanted in asked:
        here = [name for name in names if name == wanted or name.startswith((wanted + "[", wanted + "."))]
        if not here:
            close = get_close_matches(str(wanted), names, 1) or names
            raise ReadError(got(option, wanted, f"among {_some(names)}", f"Did you mean {close[0]}?"))
        found += here
    return found


def counted(number: int, what: str) -> str:
    """A number with its noun: `1 chain`, `2 chains`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def listed(text: str | None) -> list[str] | None:
    """Names in a text `a,b[0, 1],c`: commas within brackets part nothing."""
    return None if not text else [name.strip() for name in re.split(r",(?![^\[]*\])", text)]
