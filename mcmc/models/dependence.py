"""What the outputs of a traced function are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.core import eval_jaxpr
from jax.extend.core import Literal
from jax.interpreters.partial_eval import dce_jaxpr

SAME = ("convert_element_type", "copy", "copy_p")  # operations that keep every value


class Outputs:
    """The outputs of a jaxpr, with a label for each of its inputs: what each depends on, and its value.

    Dependence is exact to the operation, also inside scans, conditions and calls: an input that only decides what is
    not used counts for nothing.
    """

    def __init__(self, closed: Any, labels: Sequence[Any]):
        self.jaxpr, self.consts, self.labels = closed.jaxpr, closed.consts, list(labels)

    def _only(self, k: int) -> tuple[Any, list[bool]]:
        return dce_jaxpr(self.jaxpr, [i == k for i in range(len(self.jaxpr.outvars))])

    def sources(self, k: int) -> set:
        """The labels of the inputs that output k is computed from."""
        _, used = self._only(k)
        return {label for label, is_used in zip(self.labels, used, strict=True) if is_used}

    def value(self, k: int, inputs: dict) -> jax.Array:
        """Output k, from the inputs that it needs."""
        small, used = self._only(k)
        needed = [inputs[label] for label, is_used in zip(self.labels, used, strict=True) if is_used]
        return eval_jaxpr(small, self.consts, *needed)[0]

    def alias(self, k: int) -> Any:
        """The label of the input that output k is, but for its type; None where it is another value."""
        made = {out: eqn for eqn in self.jaxpr.eqns for out in eqn.outvars}
        out = self.jaxpr.outvars[k]
        while not isinstance(out, Literal) and out in made and made[out].primitive.name in SAME:
            out = made[out].invars[0]
        same = [label for label, v in zip(self.labels, self.jaxpr.invars, strict=True) if v is out]
        return same[0] if same else None
