"""Handlers under which a NumPyro model is read and run."""

# pyright: reportMissingImports=false
from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
from numpyro.contrib.control_flow.scan import scan_wrapper
from numpyro.distributions import Distribution, ExpandedDistribution
from numpyro.distributions.batch_util import promote_batch_shape
from numpyro.primitives import Messenger

from mcmc.models.numpyro_types import default_number


class OwnSettings(Messenger):
    """Gives every site a dictionary of settings of its own: NumPyro writes into them, and a model may share one."""

    def process_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        if msg.get("infer") is not None:
            msg["infer"] = dict(msg["infer"])
        if msg["type"] == "control_flow":
            msg["args"] = tuple(self.inside(a) if callable(a) else a for a in msg["args"])

    def inside(self, step: Callable) -> Callable:
        """The body of a scan or a condition under a handler of this kind."""

        def handled(*args: Any) -> Any:
            with type(self)():
                return step(*args)

        return handled


class AsRead(OwnSettings):
    """Names as a store can hold them, and scans whose carries keep their types.

    The parts of a name that `handlers.scope` joins by a slash are joined by a dot. A carry that began as a 32-bit
    integer stays one, where 64 bits are the default, and one that began as a 32-bit float has the precision of the day.
    """

    def process_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        super().process_message(msg)
        if msg["type"] == "control_flow" and msg["fn"] is scan_wrapper:
            step, init, *rest = msg["args"]
            init = jax.tree.map(lambda x: default_number(x) if _is_float(x) else x, init)
            msg["args"] = (_keeping_types(step), init, *rest)
        elif "/" in (msg.get("name") or ""):
            msg["name"] = dotted(msg["name"])


def dotted(name: str) -> str:
    """A site's name as it is in the target."""
    return name.replace("/", ".")


def _is_float(x: Any) -> bool:
    return isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)


def _keeping_types(step: Callable) -> Callable:
    def kept(old: Any, new: Any) -> Any:
        if not (hasattr(old, "dtype") or hasattr(new, "dtype")):  # plain numbers, in steps that are unrolled
            return new
        types = [jnp.result_type(x) for x in (old, new)]
        if all(jnp.issubdtype(t, jnp.integer) for t in types) or all(jnp.issubdtype(t, jnp.floating) for t in types):
            return jnp.asarray(new, types[0])
        return new

    def stepped(carry: Any, x: Any) -> tuple[Any, Any]:
        new, y = step(carry, x)
        same = jax.tree.structure(new) == jax.tree.structure(carry)
        return (jax.tree.map(kept, carry, new) if same else new), y

    return stepped


class Unobserved(Messenger):
    """Forgets what was observed at the named sites, so that they are drawn."""

    def __init__(self, fn: Callable, names: Collection[str]):
        super().__init__(fn)
        self.names = names

    def process_message(self, msg: Any) -> None:
        """Called by NumPyro for every site."""
        if msg["type"] == "sample" and msg["name"] in self.names:
            value, msg["value"], msg["is_observed"] = msg["value"], None, False
            if is_scanned(msg) and value is not None:
                msg["fn"] = _over_steps(msg["fn"], jnp.shape(value))


def is_scanned(site: dict) -> bool:
    """Whether a site is one of a scan's."""
    return "_scan_current_index" in site["infer"]


def _over_steps(law: Any, shape: tuple[int, ...]) -> Any:
    """The law of values of this shape, of all steps of a scan: NumPyro gives the axis of steps not to all its parts."""
    whole = _with_whole_parts(law)
    missing = len(shape) - whole.event_dim - len(whole.batch_shape)
    if missing > 0:
        vars(whole)["_batch_shape"] = (*shape[:missing], *whole.batch_shape)
    return whole


def _with_whole_parts(law: Any) -> Any:
    if isinstance(law, ExpandedDistribution):  # which keeps the sizes that it had in one step
        return _with_whole_parts(law.base_dist).expand(law.batch_shape)
    whole = copy.copy(law)
    for name, part in vars(law).items():
        if isinstance(part, Distribution):
            vars(whole)[name] = promote_batch_shape(_with_whole_parts(part))
    return whole
