"""Data sets of a calibration: simulated from the prior, sampled together or one by one, and ranked."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mcmc.each.batch import Drawn
from mcmc.each.batches import each_batch
from mcmc.each.together import Together, chosen, together
from mcmc.each.verdict import judged
from mcmc.engine.processes import Processes
from mcmc.errors import ConvergenceWarning, WrongType, WrongValue
from mcmc.random.keys import run_words
from mcmc.target.target import Target

SHAPES = "the data sets have different shapes"


@dataclass(frozen=True)
class DataSets:
    """True values and what was simulated from them, for each of so many data sets."""

    true: dict[str, np.ndarray]
    """By name (set, ...)."""
    structure: Any
    """Of the data, as a tree."""
    data: list
    """Leaves of the data (set, ...); where shapes differ, a list of leaves for each data set."""
    stacked: bool
    """Which of the two `data` is."""
    alone: str
    """Why data sets were not simulated together, or nothing."""
    keys: np.ndarray
    """Of the runs (set, word)."""
    tie_keys: np.ndarray
    """Seeds that break ties between ranks (set, word)."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the scalar parameters."""
        each = [(name, k) for name, value in self.true.items() for k in np.ndindex(value.shape[1:])]
        return tuple(f"{name}[{', '.join(map(str, k))}]" if k else name for name, k in each)

    def given(self, target: Target, i: int) -> Target:
        """The target on data set `i`."""
        leaves = [x[i] for x in self.data] if self.stacked else self.data[i]
        return target.with_data(jax.tree.unflatten(self.structure, leaves))

    def ranks(self, i: int, draws: dict[str, np.ndarray]) -> np.ndarray:
        """Ranks of the true values of data set `i` among draws (draw, ...) by name; ties in random order."""
        rng, ranks = np.random.default_rng(self.tie_keys[i]), []
        for name, values in self.true.items():
            true, drawn = values[i].reshape(-1), draws[name].reshape(len(draws[name]), -1)
            ties = rng.binomial((drawn == true).sum(axis=0), rng.random(true.size))  # for discrete parameters
            ranks.append((drawn < true).sum(axis=0) + ties)
        return np.concatenate(ranks)


def data_sets(prior: Callable, simulate: Callable, target: Any, seed: int, simulations: int) -> DataSets:
    """True values and data, by one program where `prior` and `simulate` can be compiled, else one by one."""
    if not isinstance(target, Target) or target.data is None:
        raise WrongValue("target", target, "a Target with data=", "Write log_density(p, data) and pass data=.")
    root = jax.random.key(seed)
    split = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(root, i), 4))(np.arange(simulations))

    def one(keys: jax.Array) -> tuple:
        true = prior(keys[0])
        return true, simulate(keys[1], true)

    true, data, alone = _vectorised(one, split)
    structure, stacked = jax.tree.structure(data), True
    if alone:
        true, data, structure, stacked = _one_by_one(prior, simulate, split)
    if structure.num_leaves == 0:
        raise WrongValue("simulate", data, "data in the form of the target's", "Return the data.")
    leaves = jax.tree.leaves(data) if stacked else data
    words = np.asarray(jax.random.key_data(split))
    return DataSets(_named(true), structure, leaves, stacked, alone, words[:, 2], words[:, 3])


def _vectorised(one: Callable, split: jax.Array) -> tuple[Any, Any, str]:
    """What `one` makes of each row of keys, NumPy arrays (set, ...); or why they can't be made by one program."""
    try:
        traced = [jax.make_jaxpr(lambda keys: one(keys))(split[0]) for _ in range(2)]
        if str(traced[0]) != str(traced[1]) or not all(map(np.array_equal, traced[0].consts, traced[1].consts)):
            return None, None, "prior or simulate use random numbers other than those of the key"
        return *jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(split)), ""
    except Exception as error:  # what is wrong with the functions themselves, they say when they are called one by one
        return None, None, f"prior or simulate can't be compiled ({_first_line(error)})"


def _one_by_one(prior: Callable, simulate: Callable, split: jax.Array) -> tuple[Any, Any, Any, bool]:
    """True values (set, ...); data likewise, or a list of leaves a data set; the data's structure; which it is."""
    true = [jax.tree.map(np.asarray, prior(split[i, 0])) for i in range(len(split))]
    data = [jax.tree.map(np.asarray, simulate(split[i, 1], p)) for i, p in enumerate(true)]
    leaves, structures = zip(*map(jax.tree.flatten, data), strict=True)
    if len(set(structures)) > 1:
        remedy = "Return the same names, and as many arrays, for every data set."
        raise WrongValue("simulate", list(dict.fromkeys(structures))[:2], "data of one form", remedy)
    shapes = [{name: x.shape for name, x in _named(p).items()} for p in true]
    if any(each != shapes[0] for each in shapes):
        odd = next(each for each in shapes if each != shapes[0])
        raise WrongValue("prior", [shapes[0], odd], "values of the same shapes each time", "Mend their shapes.")
    true = jax.tree.map(lambda *x: np.stack(x), *true)
    if len({tuple((x.shape, x.dtype) for x in each) for each in leaves}) > 1:
        return true, leaves, structures[0], False
    return true, [np.stack(each) for each in zip(*leaves, strict=True)], structures[0], True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:80]


def _named(tree: Any, before: str = "") -> dict[str, np.ndarray]:
    """The arrays of nested dictionaries by the names that draws have."""
    if not isinstance(tree, Mapping):
        remedy = 'Return {"mu": value, ...}, named as in the target.'
        raise WrongType("prior", type(tree).__name__, "a function that returns a dict", remedy)
    named: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        named |= _named(value, f"{before}{key}.") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return named


# --- runs and ranks ----------------------------------------------------------------------------------------


def ranked(sets: DataSets, target: Target, asked: dict, dtype: Any, say: Callable) -> Iterator[tuple[np.ndarray, int]]:
    """Ranks (set, parameter) of a few data sets at a time, and how many of their runs failed their diagnosis."""
    first = sets.given(target, 0)
    traced = first.trace(dtype)
    _check(sets, first, {column.name: column.shape for column in traced.columns})
    kernel, settings, why = chosen(first, traced, asked, dtype)
    total = len(sets.keys)
    say(f"{type(kernel).__name__}, {total} data sets" + (f", because {why}" if why else ""))
    if sets.alone:
        say(f"data sets are simulated one by one: {sets.alone}")
    apart = _why_apart(sets, target)
    if apart:
        say(f"runs are made one by one: {apart}")
        runs = _each_alone(sets, target, asked)
    else:
        runs = _side_by_side(sets, together(first, traced, kernel, settings, dtype))
    done, reported = 0, 0
    for ranks, failed in runs:
        done += len(ranks)
        if done == total or done - reported >= total / 10:
            say(f"{done} of {total} data sets")
            reported = done
        yield ranks, failed


def _check(sets: DataSets, target: Target, shapes: dict[str, tuple]) -> None:
    """Raise ValueError unless the prior's values are those of the target."""
    unknown = [name for name in sets.true if name not in shapes]
    missing = [name for name in target.names if name not in sets.true]
    if unknown or missing:
        found = f"{', '.join(unknown)} unknown" if unknown else f"{', '.join(missing)} missing"
        raise WrongValue("prior", found, f"parameters of the target, {list(target.names)}", "Name them alike.")
    for name, value in sets.true.items():
        if value.shape[1:] != shapes[name]:
            found = f"{name} of shape {value.shape[1:]}"
            raise WrongValue("prior", found, f"shape {shapes[name]}, as in the target", "Mend its shape.")
        if not np.isfinite(value.astype(float)).all():
            remedy = "A prior must give finite values: mend it."
            raise WrongValue("prior", f"{name} that is NaN or infinite", "finite values", remedy)


def _why_apart(sets: DataSets, target: Target) -> str:
    """Why the runs can't be made together, or nothing."""
    if not sets.stacked:
        return SHAPES
    if target.host:
        return "the log density is a black box"
    return "there are several processes" if Processes.here().count > 1 else ""


def _each_alone(sets: DataSets, target: Target, asked: dict) -> Iterator[tuple[np.ndarray, int]]:
    """By `mcmc.sample`, one data set after the other."""
    from mcmc.sampling.main import sample

    for i, key in enumerate(sets.keys):
        with warnings.catch_warnings(record=True) as noticed:
            warnings.simplefilter("always", ConvergenceWarning)
            tree = sample(sets.given(target, i), seed=key, progress=False, **asked)
        posterior = tree["posterior"].to_dataset()
        last = {name: posterior[name].values[:, -1] for name in sets.true}
        failed = any(issubclass(n.category, ConvergenceWarning) for n in noticed)
        yield sets.ranks(i, last)[None], int(failed)


def _side_by_side(sets: DataSets, shared: Together) -> Iterator[tuple[np.ndarray, int]]:
    """Many in one program; on a CPU a batch for each core."""
    kinds = [np.asarray(x).dtype for x in shared.traced.arrays[: shared.leaves]]
    data = [x.astype(kind) for x, kind in zip(sets.data, kinds, strict=True)]

    def use(which: np.ndarray, drawn: Drawn) -> tuple[np.ndarray, int]:
        drawn.raise_failure()
        named, verdicts = judged(shared, drawn, len(which))
        last = {name: values[:, :, -1] for name, values in named.items()}
        ranks = [sets.ranks(i, {name: x[row] for name, x in last.items()}) for row, i in enumerate(which)]
        return np.stack(ranks), sum(not verdict.ok for verdict in verdicts)

    return each_batch(shared, data, np.stack([run_words(key) for key in sets.keys]), use)
