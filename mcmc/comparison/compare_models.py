"""Models of the same data in one table: predictions left out one by one, and evidence: `compare_models(models)`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mcmc.errors import WrongType, WrongValue, more

if TYPE_CHECKING:
    import pandas

GOOD_K = 0.7
"""Pareto k from which on a value left out can't be estimated from draws with it."""
TOO_CLOSE = 4.0
"""Difference of elpd below which its standard error says little (Sivula et al. 2020)."""


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """What `compare_models` found: the table, best model first, and what to mind; prints as text."""

    table: pandas.DataFrame
    """One row a model: `elpd`, `elpd_se`, `p_loo`, `elpd_diff`, `diff_se`, `pareto_k`, `bad_k`, `log_evidence`,
    `evidence_error`, `log_bayes_factor` (against the first), `weight` (stacking)."""
    reasons: tuple[str, ...]
    """Why a number is not to be relied on."""
    notes: tuple[str, ...]
    """Which models these data do not tell from the best."""

    @property
    def ok(self) -> bool:
        """Whether all numbers are to be relied on."""
        return not self.reasons

    @property
    def best(self) -> str:
        """The model that predicts best."""
        return str(self.table.index[0])

    def __str__(self) -> str:
        table: Any = self.table.assign(evidence_error=[f"{x:.2g}" for x in self.table["evidence_error"]])
        table = table[self.table.dropna(axis=1, how="all").columns]
        shown = table.to_string(float_format=lambda x: f"{x:.2f}")
        lines = [shown, *(f"  {line}" for line in (*self.reasons, *self.notes))]
        return "\n".join(lines if self.ok else [*lines, more("comparison")])


def compare_models(models: Mapping[str, Any]) -> ModelComparison:
    r"""Compare models of the same data by how they predict values left out, and by their evidence.

    .. math:: \mathrm{elpd} = \sum_i \log p(y_i \mid y_{-i}), \quad \log B = \log p(y \mid M) - \log p(y \mid M_1)

    The first is estimated by Pareto-smoothed importance sampling from the group `log_likelihood` (ArviZ's `loo`), with
    the difference to the best model and its standard error from the values pair by pair. The evidence is there where
    a model is given as what `mcmc.evidence` returned, or as its `draws`.

    Args:
        models: by name, a DataTree with `log_likelihood` (what `sample` returns for a target that gives it) or an
            `Evidence`. Two or more, of the same observations.

    Returns:
        A `ModelComparison`: `table` (best elpd first), `reasons`, `notes`, `best`, `ok`, `str()`.

    Raises:
        ValueError, TypeError: fewer than two models; no `log_likelihood`; different observations.

    Source: Vehtari, Gelman & Gabry 2017; Yao et al. 2018 (stacking); Sivula, Magnusson & Vehtari 2020
    (arXiv:2008.10296); Kass & Raftery 1995.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> def tree(shift):
        ...     lp = -0.5 * (rng.normal(size=(4, 500, 1)) * 0.1 + shift - np.linspace(-2, 2, 50)) ** 2
        ...     return {"posterior": {"x": lp[..., 0]}, "log_likelihood": {"y": lp}}
        >>> import arviz
        >>> compare_models({"near": arviz.from_dict(tree(0.0)), "far": arviz.from_dict(tree(2.0))}).best
        'near'
    """
    import pandas

    trees, evidences = _read(models)
    loos = {name: _loo(tree, name) for name, tree in trees.items()}
    _check_same(loos, trees)
    order = sorted(loos, key=lambda name: -loos[name].elpd)
    first = order[0]
    rows = {name: _row(loos[name], loos[first], evidences.get(name), evidences.get(first)) for name in order}
    table = pandas.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    table["weight"] = _weights([loos[name] for name in order])
    return ModelComparison(table, tuple(_reasons(table, evidences)), tuple(_undecided(table)))


def _read(models: Any) -> tuple[dict[str, Any], dict[str, tuple[float, float, bool]]]:
    """Trees by name, and evidences (value, error, whether it is good) of those that have one."""
    if not isinstance(models, Mapping) or len(models) < 2:
        remedy = 'Write mcmc.compare_models({"a": draws_a, "b": draws_b}).'
        raise WrongValue("models", models, "two models or more by name", remedy)
    trees, evidences = {}, {}
    for name, model in models.items():
        tree = model if hasattr(model, "children") else getattr(model, "draws", None)
        if tree is None or not hasattr(tree, "children"):
            expected = "a DataTree, or what mcmc.evidence returned"
            raise WrongType(f"models[{name!r}]", model, expected, "Pass the draws.")
        if "log_likelihood" not in tree.children:
            remedy = "Give the target log_likelihood=, or draws.update(mcmc.predict(target, draws).children)."
            raise WrongValue(f"models[{name!r}]", list(tree.children), "the group log_likelihood", remedy)
        if "posterior" not in tree.children:
            remedy = "Add what mcmc.predict gave to the draws: draws.update(mcmc.predict(target, draws).children)."
            raise WrongValue(f"models[{name!r}]", list(tree.children), "the group posterior too", remedy)
        trees[str(name)] = tree
        if "log_evidence" in tree.attrs:
            attrs = tree.attrs
            good = bool(int(attrs.get("log_evidence_ok", 1)))
            evidences[str(name)] = float(attrs["log_evidence"]), float(attrs["log_evidence_error"]), good
    return trees, evidences


def _loo(tree: Any, name: str) -> Any:
    """ArviZ's, of all outcomes' log likelihoods together."""
    import arviz
    import xarray

    groups = tree["log_likelihood"].to_dataset()
    parts = [x.stack(value=[d for d in x.dims if d not in ("chain", "draw")]) for x in groups.data_vars.values()]
    values = np.concatenate([x.transpose("chain", "draw", "value").values for x in parts], -1)
    if not np.isfinite(values).all():
        remedy = "Look for values of likelihood zero."
        raise WrongValue(f"models[{name!r}]", "log likelihoods that are not finite", "finite ones", remedy)
    joined = xarray.Dataset({"all": (("chain", "draw", "value"), values)})
    joined = joined.assign_coords(chain=groups["chain"], draw=groups["draw"])
    found = {"posterior": tree["posterior"].to_dataset(), "log_likelihood": joined}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table says it
        return arviz.loo(xarray.DataTree.from_dict(found), pointwise=True, var_name="all")


def _check_same(loos: Mapping[str, Any], trees: Mapping[str, Any]) -> None:
    """Raise ValueError where the observations are not as many in all models, or outcomes of one name differ."""
    sizes = {name: int(loo.elpd_i.size) for name, loo in loos.items()}
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{n} in {name}" for name, n in sizes.items())
        raise WrongValue("models", f"observations: {shown}", "the same observations in all", "Fit the same data.")
    seen: dict[str, tuple[str, np.ndarray]] = {}
    for name, tree in trees.items():
        observed = tree.children.get("observed_data")
        for outcome in set(tree["log_likelihood"].data_vars) & set(observed.data_vars if observed else ()):
            first, values = seen.setdefault(outcome, (name, np.ravel(observed[outcome].values)))
            other = np.ravel(observed[outcome].values)
            if other.shape != values.shape or not np.allclose(other, values, rtol=1e-5, equal_nan=True):
                remedy = "Fit the same values in the same order and units."
                raise WrongValue("models", f"other values of {outcome} in {first} and {name}", "the same", remedy)


def _row(loo: Any, best: Any, evidence: Any, first: Any) -> dict[str, Any]:
    difference = np.asarray(loo.elpd_i) - np.asarray(best.elpd_i)
    k = np.asarray(loo.pareto_k)
    known = evidence is not None
    return {
        "elpd": float(loo.elpd),
        "elpd_se": float(loo.se),
        "p_loo": float(loo.p),
        "elpd_diff": float(difference.sum()),
        "diff_se": float(np.sqrt(difference.size) * difference.std()),
        "pareto_k": float(k.max()),
        "bad_k": int((~(k <= GOOD_K)).sum()),  # NaN where the tail has no fit at all
        "log_evidence": evidence[0] if known else float("nan"),
        "evidence_error": evidence[1] if known else float("nan"),
        "log_bayes_factor": evidence[0] - first[0] if known and first is not None else float("nan"),
    }


def _weights(loos: list[Any]) -> np.ndarray:
    """Stacking: the weights of the mixture of predictive densities that predicts best."""
    from scipy.optimize import minimize

    densities = np.stack([np.asarray(loo.elpd_i).ravel() for loo in loos], 1)
    densities = np.exp(densities - densities.max(1, keepdims=True))

    def loss(w: np.ndarray) -> float:
        return -float(np.log(np.maximum(densities @ w, 1e-300)).sum())

    n = len(loos)
    rule = {"type": "eq", "fun": lambda w: w.sum() - 1}
    found = minimize(loss, np.full(n, 1 / n), bounds=[(0, 1)] * n, constraints=[rule], method="SLSQP")
    return found.x


def _reasons(table: pandas.DataFrame, evidences: Mapping[str, tuple[float, float, bool]]) -> Iterator[str]:
    for name, row in table[table["bad_k"] > 0].iterrows():
        yield (
            f"{name}: {int(row.bad_k)} values have a Pareto k above {GOOD_K:g}, or none ({row.pareto_k:.2f} at most), "
            "so its elpd is not to be relied on: use mcmc.cross_validate."
        )
    for name, (_, _, good) in evidences.items():
        if not good:
            yield f"{name}: its evidence is not to be relied on."


def _undecided(table: pandas.DataFrame) -> Iterator[str]:
    for name, row in table.iloc[1:].iterrows():
        if abs(row.elpd_diff) < max(TOO_CLOSE, 2 * row.diff_se):
            yield f"{name}: predicts as well as {table.index[0]}, as far as these data tell."
