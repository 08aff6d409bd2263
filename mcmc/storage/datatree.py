"""A run as an `xarray.DataTree` by ArviZ's schema, and the state to resume from, read back from one."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from mcmc.engine.progress_state import Progress
from mcmc.engine.run import Run
from mcmc.errors import FingerprintError, WrongValue, got
from mcmc.random import keys
from mcmc.storage.recorder import Kept
from mcmc.storage.reduced import moments_of
from mcmc.storage.saved_kernel import describe_kernel, full_name, rebuilt, specification
from mcmc.target.target import Target
from mcmc.version import __version__
from mcmc.warmup.geometry.text import describe
from mcmc.warmup.geometry.triangular_map import to_arrays

if TYPE_CHECKING:
    import xarray

FORMAT = 3  # of run_state; 2 held a covariance and an inverse beside a metric's factor
ROOT_TIMES = ("compile_time", "warmup_time", "sampling_time")


def dataset(
    arrays: Mapping[str, np.ndarray], target: Target | None, leading: tuple[str, ...] = ("chain", "draw")
) -> xarray.Dataset:
    """Arrays with `leading` dimensions as a Dataset; the rest are named and labelled as the target says.

    A dim with the name of one of the arrays becomes `{name}_dim`: xarray has one name for either.
    """
    import xarray

    variables, coords = {}, {}
    reach = {leaf.name: leaf.support.reach for leaf in target.leaves} if target is not None else {}
    for name, array in arrays.items():
        own = array.ndim - len(leading)
        labels = target.dims.get(name, []) if target is not None else []
        if labels and len(labels) != own:
            raise WrongValue(f"dims[{name!r}]", labels, f"{own} names", "Name each dimension of the value.")
        labels = [*leading, *(labels or [f"{name}_dim_{i}" for i in range(own)])]
        dims = [f"{dim}_dim" if dim in arrays else dim for dim in labels]
        attrs = {"support": reach[name]} if reach.get(name) else {}
        variables[name] = (dims, array, attrs)
        for dim, label, size in zip(dims, labels, array.shape, strict=True):
            given = target.coords.get(label) if target is not None else None
            labels_of = np.asarray(given) if given is not None and len(given) == size else np.arange(size)
            coords.setdefault(dim, (dim, labels_of))
    return xarray.Dataset(variables, coords)


def assemble(run: Run, state: Progress, recorder: Any, warm: Any, status: str) -> xarray.DataTree:
    """The run as a DataTree; the draws of the run that was resumed come first."""
    import xarray

    old, settings = run.plan.old, run.plan.settings

    parameters, stats = (run.together(arrays) for arrays in recorder.result())
    if old is not None and not run.kept.most:
        parameters, stats = _appended(old["posterior"], parameters), _appended(old["sample_stats"], stats)
    groups = {"posterior": dataset(parameters, run.target), "sample_stats": dataset(stats, None)}
    if warm is not None:
        parameters, stats = (run.together(arrays) for arrays in warm.result())
        groups["warmup_posterior"] = dataset(parameters, run.target)
        groups["warmup_sample_stats"] = dataset(stats, None)
    elif old is not None:
        groups |= {n: old[n].to_dataset() for n in ("warmup_posterior", "warmup_sample_stats") if n in old.children}
    groups |= data_of(run.target)
    per_chain, whole, facts = state_of(run, state)
    root_facts = facts_of(run, state, status)
    if run.kept.most:
        moments, reduced = recorder.state()
        per_chain, facts = per_chain | moments, facts | reduced
        groups["moments"] = moments_group(moments, facts, run.traced.columns, run.target, settings.superchains)
        root_facts["thin"] *= recorder.stride
    groups["run_state"] = state_dataset(per_chain, whole, facts)
    root = xarray.Dataset(attrs=root_facts)
    for name in ("posterior", "sample_stats"):
        groups[name].attrs = {k: root.attrs[k] for k in ("created_at", "inference_library", "sampling_time")}
    return xarray.DataTree.from_dict({"/": root, **groups})


MOMENTS = ("mean", "sd", "mcse_mean", "ess_mean", "r_hat", "nested_r_hat")


def moments_group(
    arrays: dict[str, np.ndarray], facts: Mapping, columns: Any, target: Target, superchains: Any
) -> xarray.Dataset:
    """The moments of all draws, and what they say of convergence, (statistic, ...) for every parameter."""
    counts = json.loads(facts["reduced"])["moments"]
    moments = moments_of(arrays, counts)
    with np.errstate(all="ignore"):
        sd, ess = np.sqrt(moments.variance()), moments.ess()
        equal = superchains is not None and len(set(np.unique(superchains, return_counts=True)[1])) == 1
        nested = moments.nested_rhat(superchains) if equal else np.full_like(sd, np.nan)
        values = np.stack([moments.mean(), sd, sd / np.sqrt(ess), ess, moments.rhat(), nested])
    named = {c.name: values[:, c.start : c.stop].reshape(len(MOMENTS), *c.shape) for c in columns}
    group = dataset(named, target, ("statistic",)).assign_coords(statistic=list(MOMENTS))
    group.attrs = {"draws": counts["draws"]}
    return group


def data_of(target: Target) -> dict[str, xarray.Dataset]:
    """The group `observed_data`, where there is any."""
    observed = _observed(target)
    return {"observed_data": dataset(observed, target, ())} if observed else {}


def judged(run: Run, recorder: Any) -> dict[str, Any]:
    """The draws so far, their statistics and the superchains: what a diagnosis of a run in progress needs."""
    old, settings = run.plan.old, run.plan.settings
    parameters, stats = (run.together(arrays) for arrays in recorder.result())
    if old is not None and not run.kept.most:
        parameters, stats = _appended(old["posterior"], parameters), _appended(old["sample_stats"], stats)
    groups: dict[str, Any] = {"posterior": dataset(parameters, run.target), "sample_stats": dataset(stats, None)}
    if settings.superchains is not None:
        groups["run_state"] = dataset({"superchain": np.asarray(settings.superchains)}, None, ("chain",))
    return groups


def _appended(old: Any, new: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([old[name].values, array], 1) for name, array in new.items()}


def _observed(target: Target) -> dict[str, np.ndarray]:
    if not isinstance(target.data, Mapping):
        return {} if target.data is None or not hasattr(target.data, "shape") else {"data": np.asarray(target.data)}
    made = getattr(target, "outcomes", None)
    outcomes = made(target.data) if made else {}
    taken = {*outcomes, *(dim for k in target.data for dim in target.dims.get(k, ()) if dim != k)}
    data = {f"{k}_argument" if k in taken else k: v for k, v in target.data.items()} | outcomes
    return {str(k): np.asarray(v) for k, v in data.items() if not isinstance(v, Mapping)}


def facts_of(run: Run, state: Progress, status: str) -> dict[str, Any]:
    """The run's attributes; times are added to those of the run that was resumed."""
    plan = run.plan
    settings, before = plan.settings, plan.old.attrs if plan.old is not None else {}
    times = {k: float(getattr(run.timings, k)) + float(before.get(k, 0.0)) for k in ROOT_TIMES}
    versions = {"mcmc": __version__, "python": platform.python_version()}
    versions |= {"jax": jax.__version__, "numpy": np.__version__}
    devices = run.layout.devices
    return {
        "status": status,
        "seed": plan.attempts[0]["seed"] if plan.attempts else " ".join(map(str, np.asarray(plan.key))),
        "kernel": describe_kernel(run.form.rebuild(state.leaves)),
        "geometry": describe(run.layers, run.target),
        "chains": settings.chains,
        "warmup": settings.warmup,
        "thin": settings.thin,
        "lanes": run.layout.lanes,
        "dtype": str(run.plan.dtype),
        "device": f"{len(set(devices)) * run.layout.processes.count} x {devices[0].device_kind}",
        "versions": json.dumps(versions),
        "inference_library": "mcmc",
        "created_at": datetime.fromtimestamp(run.began, UTC).isoformat(),
        "starts_improved": int(state.improved),
        "lost_chains": " ".join(map(str, state.lost)),
        "reseeded_chains": " ".join(map(str, sorted(state.reseeded))),
        **times,
        **({"stopped": run.stopped} if run.stopped else {}),
        **({"attempts": json.dumps(plan.attempts)} if plan.attempts else {}),
        **({"seen": run.seen} if run.seen else {}),
    }


# --- what a run needs to go on ---------------------------------------------------------------------------


@dataclass
class Saved:
    """A run's state as it was written."""

    chains: int
    asked: int
    done: int
    warmup: int
    thin: int
    lanes: int
    iteration: int
    dtype: str
    tunes: list
    kernel: dict
    key: np.ndarray
    superchains: np.ndarray | None
    until: dict | None
    reseed: bool
    geometry: Literal["auto", "affine"]
    init: str
    improved: bool
    lost: list[int]
    reseeded: set[int]
    kept: Kept
    reduced: str | None
    arrays: dict[str, np.ndarray]
    attempts: tuple[dict[str, Any], ...] | None = None

    @property
    def positions(self) -> np.ndarray:
        return self.arrays["state_position"]

    @property
    def lps(self) -> np.ndarray:
        return self.arrays["state_lp"]


def state_of(run: Run, state: Progress) -> tuple[dict, dict, dict]:
    """All that `resume` needs, at working precision: arrays one a chain, other arrays, and facts."""
    settings, until = run.plan.settings, run.plan.until
    none = np.zeros(settings.chains, np.int32)
    per_chain = {"nonfinite_proposals": none, "divergences": none}
    if state.chains:  # none before the first iteration has been compiled
        chains = run.joined(state)
        per_chain = {"nonfinite_proposals": chains.nonfinite, "divergences": chains.diverging}
        per_chain |= {f"state_{n}": a for n, a in _named(chains.state)}
    if settings.superchains is not None:
        per_chain["superchain"] = np.asarray(settings.superchains)
    if run.may_improve and run.starts is not None:
        per_chain["starts"] = np.asarray(run.starts)
    per_chain |= {f"start_{n}": a for n, a in run.given_starts.items()}
    whole = {f"kernel_{i}": np.asarray(a) for i, a in enumerate(state.leaves)}
    whole |= {f"tuning_{i}": np.asarray(a) for i, a in enumerate(jax.tree.leaves(state.tuning))}
    whole |= to_arrays(run.layers)
    whole["key"] = np.asarray(run.plan.key)
    tuner = run.tuner
    facts = {
        "iteration": state.iteration,
        "warmup": settings.warmup,
        "thin": settings.thin,
        "draws": max(settings.draws, (state.iteration - settings.warmup) // settings.thin),  # until= may go beyond
        "lanes": run.layout.lanes,
        "dtype": str(run.plan.dtype),
        "key_implementation": keys.IMPLEMENTATION,
        "kernel": json.dumps(specification(run.kernel)),
        "tunes": json.dumps([tuner.tunes_step_size, tuner.tunes_metric, tuner.tunes_strictness] if tuner else []),
        "reseed": int(run.plan.reseed),
        "geometry": run.plan.geometry,
        "init": run.plan.init_name,
        "derived": json.dumps([c.name for c in run.traced.columns if c.name not in run.target.names]),
        "jax": jax.__version__,
        "format": FORMAT,
        "kept": json.dumps(dataclasses.asdict(run.kept)),
    }
    if run.walls:
        facts |= {"walls": json.dumps(run.walls)}
    if run.plan.attempts is not None:
        facts |= {"attempts": json.dumps(run.plan.attempts), "seen": run.seen}
    if run.places:
        facts |= {"places": json.dumps(run.places)}
    return per_chain, whole, facts | ({"until": until.to_json()} if until is not None else {})


def state_dataset(per_chain: dict, whole: dict, facts: dict) -> xarray.Dataset:
    """The `run_state` group."""
    held = dataset(per_chain, None, ("chain",)).merge(dataset(whole, None, ()))
    held.attrs = facts
    return held


def _named(tree: Any) -> list[tuple[str, Any]]:
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [("_".join(str(getattr(k, "name", getattr(k, "idx", k))) for k in path), leaf) for path, leaf in flat]


def read_state(tree: xarray.DataTree) -> Saved:
    """The `run_state` of a run."""
    if "run_state" not in tree.children:
        found = ", ".join(tree.children) or "nothing"
        raise WrongValue("draws", found, "a tree with the group run_state", "Resume what mcmc.sample made.")
    held = tree["run_state"].to_dataset()
    attrs = held.attrs
    if "key_implementation" not in attrs:
        remedy = "Draws on many data sets are completed by the same call of mcmc.sample_each on their store."
        raise WrongValue("draws", "a run_state without a kernel's state", "a run of mcmc.sample", remedy)
    form = f"{attrs['key_implementation']}, run_state format {attrs['format']}"
    if form != (expected := f"{keys.IMPLEMENTATION}, run_state format {FORMAT}"):
        raise FingerprintError(got("draws", form, expected, "Use the version that made the run."))
    arrays = {str(n): v.values for n, v in held.data_vars.items()}
    kept = json.loads(attrs.get("kept", '{"names": null}'))
    return Saved(
        chains=held.sizes["chain"],
        asked=int(attrs["draws"]),
        done=max(0, (int(attrs["iteration"]) - int(attrs["warmup"])) // int(attrs["thin"])),
        warmup=int(attrs["warmup"]),
        thin=int(attrs["thin"]),
        lanes=int(attrs["lanes"]),
        iteration=int(attrs["iteration"]),
        dtype=str(attrs["dtype"]),
        tunes=json.loads(attrs["tunes"]),
        kernel=json.loads(attrs["kernel"]),
        key=arrays["key"].astype(np.uint32),
        superchains=arrays.get("superchain"),
        until=json.loads(attrs["until"]) if "until" in attrs else None,
        reseed=bool(attrs["reseed"]),
        geometry=attrs["geometry"],
        init=str(attrs["init"]),
        improved=bool(tree.attrs.get("starts_improved", 0)),
        lost=list(map(int, str(tree.attrs.get("lost_chains", "")).split())),
        reseeded=set(map(int, str(tree.attrs.get("reseeded_chains", "")).split())),
        kept=Kept(tuple(names) if (names := kept.pop("names")) else None, **kept),
        reduced=attrs.get("reduced"),
        arrays=arrays,
        attempts=tuple(json.loads(attrs["attempts"])) if "attempts" in attrs else None,
    )


def restore_kernel(saved: Saved, given: Any) -> Any:
    """The kernel of a saved run: rebuilt by name, or the given one, which must be of that name."""
    name = full_name(saved.kernel)
    if given is not None:
        found = full_name(specification(given))
        if found != name:
            raise FingerprintError(got("kernel", found, f"{name}, as saved", "Pass the same kernel."))
        return given
    return rebuilt(saved.kernel, (saved.arrays[f"kernel_{i}"] for i in range(len(saved.arrays))))


def restore_progress(saved: Saved, run: Run) -> Progress:
    """The state of the run, on its devices."""
    leaves = [saved.arrays[f"state_{n}"] for n, _ in _named(run.shapes.state)]
    state = jax.tree.unflatten(jax.tree.structure(run.shapes.state), leaves)
    counts = (saved.arrays[n].astype(np.int32) for n in ("nonfinite_proposals", "divergences"))
    kernel = [np.asarray(saved.arrays[f"kernel_{i}"]) for i in range(len(run.form.start))]
    flat, structure = jax.tree.flatten(run.start_tuning)
    tuning = jax.tree.unflatten(structure, [saved.arrays[f"tuning_{i}"] for i in range(len(flat))])
    reported = saved.lost, saved.reseeded, saved.improved
    return Progress(kernel, tuning, run.programs.place(state, *counts), saved.iteration, *reported)


def draws_of(tree: xarray.DataTree, target: Target) -> dict:
    """The parameters of every draw, nested as in the target, (chain, draw, ...)."""
    posterior = tree["posterior"]
    missing = [n for n in target.names if n not in posterior.data_vars]
    if missing:
        found = ", ".join(map(str, posterior.data_vars))
        raise WrongValue("draws", found, f"a posterior with {', '.join(missing)}", "Use this target's draws.")
    return target.nest([posterior[n].values for n in target.names])


def last_draws(tree: xarray.DataTree, target: Target, chains: int) -> dict[str, np.ndarray]:
    """Starts by name (chain, ...): the last draw of every chain; a single point, as a mode is, has no chain axis.

    For fewer chains than the run has, some of its last draws; for more, each chain's last and others before it, evenly.
    """
    draws_of(tree, target)
    of_run, n = (tree["posterior"].sizes[axis] for axis in ("chain", "draw"))
    if is_point(tree):
        return {name: np.asarray(tree["posterior"][name])[0, 0] for name in target.names}
    each = -(-chains // of_run)
    chain, back = np.arange(chains) % of_run, np.arange(chains) // of_run
    if chains < of_run:
        chain = np.arange(chains) * of_run // chains
    return {name: np.asarray(tree["posterior"][name])[chain, n - 1 - back * n // each] for name in target.names}


def is_point(tree: xarray.DataTree) -> bool:
    """Whether a run is one draw alone, as a mode is."""
    return tree["posterior"].sizes["chain"] == tree["posterior"].sizes["draw"] == 1


__all__ = ["assemble", "dataset", "is_point", "last_draws", "read_state", "restore_kernel", "restore_progress"]
