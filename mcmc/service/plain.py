"""NaN and infinities for JSON: null, with a flag that says what was there."""

import math
from typing import Any


def name_of(value: float) -> str:
    """What a number that is not finite is: "nan", "inf" or "-inf"."""
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def flagged(record: dict[str, Any]) -> dict[str, Any]:
    """A flat record with null for what is not finite, and `non_finite` that names it.

    >>> flagged({"r_hat": float("nan"), "mean": 1.0})
    {'r_hat': None, 'mean': 1.0, 'non_finite': {'r_hat': 'nan'}}
    """
    lost = {k: name_of(v) for k, v in record.items() if isinstance(v, float) and not math.isfinite(v)}
    return {key: None if key in lost else value for key, value in record.items()} | {"non_finite": lost}


def of_verdict(verdict: Any, table: bool = True) -> dict[str, Any]:
    """A `Diagnosis` as JSON: `to_dict`, with every null that was NaN or infinite flagged where it stands."""
    found = verdict.to_dict(table=False)
    for made, check in zip(found["checks"], verdict.checks, strict=True):
        made["chains"] = [str(chain) for chain in made["chains"]]
        made["non_finite"] = flagged({"value": check.value, "threshold": check.threshold})["non_finite"]
    lost = any(check["non_finite"] for check in found["checks"])
    if table:
        columns = {name: values.tolist() for name, values in verdict.columns.items()}
        rows = [
            flagged({"parameter": str(label), **{name: values[i] for name, values in columns.items()}})
            for i, label in enumerate(verdict.labels)
        ]
        found["table"] = rows
        lost = lost or any(row["non_finite"] for row in rows)
    return found | {"has_non_finite": lost}
