"""How to order exchangeable components, so that only one of their labellings is left: the call that does it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mcmc.diagnostics.stats import rhat
from mcmc.target.space import Leaf
from mcmc.target.symmetry import Exchange, Part
from mcmc.target.target import Target

SWITCHED, EXPLAINED = 1.05, 0.2
MOST_SLICES = 8
ORDERED = {"real": "mcmc.ordered({})", "positive": "mcmc.positive_ordered({})"}


@dataclass(frozen=True)
class Order:
    """By which values components are ordered: their name, draws (chain, draw, component), and the call."""

    name: str
    values: np.ndarray
    call: str

    @property
    def separation(self) -> float:
        """The least gap between neighbours once they are in order, in their standard deviations."""
        x = np.sort(self.values, 2)
        return float((np.diff(x.mean((0, 1))) / x.std((0, 1)).max()).min())


def label_switching(target: Target, found: Exchange, posterior: Any) -> dict[str, Any] | None:
    """What a diagnosis says of exchangeable components whose labels differ between chains; None: they do not.

    They do where R-hat is far from 1, and in order is not: of the values that tell the components best apart.
    """
    orders = list(_orders(target, found, posterior))
    if not orders:
        return None
    best = max(orders, key=lambda order: order.separation)
    before = float(np.max(rhat(best.values)))
    after = float(np.max(rhat(np.sort(best.values, 2))))
    if not (before > SWITCHED and after - 1 < EXPLAINED * (before - 1)):
        return None
    return {
        "names": list(found.names),
        "components": len(found.elements),
        "by": best.name,
        "before": before,
        "after": after,
        "call": best.call,
    }


def _orders(target: Target, found: Exchange, posterior: Mapping[str, Any]) -> Iterator[Order]:
    """Every way to order the components by values of one parameter, or one family of them."""
    for part in found.parts:
        if part.how != "axes" or any(leaf.name not in posterior for leaf in part.leaves):
            continue
        drawn = [np.asarray(posterior[leaf.name], float) for leaf in part.leaves]
        yield from _of_family(part, found, drawn) if len(drawn) > 1 else _of_axis(part, found, drawn[0])


def _of_family(part: Part, found: Exchange, drawn: list[np.ndarray]) -> Iterator[Order]:
    leaves = [part.leaves[i] for i in found.elements]
    values = np.stack([drawn[i] for i in found.elements], 2)
    support, scalar = leaves[0].support, values.ndim == 3
    if scalar and not any(len(leaf.path) > 1 for leaf in leaves) and support.name in ("real", "positive", "interval"):
        new = ", ".join(f'"{b.name}": {_above(a, b)}' for a, b in itertools.pairwise(leaves))
        yield Order(leaves[0].name, values, f"mcmc.sample(target.with_parameters({{{new}}}))")
        return
    for at in _slices(values.shape[3:]):
        index = f"[{', '.join(map(str, at))}]" if at else ""
        written = [_read(leaf) + index for leaf in leaves]
        rules = [f"{a} < {b}" for a, b in itertools.pairwise(written)]
        yield Order(leaves[0].name + index, values[:, :, :, *at], _restricted(rules))


def _of_axis(part: Part, found: Exchange, values: np.ndarray) -> Iterator[Order]:
    leaf, axis = part.leaves[0], part.axes[0]
    values = np.moveaxis(values, 2 + axis, 2)
    support, k = leaf.support, found.components
    whole = len(found.elements) == k and len(part.axes) == 1
    if whole and values.ndim == 3 and len(leaf.path) == 1 and support.name in ORDERED:
        new = f'{{"{leaf.name}": {ORDERED[support.name].format(k)}}}'
        yield Order(leaf.name, values, f"mcmc.sample(target.with_parameters({new}))")
        return
    elements = [str(i) for i in found.elements]
    steps = [("1:", ":-1")] if whole and len(elements) > 2 else list(zip(elements[1:], elements, strict=False))
    chosen = values[:, :, list(found.elements)]
    for at in _slices(values.shape[3:]):
        rest = [str(i) for i in at]

        def read(index: str, rest: list[str] = rest) -> str:
            return f"{_read(leaf)}[{', '.join([*rest[:axis], index, *rest[axis:]])}]"

        rules = [f"{read(above)} > {read(below)}" for above, below in steps]
        name = read(":").replace(_read(leaf), leaf.name) if rest else leaf.name
        yield Order(name, chosen[:, :, :, *at], _restricted(rules, ".all()" if whole and len(elements) > 2 else ""))


def _slices(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(np.ndindex(*shape))[:MOST_SLICES]


def _read(leaf: Leaf) -> str:
    return "p" + "".join(f'["{key}"]' for key in leaf.path)


def _above(lower: Leaf, leaf: Leaf) -> str:
    bound = f"lambda p: {_read(lower)}"
    if leaf.support.name == "interval":
        return f"mcmc.interval({bound}, {float(np.max(leaf.support.b))!r})"
    return f"mcmc.lower({bound})"


def _restricted(rules: list[str], over_all: str = "") -> str:
    """The call for a target where these comparisons hold."""
    rule = " & ".join(f"({rule}){over_all}" for rule in rules) if len(rules) > 1 or over_all else rules[0]
    return f"mcmc.sample(target.restricted_to(lambda p: {rule}))"
