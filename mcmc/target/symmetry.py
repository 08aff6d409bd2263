"""Exchangeable components of a target: permuting its parameters leaves the log density as it is."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.engine.compilation import compile_program
from mcmc.target.space import Leaf, get
from mcmc.target.target import Target

MOST_COMPONENTS, MOST_TESTS = 20, 400
ALL_PAIRS_UP_TO = 5
NAMES = [
    re.compile(pattern)
    for pattern in (r"(?P<stem>.*)_[^_]+", r"(?P<stem>.*?)(\d+|[A-Z])", r"(?P<stem>)[a-z]", r"[^_]+_(?P<stem>.*)")
]
"""How names of a family may differ: mu_1 and mu_2, mu1 and mu2, a and b, low_mu and high_mu."""
ASYMMETRIC = ("ordered", "positive_ordered", "unit_vector", "cholesky_factor_corr", "corr_matrix", "cov_matrix")


class Change(NamedTuple):
    """A permutation of the constrained values x (n,): offset + sign · x[index], then `low` and `high` exchanged."""

    index: np.ndarray
    sign: np.ndarray
    offset: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Part:
    """What takes part in a permutation of components: a parameter along axes, or parameters that are one a component.

    `leaves` are several of the second kind; `how` is `axes`, `reflect` (of two components) or `values` (of labels).
    """

    leaves: tuple[Leaf, ...]
    how: str = "axes"
    axes: tuple[int, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of its parameters."""
        return tuple(leaf.name for leaf in self.leaves)


@dataclass(frozen=True)
class Exchange:
    """Parts of a target whose components `elements`, of so many, can be permuted together."""

    parts: tuple[Part, ...]
    components: int
    elements: tuple[int, ...]
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(name for part in self.parts for name in part.names))


Kept = Callable[[Callable[[], Any]], Any]


def exchangeable(
    target: Target,
    positions: np.ndarray,
    log_density: Callable[[np.ndarray], np.ndarray],
    concerned: set[str],
    kept: Kept = lambda made: made(),
) -> Exchange | None:
    """The smallest set of parameters, one of `concerned` among them, whose components can be permuted; None: none.

    Tested at all positions (chain, dim) with the log density there (chain,), Jacobian included, which is taken off.
    `kept` returns the program that changes positions, and makes it where there is none yet.
    """
    test, tests = _tester(target, positions, log_density, kept), 0
    for components, units in sorted(_parts(target).items()):
        for parts in _combinations(units):
            if not concerned & {name for part in parts for name in part.names}:
                continue
            if all(part.how != "axes" for part in parts):
                continue
            pairs = list(itertools.combinations(range(components), 2))
            if components > ALL_PAIRS_UP_TO:
                pairs = [(i, i + 1) for i in range(components - 1)]
            tests += len(pairs)
            if tests > MOST_TESTS:
                return None
            held = [pair for pair in pairs if test(_change(target, parts, *pair))]
            if held:
                return Exchange(parts, components, _joined(held))
    return None


def _joined(pairs: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The largest set of components that these pairs connect."""
    sets: list[set[int]] = []
    for pair in pairs:
        touching = [s for s in sets if s & set(pair)]
        sets = [s for s in sets if s not in touching] + [set(pair).union(*touching)]
    return tuple(sorted(max(sets, key=len)))


def _parts(target: Target) -> dict[int, list[list[Part]]]:
    """By number of components, what may take part: for each parameter, or family of them, the ways it may."""
    found: dict[int, list[list[Part]]] = {}

    def add(k: int, ways: list[Part]) -> None:
        if 2 <= k <= MOST_COMPONENTS and ways:
            found.setdefault(k, []).append(ways)

    for leaf in target.leaves:
        if leaf.support.name in ASYMMETRIC and len(leaf.support.shape) == leaf.support.event:
            continue
        batch = len(leaf.support.shape) - leaf.support.event
        free = batch + 1 if leaf.support.name == "simplex" else batch
        shape = leaf.support.shape[:free]
        for k in set(shape) | _values(leaf):
            along = [a for a in range(free) if shape[a] == k]
            ways = [Part((leaf,), axes=(a,)) for a in along]
            ways += [Part((leaf,), axes=tuple(along))] if len(along) > 1 else []
            ways += [Part((leaf,), "reflect" if k == 2 else "values")] if k in _values(leaf) else []
            add(k, ways)
    for family in _families(target):
        add(len(family), [Part(family)])
    return found


def _values(leaf: Leaf) -> set[int]:
    """How many components a parameter's own values may name: labels, or a share of one of two."""
    if leaf.support.name == "boolean":
        return {2}
    if leaf.support.name not in ("interval", "integer") or leaf.depends:
        return set()
    low, high = np.unique(leaf.support.a), np.unique(leaf.support.b)
    if low.size > 1 or high.size > 1 or not np.isfinite([low[0], high[0]]).all():
        return set()
    return {2} if leaf.support.name == "interval" else {int(high[0] - low[0] + 1)}


def _families(target: Target) -> list[tuple[Leaf, ...]]:
    """Parameters of one support whose names differ in one part, such as a number at the end."""
    found: dict[tuple, list[Leaf]] = {}
    for leaf in target.leaves:
        for i, pattern in enumerate(NAMES):
            if (match := pattern.fullmatch(leaf.name)) and not leaf.depends:
                found.setdefault((i, match["stem"], repr(leaf.support)), []).append(leaf)
    return list(dict.fromkeys(tuple(leaves) for leaves in found.values() if len(leaves) > 1))


def _combinations(units: list[list[Part]]) -> Iterator[tuple[Part, ...]]:
    """Ways to choose some of the units, the fewest first, and a way for each."""
    for size in range(1, len(units) + 1):
        for chosen in itertools.combinations(units, size):
            for parts in itertools.product(*chosen):
                names = [name for part in parts for name in part.names]
                if len(set(names)) == len(names):
                    yield parts


def _places(target: Target) -> dict[str, np.ndarray]:
    """Where each parameter's values are in the flat vector of all, in its shape."""
    places, start = {}, 0
    for leaf in target.leaves:
        places[leaf.name] = start + np.arange(math.prod(leaf.support.shape)).reshape(leaf.support.shape)
        start += math.prod(leaf.support.shape)
    return places


def _change(target: Target, parts: Sequence[Part], i: int, j: int) -> Change:
    """The exchange of components i and j."""
    places = _places(target)
    n = sum(at.size for at in places.values())
    change = Change(np.arange(n), np.ones(n), np.zeros(n), np.full(n, np.nan), np.full(n, np.nan))
    for part in parts:
        at = places[part.leaves[0].name]
        support = part.leaves[0].support
        if len(part.leaves) > 1:
            one, other = places[part.leaves[i].name], places[part.leaves[j].name]
            change.index[one], change.index[other] = other, one
        elif part.how == "axes":
            new = at
            for axis in part.axes:
                order = np.arange(at.shape[axis])
                order[[i, j]] = order[[j, i]]
                new = np.take(new, order, axis)
            change.index[at] = new
        elif part.how == "reflect":
            low, high = (0.0, 1.0) if support.name == "boolean" else (np.min(support.a), np.min(support.b))
            change.sign[at], change.offset[at] = -1.0, low + high
        else:
            change.low[at], change.high[at] = np.min(support.a) + i, np.min(support.a) + j
    return change


def _tester(
    target: Target, positions: np.ndarray, log_density: Callable[[np.ndarray], np.ndarray], kept: Kept
) -> Callable[[Change], bool]:
    """What tells whether a change leaves the log density at all these positions, and is a change at most of them."""
    dtype = positions.dtype

    def moved(y: jax.Array, change: Change) -> tuple[jax.Array, ...]:
        p, before = target.constrain(y)
        flat = jnp.concatenate([jnp.reshape(get(p, leaf.path), -1).astype(dtype) for leaf in target.leaves])
        x = change.offset + change.sign * flat[change.index]
        x = jnp.where(x == change.low, change.high, jnp.where(x == change.high, change.low, x))
        ends = np.cumsum([math.prod(leaf.support.shape) for leaf in target.leaves])[:-1]
        values = [v.reshape(leaf.support.shape) for v, leaf in zip(jnp.split(x, ends), target.leaves, strict=True)]
        q = target.nest(values)
        z = target.unconstrain(q, dtype)
        return z, before, target.constrain(z)[1], target.inside(q), jnp.any(x != flat)

    def cast(change: Change) -> Change:
        return Change(change.index, *(a.astype(dtype) for a in change[1:]))

    example = cast(_change(target, (), 0, 1))
    program = kept(lambda: compile_program(jax.vmap(moved, (0, None)), positions, example)[0])
    here = np.asarray(log_density(positions), float)
    tolerance = (1e-7 if dtype == np.float64 else 1e-3) * np.maximum(1.0, np.abs(here))

    def test(change: Change) -> bool:
        z, before, after, inside, differs = (np.asarray(a) for a in program(positions, cast(change)))
        if not inside.all() or differs.mean() < 0.5:
            return False
        there = np.asarray(log_density(z.astype(dtype)), float)
        with np.errstate(invalid="ignore"):
            return bool((np.abs((there - after) - (here - before)) <= tolerance).all())

    return test
