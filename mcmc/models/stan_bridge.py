"""Stan programs as targets: Stan's own log density, gradient and constrained values, called on the host."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.errors import WrongType, WrongValue
from mcmc.models.stan_protocols import StanProgram, program_of
from mcmc.target.black_box import Host
from mcmc.target.host_call import call_host
from mcmc.target.space import Leaf
from mcmc.target.support import real
from mcmc.target.target import Target

logger = logging.getLogger("mcmc")
ATTEMPTS, REACH = 100, 2.0  # positions where Stan looks for a start, and how far from zero


def target_of(model: Any, data: Any) -> StanTarget:
    """The Target of a compiled Stan program; see `mcmc.from_stan`."""
    program = program_of(model, data)
    if not program.dim:
        raise WrongValue("model", "a program without parameters", "one with parameters", "Declare some.")
    if not program.random:
        logger.warning("generated quantities are left out: PyStan gives all draws the same random numbers")
    return StanTarget(program)


class StanTarget(Target):
    """A Target in Stan's unconstrained parametrisation, which records what Stan's `write_array` gives, by name."""

    def __init__(self, program: StanProgram):
        self.program, self.shapes = program, shapes_of(program.names)
        self.columns = _columns(program.names, self.shapes)
        sizes = _unconstrained_sizes(program, self.columns, _start(program))
        super().__init__(lambda p: 0.0, {name: real(size) for name, size in sizes.items()})
        self.host: Host = Host(self._densities, self.leaves, None, vectorized=True, gradient=True)
        self.log_density = self.host.log_density

    def recorded(self, position: jax.Array, data: Any) -> dict[str, jax.Array]:
        """Parameters, transformed parameters and generated quantities."""
        made = jax.ShapeDtypeStruct((len(self.program.names),), jnp.result_type(float))
        (flat,) = call_host(lambda y: (self._all(y),), [made], position)
        return {name: flat[at].astype(position.dtype) for name, at in self.columns.items()}

    def values_at(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """The parameters at positions (chain, dim), by name (chain, ...)."""
        flat = self._all(positions)
        return {leaf.name: flat[:, self.columns[leaf.name]] for leaf in self.leaves}

    def describe(self, position: np.ndarray) -> dict[str, Any]:
        """The parameters at a position, for messages."""
        return {name: x[0] for name, x in self.values_at(np.asarray(position)[None]).items()}

    def starts(self, init: Mapping) -> Iterator[tuple[Leaf, np.ndarray]]:
        """The unconstrained values of a start that names every parameter, as Stan's `init` does."""
        given = {leaf.name: value for leaf, value in super().starts(init)}
        missing = [name for name in self.names if name not in given]
        if missing:
            remedy = "Stan unconstrains all parameters together: give each, or leave init out."
            raise WrongValue("init", ", ".join(given), f"starts of {', '.join(missing)} too", remedy)
        many = {len(x) for name, x in given.items() if x.ndim > len(self.shapes[name])}
        rows = [{name: self._one(name, x, c) for name, x in given.items()} for c in range(max(many, default=1))]
        y = np.stack([self._unconstrained(row) for row in rows])
        for leaf in self.leaves:
            part = y[:, leaf.start : leaf.stop].reshape(len(y), *leaf.support.shape)
            yield leaf, part if many else part[0]

    def with_parameters(self, parameters: Any) -> Target:
        """Refused: supports are the Stan program's."""
        raise WrongType("parameters", parameters, "a target written in Python", "Change the Stan program.")

    def restricted_to(self, condition: Any) -> Target:
        """Refused: the density is the Stan program's."""
        raise WrongType("condition", condition, "a target written in Python", "Change the Stan program.")

    def _one(self, name: str, x: np.ndarray, chain: int) -> np.ndarray:
        x = x[chain] if x.ndim > len(self.shapes[name]) else x
        if x.shape != self.shapes[name]:
            expected = f"shape {self.shapes[name]}, with or without a leading chain axis"
            raise WrongValue(f"init[{name!r}]", f"shape {x.shape}", expected, "Match the Stan program.")
        return x

    def _unconstrained(self, values: dict[str, np.ndarray]) -> np.ndarray:
        flat = np.zeros(self.program.count)
        for name, x in values.items():
            flat[self.columns[name]] = x
        return self.program.unconstrained(flat, values)

    def _all(self, y: Any) -> np.ndarray:
        rows = np.asarray(y, float).reshape(-1, self.dim)
        try:
            with self.host.lock:  # Stan is called by one thread at a time
                made = self.program.written(rows)
        except BaseException as error:
            self.host.raised = self.host.raised or error
            raise
        return made.reshape(*np.shape(y)[:-1], -1)

    def _densities(self, p: dict) -> tuple[np.ndarray, np.ndarray]:
        """The log densities and gradients of all chains."""
        y = np.concatenate([x.reshape(len(x), -1).astype(float) for x in p.values()], axis=1)
        return self.program.log_densities(y)


# --- names and shapes -------------------------------------------------------------------------------------


def _split(name: str) -> tuple[str, tuple[int, ...]]:
    """`theta.2.1` as a name and indices from zero; parts of tuples are `pair.1`."""
    base, _, last = name.rpartition(":")
    stem, indices = re.fullmatch(r"(.*?)((?:\.\d+)*)", last).groups()  # pyright: ignore[reportOptionalMemberAccess]
    whole = f"{base}:{stem}" if base else stem
    return whole.replace(":", "."), tuple(int(i) - 1 for i in indices.split(".")[1:])


def shapes_of(names: list[str]) -> dict[str, tuple[int, ...]]:
    """The shape of each array from the names of its entries."""
    found: dict[str, list] = {}
    for base, index in map(_split, names):
        found.setdefault(base, []).append(index)
    return {base: tuple(max(i) + 1 for i in zip(*indices, strict=True)) for base, indices in found.items()}


def _columns(names: list[str], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """For each array, where its entries are among all."""
    columns = {name: np.zeros(shape, int) for name, shape in shapes.items()}
    for k, (base, index) in enumerate(map(_split, names)):
        columns[base][index] = k
    return columns


def _start(program: StanProgram) -> np.ndarray:
    """A position with a finite log density; ValueError with Stan's words where there is none within two of zero."""
    rng = np.random.default_rng(0)
    for _ in range(ATTEMPTS):
        y = rng.uniform(-REACH, REACH, program.dim)
        lps, gradients = program.log_densities(y[None])
        if np.isfinite(lps[0]) and np.isfinite(gradients).all():
            return y
    said = program.said or "a log density of -inf or NaN"
    expected = "a finite log density somewhere within 2 of zero, unconstrained"
    raise WrongValue("model", said, expected, "Check the program and its data.")


def _unconstrained_sizes(program: StanProgram, columns: Mapping, start: np.ndarray) -> dict[str, int]:
    """How many unconstrained coordinates each parameter has.

    A coordinate is that of the first parameter that moves with it: bounds depend on parameters before.
    """
    moved = start + np.concatenate([np.zeros((1, program.dim)), 0.5 * np.eye(program.dim)])
    here, *each = program.written(moved)[:, : program.count]
    declared = {name: at for name, at in columns.items() if at.max(initial=-1) < program.count}
    owner, sizes = next(iter(declared)), {}
    for there in each:
        owner = next((name for name, at in declared.items() if (here[at] != there[at]).any()), owner)
        sizes[owner] = sizes.get(owner, 0) + 1
    return sizes
