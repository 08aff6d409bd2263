"""Evidence: every number that the table and the checks need, from one pass over the draws in bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from threading import Lock
from typing import Any, overload

import numpy as np

from mcmc.diagnostics import circular
from mcmc.diagnostics.arrays import Work, each_block
from mcmc.diagnostics.columns import Plan, column_numbers
from mcmc.diagnostics.inputs import Variable, groups_of, posterior_variables
from mcmc.diagnostics.roles import derived_names, recorded
from mcmc.diagnostics.variances import superchain_groups

QUICK_ABOVE = 4_000_000
"""Draws times parameters above which `quick=None` means a quick diagnosis."""

JOINED_BYTES = 1 << 22
"""Single columns are copied into pieces of up to this size."""

TOGETHER_BYTES = 1 << 25
"""Variables up to this size in all go through the threads together."""


class Labels(Sequence[str]):
    """Names of all scalar parameters, made when asked for: a run may have a million."""

    def __init__(self, variables: Sequence[Variable]):
        self._parts = [(v.name, v.event, v.axes()) for v in variables]
        self._ends = np.cumsum([prod(event) for _, event, _ in self._parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part = int(np.searchsorted(self._ends, index, side="right"))
        if not 0 <= index < len(self):
            raise IndexError(index)
        name, event, axes = self._parts[part]
        if not event:
            return name
        within = np.unravel_index(int(index) - int(self._ends[part]) + prod(event), event)
        return f"{name}[{', '.join(str(axis[i]) for axis, i in zip(axes, within, strict=True))}]"


@dataclass
class Evidence:
    """What was found in the draws. Arrays are `(column,)` over all scalar parameters, or `(chain,)`."""

    groups: dict[str, Any]
    plan: Plan
    labels: Labels
    chain_names: list[Any]
    superchains_missing: str
    """Why nested R-hat can't be made; empty where it can."""
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    discrete: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    bounded: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    smallest: np.ndarray = field(default_factory=lambda: np.zeros(0))
    largest: np.ndarray = field(default_factory=lambda: np.zeros(0))
    non_finite: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    structural: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    derived: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """Columns that follow from the parameters: reported, not judged."""
    partial: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """Constant elements beside others that vary, where nobody recorded which are parameters."""
    whole: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """Scalar variables that may be sizes, if whole: nobody recorded which are parameters."""
    variables: Sequence[Variable] = ()
    bad_chains: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    moved: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), bool))
    """`(chain, draw - 1)`: whether any parameter changed from one draw to the next."""
    fingerprint: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    stuck: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    """`(column,)`: how many chains never change a discrete parameter that changes in others."""
    stuck_chains: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    lock: Any = field(default_factory=Lock, repr=False)

    def values(self, index: int) -> np.ndarray:
        """Read the draws of one column once more: `(chain, draw)`."""
        ends = np.cumsum([v.size for v in self.variables])
        part = int(np.searchsorted(ends, index, side="right"))
        variable = self.variables[part]
        within = np.unravel_index(index - int(ends[part]) + variable.size, variable.event)
        return np.asarray(variable.array[(slice(None), slice(None), *map(int, within))].values, dtype=float)

    def scaled(self, index: int) -> np.ndarray:
        """The same by its largest value, so that powers of it are finite."""
        x = self.values(index)
        return x / (np.abs(x).max() or 1.0)

    @property
    def constant(self) -> np.ndarray:
        """Columns that are finite and have one value in all draws of all chains."""
        return (self.non_finite == 0) & (self.smallest == self.largest)

    @property
    def judged(self) -> np.ndarray:
        """Parameters to which R-hat and ESS apply: finite, varying, not fixed by the variable's structure."""
        return self.comparable & ~self.derived

    @property
    def comparable(self) -> np.ndarray:
        """The same with derived values."""
        return (self.non_finite == 0) & ~self.constant & ~self.structural


def gather(draws: Any, quick: bool | None) -> Evidence:
    """Read all posterior draws once and return the evidence; see `groups_of` for what is refused."""
    groups = groups_of(draws)
    variables, chains, n = posterior_variables(groups["posterior"])
    columns = sum(v.size for v in variables)
    if quick is None:
        quick = columns * chains * n > QUICK_ABOVE
    evidence = begun(groups, variables, chains, n, quick)
    all_discrete = bool(evidence.discrete.all())
    together, tasks = 0, []
    for start, leave_moves, values in _joined(_pieces(variables, all_discrete)):
        tasks.append((_reader(n, start, leave_moves, evidence), values))
        together += values.nbytes
        if together > TOGETHER_BYTES:
            each_block(*tasks)
            together, tasks = 0, []
    if tasks:
        each_block(*tasks)
    return settled(evidence)


def begun(groups: dict[str, Any], variables: Sequence[Variable], chains: int, n: int, quick: bool) -> Evidence:
    """Evidence of so many draws, before any of them was read."""
    columns = sum(v.size for v in variables)
    superchains, missing = _superchains(groups, chains)
    follow = derived_names(groups, [v.name for v in variables])
    coordinate = groups["posterior"].coords.get("chain")
    return Evidence(
        groups=groups,
        plan=Plan(chains, n, superchains, quick),
        labels=Labels(variables),
        chain_names=np.arange(chains).tolist() if coordinate is None else coordinate.values.tolist(),
        superchains_missing=missing,
        discrete=np.repeat([v.discrete for v in variables], [v.size for v in variables]),
        bounded=np.repeat([v.bounded for v in variables], [v.size for v in variables]),
        smallest=np.zeros(columns),
        largest=np.zeros(columns),
        non_finite=np.zeros(columns, int),
        structural=np.zeros(columns, bool),
        derived=np.repeat([v.name in follow for v in variables], [v.size for v in variables]),
        partial=np.zeros(columns, bool),
        whole=np.zeros(columns, bool),
        variables=variables,
        bad_chains=np.zeros(chains, bool),
        moved=np.zeros((chains, max(n - 1, 0)), bool),
        fingerprint=np.zeros(chains, np.uint64),
        stuck=np.zeros(columns, int),
        stuck_chains=np.zeros(chains, bool),
    )


def settled(evidence: Evidence) -> Evidence:
    """The same when all draws have been read: which columns are fixed by design, and angles as angles."""
    start = 0
    for variable in evidence.variables:
        inside = slice(start, start + variable.size)
        evidence.structural[inside] = _structural(variable.event, evidence, inside)
        if variable.circular:
            _as_angles(variable, start, evidence.numbers)
        if not recorded(evidence.groups):
            evidence.partial[inside] = _partial(evidence, inside)
            evidence.whole[inside] = not variable.event and abs(evidence.smallest[start]) > 1
        start += variable.size
    return evidence


def _as_angles(variable: Variable, start: int, numbers: dict[str, np.ndarray]) -> None:
    """Mean, sd and quantiles of angles: the mean direction, √(−2 log R), and quantiles in [−π, π)."""
    for part, values in variable.read():
        inside = slice(start + part.start, start + part.stop)
        known = np.isfinite(numbers["mean"][inside])
        numbers["mean"][inside] = np.where(known, circular.mean_direction(values), np.nan)
        numbers["sd"][inside] = np.where(known, circular.circular_sd(values), np.nan)
        for name in {"eti90_lb", "eti90_ub"} & numbers.keys():
            numbers[name][inside] = circular.wrapped(numbers[name][inside])


type Piece = tuple[int, bool, np.ndarray]
"""The first column of all, whether its moves do not count, and draws `(chain, draw, ...)`."""


def _pieces(variables: Sequence[Variable], all_discrete: bool) -> Iterator[Piece]:
    """The draws of all variables in order, in pieces that fit into memory."""
    start = 0
    for variable in variables:
        for part, values in variable.pieces():
            yield start + part.start, variable.discrete and not all_discrete, values
        start += variable.size


def _joined(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """The same with single columns that follow each other as one piece: a block has many then, not one."""
    held: list[Piece] = []
    for piece in pieces:
        one = piece[2].shape[2:] == () or piece[2].shape[2:] == (1,)
        alike = held and held[0][1] == piece[1] and held[0][2].dtype == piece[2].dtype
        if held and not (one and alike and len(held) * piece[2].nbytes < JOINED_BYTES):
            yield _one_of(held)
            held = []
        if one:
            held.append(piece)
        else:
            yield piece
    if held:
        yield _one_of(held)


def _one_of(held: list[Piece]) -> Piece:
    if len(held) == 1:
        return held[0]
    columns = [values.reshape(*values.shape[:2], 1) for _, _, values in held]
    return held[0][0], held[0][1], np.concatenate(columns, axis=2)


def _reader(draws: int, start: int, leave_moves: bool, evidence: Evidence) -> Work:
    """What `each_block` does with an in-memory piece `(chain, draw, k)` whose first column is column `start` of all."""
    lock, numbers, columns = evidence.lock, evidence.numbers, len(evidence.discrete)
    by_draw = weights(0, draws)

    def work(part: slice, block: np.ndarray) -> None:
        inside = slice(start + part.start, start + part.stop)
        if not leave_moves:
            moved = (block[:, :, 1:] != block[:, :, :-1]).any(axis=0)
            hashed = (block.view(np.uint64) * by_draw).sum(axis=-1)
            hashed = (hashed * weights(inside.start, inside.stop)[:, None]).sum(axis=0)
            with lock:
                evidence.moved |= moved
                evidence.fingerprint += hashed
        if evidence.discrete[inside].any():
            still = stuck_of(block, int(evidence.discrete.sum())) & evidence.discrete[inside, None]
            evidence.stuck[inside] = still.sum(axis=1)
            with lock:
                evidence.stuck_chains |= still.any(axis=0)
        low, high = block.min(axis=(1, 2)), block.max(axis=(1, 2))
        bad = np.flatnonzero(~(np.isfinite(low) & np.isfinite(high)))
        evidence.smallest[inside], evidence.largest[inside] = low, high
        if bad.size:
            where = ~np.isfinite(block[bad])
            evidence.non_finite[start + part.start + bad] = where.sum(axis=(1, 2))
            with lock:
                evidence.bad_chains |= where.any(axis=(0, 2))
            block[bad] = 0.0
        for name, value in column_numbers(block, evidence.plan).items():
            with lock:
                if name not in numbers:
                    numbers[name] = np.full(columns, np.nan)
            value = np.array(value, dtype=float)
            value[bad] = np.nan
            numbers[name][inside] = value

    return work


def stuck_of(block: np.ndarray, columns: int) -> np.ndarray:
    """Which chains of `(column, chain, draw)` keep one value although others hold or reach another.

    Not those that rare changes explain: at the rate of all chains together, one of them stands still throughout.
    """
    low, high = block.min(axis=2), block.max(axis=2)
    rate = (block[:, :, 1:] != block[:, :, :-1]).mean(axis=(1, 2)) if block.shape[2] > 1 else np.ones(len(block))
    by_chance = block.shape[1] * columns * (1 - rate) ** (block.shape[2] - 1)
    varies = (low.min(axis=1) < high.max(axis=1)) & ((by_chance < 1e-3) | (rate == 0))
    return (low == high) & varies[:, None]


def weights(start: int, stop: int) -> np.ndarray:
    """Fixed odd numbers by position, for fingerprints that add up alike in any order (modulo 2^64)."""
    k = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    k = (k ^ (k >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return (k ^ (k >> np.uint64(29))) | np.uint64(1)


def _structural(event: tuple[int, ...], evidence: Evidence, inside: slice) -> np.ndarray:
    """Elements of square matrices that are always 0 or always 1 (to rounding), as in a correlation's factor.

    A matrix of which nothing varies is not excused, except one of size 1 x 1.
    """
    fixed = np.zeros(inside.stop - inside.start, bool)
    if len(event) < 2 or event[-1] != event[-2]:
        return fixed
    low, high = evidence.smallest[inside], evidence.largest[inside]
    fixed = ((low == 0) & (high == 0)) | ((np.abs(low - 1) <= 1e-6) & (np.abs(high - 1) <= 1e-6))
    return fixed if event[-1] == 1 or not fixed.all() else np.zeros_like(fixed)


def _partial(evidence: Evidence, inside: slice) -> np.ndarray:
    """Constant elements beside others that vary: 0 or 1 by design, or several, as observed data beside imputed."""
    fixed, value = evidence.constant[inside], evidence.smallest[inside]
    return fixed & (not fixed.all()) & ((value == 0) | (value == 1) | (fixed.sum() > 1))


def _superchains(groups: dict[str, Any], chains: int) -> tuple[np.ndarray | None, str]:
    """Return the recorded superchains as `(superchain, member)`, or None and why there are none."""
    state = groups.get("run_state")
    if state is None or "superchain" not in state:
        return None, "no superchains are recorded, and independent starts grouped afterwards see nothing"
    labels = np.asarray(state["superchain"].values).ravel()
    if labels.shape != (chains,):
        return None, f"run_state records the superchains of {labels.size} chains, but there are {chains}"
    if len(np.unique(labels)) == chains:
        return None, "no two chains shared a start, and superchains of one chain each would be R-hat itself"
    _, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) < 2 or sizes.min() < 2:
        return None, f"the run records {len(sizes)} superchains of {sizes.min()} chains or more; it takes 2 of 2"
    rank = np.empty(chains, int)  # of a chain within its superchain: the same number of each is used
    order = np.argsort(index, kind="stable")
    rank[order] = np.arange(chains) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.flatnonzero(rank < sizes.min())
    return kept[superchain_groups(labels[kept], len(kept))], ""
