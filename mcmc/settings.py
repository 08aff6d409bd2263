"""What a run is asked for: its target, its numbers and its precision, checked, with defaults filled in."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mcmc.engine.devices import devices_of
from mcmc.engine.memory import check_memory
from mcmc.engine.plan import Settings
from mcmc.engine.stopping import MARGIN, Converged
from mcmc.engine.surroundings import check_process
from mcmc.errors import WrongType, WrongValue
from mcmc.kernels.choose import DEFAULT_CHAINS, FEW_CHAINS
from mcmc.kernels.direct import Direct
from mcmc.kernels.effort import Effort
from mcmc.kernels.protocols import DirectSampler, Kernel
from mcmc.kernels.smc import SMC
from mcmc.random.keys import number_of
from mcmc.storage.datatree import is_point
from mcmc.storage.recorder import Kept
from mcmc.target.target import Target
from mcmc.target.traced import Traced
from mcmc.warmup.starts import superchains_of

if TYPE_CHECKING:
    import xarray

FEW_DRAWS, MANY_DRAWS = 1000, 20_000
LONG_WARMUP, SHORT_WARMUP = 1000, 200
MOST_ITERATIONS = 2**31 - 1


@dataclass(frozen=True)
class Request:
    """What was asked for, as it was given; the page on `sample` says what each is."""

    target: Target | DirectSampler
    kernel: Kernel | SMC | None = None
    chains: int | None = None
    draws: int | None = None
    warmup: int | None = None
    seed: int | jax.Array = 0
    init: Mapping[str, Any] | xarray.DataTree | Literal["pathfinder"] | None = None
    superchains: int | Sequence[int] | np.ndarray | None = None
    until: Converged | None = None
    thin: int = 1
    keep: str | Sequence[str] | None = None
    keep_dtype: DTypeLike | None = None
    reduce: int | None = None
    lanes: int | None = None
    store: str | Path | xarray.DataTree | None = None
    overwrite: bool = False
    mesh: jax.sharding.Mesh | None = None
    save_warmup: bool = False
    chunk: int | None = None
    reseed: bool = False
    geometry: Any = "auto"


@contextlib.contextmanager
def precision_of(dtype: Any, mesh: Any) -> Iterator[Any]:
    """The run's floating type, with JAX's 64-bit mode set to match, and its promotion of types, while it lasts."""
    check_process()
    if dtype is None:
        dtype = "float64" if devices_of(mesh)[0].platform == "cpu" else "float32"
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        dtype = None
    if dtype not in (np.float32, np.float64):
        raise WrongValue("dtype", dtype, 'None, "float32" or "float64"', "Chains need 32 bits at least.")
    with jax.enable_x64(bool(dtype == np.float64)), jax.numpy_dtype_promotion("standard"):
        yield dtype


def as_target(target: Any, kernel: Any, dtype: Any) -> tuple[Target, Any]:
    """The target and its kernel; for a direct sampler a target of its draws and the kernel that makes them."""
    if isinstance(target, Target):
        return target, kernel
    if callable(getattr(target, "sample", None)) and not isinstance(target, type):
        if kernel is not None and not isinstance(kernel, Direct):
            raise WrongValue("kernel", kernel, "None for a direct sampler", "Pass a Target to use a kernel.")
        return _direct_target(target), Direct(target)
    raise WrongType(
        "target", target, "an mcmc.Target, or a direct sampler with sample(key, shape)", _target_remedy(target)
    )


def _target_remedy(target: Any) -> str:
    """How to make a target of this: a model of another library, or a function."""
    if type(target).__module__.partition(".")[0] == "pymc":
        return "A PyMC model becomes one by mcmc.from_pymc(model)."
    code = getattr(target, "__code__", None)
    if code and "numpyro" in sys.modules and {"sample", "plate", "numpyro"} & {*code.co_names, *code.co_freevars}:
        return "A NumPyro model becomes one by mcmc.from_numpyro(model, *arguments)."
    return (
        'Wrap the log density: mcmc.Target(log_density, {"x": mcmc.real()}); a NumPyro model: mcmc.from_numpyro(model).'
    )


def _direct_target(sampler: Any) -> Target:
    """A target whose parameters are a direct sampler's draws: `x`, or the names of the dict that it returns."""
    from mcmc.target.support import boolean, integer, real

    drawn = jax.eval_shape(lambda: sampler.sample(jax.random.key(0), ()))
    named = drawn if isinstance(drawn, dict) else {"x": drawn}

    def support(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jnp.floating):
            return real(shape=x.shape)
        return boolean(shape=x.shape) if x.dtype == jnp.bool_ else integer(shape=x.shape)

    known = callable(getattr(sampler, "log_prob", None))

    def log_density(p: dict) -> jax.Array:
        x = p if isinstance(drawn, dict) else p["x"]
        return jnp.sum(sampler.log_prob(x)) if known else jnp.zeros(())

    return Target(log_density, {name: support(x) for name, x in named.items()})


def settings_of(asked: Request, target: Target, kernel: Any, effort: Effort | None = None) -> Settings:
    """The numbers of a run, defaults filled in: where the user names nothing, those that gradients are worth."""
    chains, draws, warmup, thin, superchains = asked.chains, asked.draws, asked.warmup, asked.thin, asked.superchains
    if asked.until is not None:
        draws = next(asked.until.checks(0))
    if chains is None:
        chains = effort.chains if effort else chains_in(target, asked.init) or DEFAULT_CHAINS
        if getattr(kernel, "ensemble", False):
            chains = max(chains, 2 * target.dim)
    check_count("chains", chains, 1)
    check_memory(int(chains), 1, target.dim, 8, "float64")
    few = chains <= FEW_CHAINS
    if draws is None:
        draws = FEW_DRAWS if few else 10 * math.ceil((effort.draws if effort else MANY_DRAWS) / chains / 10)
    if warmup is None:
        slow = few or not getattr(kernel, "needs_gradient", True)
        short = effort.warmup if effort else SHORT_WARMUP
        warmup = 0 if isinstance(kernel, Direct) else LONG_WARMUP if slow else short
    if superchains is None and (getattr(kernel, "ensemble", False) or chains_in(target, asked.init) is not None):
        superchains = 0  # chains that move by each other, or that start where the user says, share no start
    check_count("draws", draws, 1)
    check_count("warmup", warmup, 0, MOST_ITERATIONS)
    check_count("thin", thin, 1, MOST_ITERATIONS)
    return Settings(int(chains), int(draws), int(warmup), int(thin), superchains_of(int(chains), superchains))


def chains_in(target: Target, init: Any) -> int | None:
    """How many chains a start is for, or None where it does not say."""
    if init is None or isinstance(init, str):
        return None
    if hasattr(init, "children"):
        return None if is_point(init) else init["posterior"].sizes["chain"]
    leaf, value = next(target.starts(init))
    return value.shape[0] if value.ndim > len(leaf.support.shape) else None


def check_until(until: Any, draws: Any) -> None:
    """Raise TypeError or ValueError unless `until` is a `Converged`, or None, and stands alone."""
    if until is None:
        return
    if not isinstance(until, Converged):
        raise WrongType("until", until, "an mcmc.Converged", "Use until=mcmc.Converged(ess=400).")
    if draws is not None:
        raise WrongValue("draws", draws, "None with until", "Give the most draws in it: Converged(max_draws=...).")


def check_kept(traced: Traced, names: Any, dtype: Any, most: Any) -> tuple[Traced, Kept]:
    """What is kept of the draws, checked; and the target as it is then recorded."""
    check_optional("reduce", most)
    try:
        dtype = None if dtype is None else str(np.dtype(dtype))
    except TypeError:
        dtype = str(dtype)
    if dtype not in (None, "float32", "float64"):
        raise WrongValue("keep_dtype", dtype, 'None, "float32" or "float64"', 'Use keep_dtype="float32".')
    if names is not None:
        names = (names,) if isinstance(names, str) else tuple(names)
        known = [column.name for column in traced.columns]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            remedy = "Name parameters or derived quantities."
            raise WrongValue("keep", unknown or names, f"names among {', '.join(known)}", remedy)
        traced = traced.keeping(names)
    return traced, Kept(names, dtype, most)


def check_sample_size(until: Any, kept: Kept, chains: int) -> None:
    """Raise ValueError where the draws that a reduced run keeps, and is judged by, can't be as effective as asked."""
    if until is None or kept.most is None or chains * (kept.most // 2) >= MARGIN * until.ess:
        return
    least = 2 * math.ceil(MARGIN * until.ess / chains)
    expected = f"{least} or more, to judge {until.ess:g} effective draws of {chains} chains"
    raise WrongValue("reduce", kept.most, expected, f"Use reduce={least} or a smaller ess.")


def check_count(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise ValueError unless an argument is a whole number from `least` to `most`."""
    number = number_of(value)
    if number is None or number < least:
        remedy = f"Use {name}=0 for none." if least == 0 else f"Use {name}={least} or more."
        raise WrongValue(name, value, f"a whole number, {least} or more", remedy)
    if most is not None and number > most:
        raise WrongValue(name, value, f"a whole number up to {most:,}", f"Use a smaller {name}.")


def check_optional(name: str, value: Any) -> None:
    """Raise ValueError unless an argument is None or a whole number from 1."""
    if value is not None:
        check_count(name, value, 1)


def check_geometry(geometry: Any) -> Literal["auto", "affine"]:
    """Raise ValueError unless it is one that warmup can find."""
    if geometry not in ("auto", "affine"):
        raise WrongValue("geometry", geometry, '"auto" or "affine"', "Leave it out to have warmup find it.")
    return geometry
