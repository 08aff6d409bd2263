"""Where chains start: finite log densities, spread out, from a user's values or from none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcmc.engine.compilation import compile_program
from mcmc.engine.program_cache import options
from mcmc.errors import InitializationError, WrongValue
from mcmc.target.culprit import culprit
from mcmc.target.data import as_arrays, not_finite
from mcmc.target.space import Leaf, get
from mcmc.target.target import Target
from mcmc.user_code import DOUBLE_WHERE
from mcmc.warmup.discrete_starts import Mender

SUPERCHAINS = 16
ATTEMPTS = 100
RADIUS, JITTER, WIDER = 2.0, 0.1, 2.0
FAR, FARTHEST, LAST = 60, 7.0, 6
"""Attempts made where none of the others found a start, with coordinates from 1 to 10^FARTHEST times as far out."""
FEW_SHOWN, FEW_NAMED = 4, 6
MOST_IN_CONFLICT = 8
MOST_DRAWN_NEAR, HALVINGS = 32, 6
ENDS = (None, 1.0 - 1e-9, 0.0, None, None, None)  # of a discrete support, tried in turn for all values at once


def superchains_of(chains: int, superchains: Any) -> np.ndarray | None:
    """The group that each chain shares its start with (chain,), or None where every chain has its own.

    None (the argument) makes 16 groups of more than 16 chains; chain c belongs to group c mod 16, so that a
    chain's start does not depend on how many run beside it.
    """
    if superchains is None:
        return np.arange(chains) % SUPERCHAINS if chains > SUPERCHAINS else None
    some = f"superchains={min(SUPERCHAINS, max(chains // 2, 2))}, " if chains > 1 else ""
    remedy = f"Use {some}an array with a group a chain, or 0 for independent starts."
    ids = np.asarray(superchains)
    if ids.ndim == 0 and np.issubdtype(ids.dtype, np.integer) and not isinstance(superchains, bool):
        if ids == 0:
            return None
        if 2 <= ids <= chains:
            return np.arange(chains) % int(ids)
    if ids.shape == (chains,) and np.issubdtype(ids.dtype, np.integer):
        return np.unique(ids, return_inverse=True)[1]
    raise WrongValue("superchains", superchains, f"2 to {chains} groups, or {chains} integers", remedy)


def find_starts(
    target: Target,
    init: Any,
    groups: np.ndarray,
    seed: np.ndarray,
    dtype: Any,
    evaluate: Callable[[np.ndarray], np.ndarray],
    exact: bool = False,
) -> np.ndarray:
    """Positions (chain, dim) whose log density is finite; `evaluate(positions) -> finite (chain,)`.

    A chain takes the start of its group. Without `init` positions are uniform in (−2, 2), tried up to 100 times there
    and in ever smaller boxes in turn, from the 50th time on between starts that others found, or in boxes up
    to 128 times as wide where nobody found any, and in the end with each coordinate at a distance of its own, up to
    10⁷ times as far; a user's start is taken as it is, or jittered where it has no chain
    axis.
    """
    chains = len(groups)
    centre, spread = _centre(target, init, chains, dtype, exact)
    free = [leaf for leaf in target.leaves if init is None or not given(leaf, init)]
    inside = _moved_inside(target, dtype) if init is None else None
    shared = groups if len(centre) == 1 and (spread.any() or free) else np.arange(chains)
    n = int(shared.max()) + 1
    at = np.zeros((n, target.dim))
    bad, mender = np.ones(n, bool), None
    near, far = at, FAR if init is None and not target.discrete else 0
    for attempt in range(ATTEMPTS + far):
        if attempt == ATTEMPTS:
            if not bad.all():
                attempt -= 1
                break
            near = at.copy()
        shrink = 1.0 if attempt % 2 else 0.93**attempt
        alone = ATTEMPTS <= attempt < ATTEMPTS + far - LAST  # else some may begin between those that others found
        if alone or (attempt >= ATTEMPTS and bad.all()):
            shrink = _far(seed, attempt, target.dim)
        elif init is None and attempt >= ATTEMPTS // 2 and bad.all():
            shrink = WIDER ** (attempt % 8)
        fresh = _candidates(free, seed, attempt, n, centre, spread * shrink)
        at[bad] = inside(fresh)[bad] if inside else fresh[bad]
        if init is None and attempt >= ATTEMPTS // 2 and not bad.all() and not alone:
            at[bad] = _between(at[~bad], int(bad.sum()), seed, attempt, target)
        bad = _bad(evaluate(at[shared].astype(dtype)), shared)
        if bad.any() and attempt % len(ENDS) == len(ENDS) - 1 and any(leaf.support.discrete for leaf in free):
            mender = mender or Mender(target, seed, n, dtype)
            at[bad] = mender(at.astype(dtype))[bad]
            bad = _bad(evaluate(at[shared].astype(dtype)), shared)
        if attempt >= ATTEMPTS and not bad.any():
            at = _drawn_near(at, near, lambda y: ~_bad(evaluate(y[shared].astype(dtype)), shared))
        positions = at[shared].astype(dtype)
        if not bad.any():
            return positions
        if not free and not spread.any():
            break
    if attempt > ATTEMPTS:  # what lies near says more
        positions = near[shared].astype(dtype)
    if mender:  # what is in the way of a start that is nearly one says more
        at[bad] = mender(at.astype(dtype))[bad]
        positions = at[shared].astype(dtype)
    failed = np.flatnonzero(bad[shared])
    chain, conflict = mender.conflicts(positions, failed) if mender else (int(failed[0]), [])
    raise InitializationError(
        _failure(target, positions[chain], chain, int(bad[shared].sum()), chains, init, attempt + 1, conflict),
        chain=chain,
        position=target.describe(positions[chain]),
    )


def _far(seed: np.ndarray, attempt: int, dim: int) -> np.ndarray:
    """How far out each coordinate is tried, (dim,): some near, some 10^7 times as far, farther with each attempt."""
    most = FARTHEST * (attempt - ATTEMPTS + 1) / FAR
    return 10.0 ** np.random.default_rng([*map(int, seed), attempt, 2]).uniform(0.0, most, dim)


def _drawn_near(at: np.ndarray, near: np.ndarray, finite: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Starts (n, dim) that were found far out with each coordinate as near as the others allow."""
    for k in range(min(at.shape[1], MOST_DRAWN_NEAR)):
        for share in (1.0, *[0.5] * HALVINGS):
            tried = at.copy()
            tried[:, k] += share * (near[:, k] - at[:, k])
            good = finite(tried)
            at[good] = tried[good]
            if share == 1.0 and good.all():
                break
    return at


def scattered(target: Target, n: int) -> np.ndarray:
    """Random positions (n, dim) in 64 bits, as starts are drawn; discrete parameters now and then at an end."""
    per, free, spread = -(-n // len(ENDS)), list(target.leaves), np.full(target.dim, RADIUS)
    inside = _moved_inside(target, np.float64)
    seed, centre = np.zeros(2, int), np.zeros((1, target.dim))
    at = np.concatenate([_candidates(free, seed, k, per, centre, spread) for k in range(len(ENDS))])[:n]
    return inside(at) if inside else at


def _bad(finite: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Which starts are of no use to a chain that shares them."""
    bad = np.zeros(int(shared.max()) + 1, bool)
    np.logical_or.at(bad, shared, ~finite)
    return bad


def given(leaf: Leaf, init: Mapping) -> bool:
    """Whether a user's start names a parameter."""
    return leaf.name in init or get(init, leaf.path, missing=None) is not None


def _centre(target: Target, init: Any, chains: int, dtype: Any, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where candidates lie, (1 or chain, dim), and how far they spread, (dim,)."""
    discrete = np.concatenate([np.full(leaf.support.size, leaf.support.discrete) for leaf in target.leaves])
    if init is None:
        return np.zeros((1, target.dim)), np.where(discrete, 0.0, RADIUS)
    values = dict(target.starts(init))
    leading = {value.shape[: value.ndim - len(leaf.support.shape)] for leaf, value in values.items()}
    for leaf, value in values.items():
        shape = leaf.support.shape
        if value.shape not in (shape, (chains, *shape)):
            expected = f"shape {shape}, or {(chains, *shape)} with a chain axis"
            remedy = "Give every chain its start, or one start for all."
            raise WrongValue(f"init[{leaf.name!r}]", f"shape {value.shape}", expected, remedy)
    if len(leading) > 1:
        remedy = "Give all parameters the chain axis, or none."
        raise WrongValue("init", sorted(map(str, leading)), "one form for all parameters", remedy)
    per_chain = leading == {(chains,)}
    left_out = np.zeros(target.dim, bool)
    for leaf in target.leaves:
        left_out[leaf.start : leaf.stop] = leaf not in values
        if leaf in values and len(values) < len(target.leaves) and leaf.depends:
            remedy = "Give a start for the parameters that its bounds come from, too."
            raise WrongValue("init", ", ".join(map(str, init)), f"all parameters beside {leaf.name!r}", remedy)
    n = chains if per_chain else 1
    values |= {leaf: np.asarray(v) for leaf, v in _middle(target).items() if leaf not in values}
    positions = unconstrained(target, {leaf: values[leaf] for leaf in target.leaves}, n, dtype)
    positions[:, left_out] = 0.0
    jitter = 0.0 if exact or per_chain else JITTER
    return positions, np.where(discrete, 0.0, np.where(left_out, RADIUS, jitter))


def _middle(target: Target) -> dict[Leaf, np.ndarray]:
    """Every parameter at position 0, which discrete ones have at their least value."""
    y = np.zeros((1, target.dim))
    for leaf in target.leaves:
        if leaf.support.discrete:
            y[:, leaf.start : leaf.stop] = _whole(leaf.support, np.zeros((1, leaf.stop - leaf.start)))
        elif type(leaf.support).__name__ in ("UnitVector", "Circular"):
            y[:, leaf.start : leaf.stop] = 0.5
    p = target.describe(y[0])
    return {leaf: p[leaf.name] for leaf in target.leaves}


def unconstrained(target: Target, values: Mapping, n: int, dtype: Any) -> np.ndarray:
    """Positions (n, dim) of values by leaf, each (n, ...) or one for all; a ValueError where one leaves its support."""
    stacked: dict = {}
    for leaf, value in values.items():
        inner = stacked
        for key in leaf.path[:-1]:
            inner = inner.setdefault(key, {})
        kind = dtype if not leaf.support.discrete else None
        inner[leaf.path[-1]] = np.broadcast_to(value, (n, *leaf.support.shape)).astype(kind or value.dtype)

    def one(p: dict) -> tuple[jax.Array, jax.Array]:
        held = [jnp.all(leaf.support.contains(get(p, leaf.path), p)) for leaf in target.leaves]
        return target.unconstrain(p, dtype), jnp.stack(held)

    shapes = tuple((a.shape, a.dtype.name) for a in jax.tree.leaves(stacked))
    key = ("unconstrain", np.dtype(dtype).name, shapes, options())
    program = target.programs.get(key, lambda: compile_program(jax.vmap(one), stacked)[0])
    positions, inside = (np.asarray(a) for a in program(stacked))
    if not inside.all():
        chain, which = np.argwhere(~inside)[0]
        leaf = target.leaves[which]
        value = get(stacked, leaf.path)[chain]
        remedy = f"Move the start of chain {chain} into the support."
        raise WrongValue(f"init[{leaf.name!r}]", value, f"a value inside {leaf.support!r}", remedy)
    return positions.astype(float)


def _candidates(
    free: list[Leaf], seed: np.ndarray, attempt: int, n: int, centre: np.ndarray, spread: np.ndarray
) -> np.ndarray:
    """Row s depends on the seed, the attempt and s alone: uniform within `spread` of the centre.

    Discrete parameters that are free are uniform on their support, and after the first attempt now and then all at
    one end of it: all present, all absent, so that what was observed is possible.
    """
    rng = np.random.default_rng([*map(int, seed), attempt])
    u = rng.uniform(-1.0, 1.0, (n, centre.shape[1]))
    at = centre[:n] + spread * u if len(centre) > 1 else centre + spread * u
    for leaf in free:
        if leaf.support.discrete:
            part = 0.5 * (u[:, leaf.start : leaf.stop] + 1.0)
            end = ENDS[attempt % len(ENDS)]
            at[:, leaf.start : leaf.stop] = _whole(leaf.support, part if end is None else np.full_like(part, end))
    return at


def _between(found: np.ndarray, n: int, seed: np.ndarray, attempt: int, target: Target) -> np.ndarray:
    """Positions (n, dim) on the lines between pairs of starts; whole numbers are those of the first."""
    rng = np.random.default_rng([*map(int, seed), attempt, 1])
    one, other = found[rng.integers(len(found), size=(2, n))]
    share = 0.0 if target.discrete else rng.uniform(size=(n, 1))
    return one + share * (other - one)


def _moved_inside(target: Target, dtype: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Move whole numbers inside bounds that are functions of other parameters; None where there are none."""
    bounds = [getattr(leaf.support, end, None) for leaf in target.leaves if leaf.support.discrete for end in "ab"]
    if not any(map(callable, bounds)):
        return None

    def one(y: jax.Array) -> jax.Array:
        return target.unconstrain(target.constrain(y)[0], dtype)

    def moved(positions: np.ndarray) -> np.ndarray:
        positions = positions.astype(dtype)
        return np.asarray(compile_program(jax.vmap(one), positions)[0](positions))

    return moved


def _whole(support: Any, u: np.ndarray) -> np.ndarray:
    """Whole numbers of a discrete support from uniforms in (0, 1)."""
    ends = [getattr(support, end, None) for end in ("a", "b")]
    low, high = (None if callable(e) or e is None else np.asarray(e, float).reshape(-1) for e in ends)
    if type(support).__name__ == "Boolean":
        low, high = np.zeros(1), np.ones(1)
    elif low is None:
        low = np.zeros(1) if high is None else high - 10.0
    high = low + 10.0 if high is None else high
    return np.floor(low + u * (high - low + 1.0))


def _failure(
    target: Target, position: np.ndarray, chain: int, count: int, chains: int, init: Any, attempts: int,
    conflict: list[str],
) -> str:  # fmt: skip
    values = [f"{name} = {short(v)}" for name, v in target.describe(position).items()]
    where = ", ".join(values[:FEW_NAMED]) + f" and {len(values) - FEW_NAMED} more" * (len(values) > FEW_NAMED)
    data = as_arrays(target.data, position.dtype)
    y = jnp.asarray(position)
    lp, part, term = target.value(y, data), "", ""
    if np.isfinite(lp) and not target.discrete and not target.host:
        gradient = np.asarray(jax.grad(target.value)(y, data))
        part = ", ".join(x.name for x in target.leaves if not np.isfinite(gradient[x.start : x.stop]).all())
        term = culprit(jax.grad(target.value), y, data)
    elif not target.host:
        term = culprit(target.value, y, data)
    what = f"a gradient in {part} that is not finite" if part else f"log density {float(lp)}"
    tried = f"in {attempts} attempts" if attempts > 1 else "at the given start"
    captured = () if target.host else jax.make_jaxpr(target.value)(y, data).consts
    remedy = _remedy(float(lp), part, conflict, not_finite(target.data, captured), init)
    said = f" ({term})" if term else ""
    return (
        f"init: got {what}{said} {tried}, for {count} of {chains} chains, in chain {chain} at {where}; expected a "
        f"finite log density and gradient. {remedy}"
    )


def _remedy(lp: float, part: str, conflict: list[str], bad: str, init: Any) -> str:
    if bad and ("NaN" in bad or not (part or conflict)):
        return f"The data are not finite: {bad}. Leave such values out, or mask them with jnp.where."
    if part:
        return DOUBLE_WHERE
    if conflict:
        shown = ", ".join(conflict[:MOST_IN_CONFLICT]) + ", ..." * (len(conflict) > MOST_IN_CONFLICT)
        return (
            f"In conflict: {shown}; what one term asks of them another forbids. Correct the data or the density there, "
            "or give a start with init={name: value}."
        )
    if lp == np.inf:
        return "A density must not be infinite: inf swallows a chain. Bound it, or keep away with a support."
    if init is not None:
        return "Choose another start."
    remedy = "Give finite starts with init={name: value}."
    if lp == -np.inf:
        remedy += (
            " Starts were tried far out too: the density is 0 everywhere, or but in a small part; where a parameter"
            " ends, declare the support (mcmc.lower(a), mcmc.interval(a, b)), which starts then keep to."
        )
    return remedy


def short(value: np.ndarray) -> str:
    """A value of a parameter, a few of its numbers where it has many."""
    if value.size <= FEW_SHOWN:
        return np.array2string(value, precision=4)
    return f"{np.array2string(value.reshape(-1)[:FEW_SHOWN], precision=4)[:-1]} ...] ({value.size} values)"
