"""`mcmc sample model.py --each data.parquet`: the same model on every data set of a table."""

import warnings
from pathlib import Path
from typing import Any

import typer

from mcmc.cli.exits import NOT_CONVERGED, OK, fail


def destination(out: Path | None, overwrite: bool) -> Path:
    """Where the summaries will go, checked before anything runs."""
    if out is None:
        number, out = 2, Path("summaries.parquet")
        while out.exists() and not overwrite:
            number, out = number + 1, Path(f"summaries-{number}.parquet")
        return out
    if out.suffix not in (".parquet", ".csv"):
        fail(f"--out: {out} must end in .parquet or .csv: the summaries of all data sets. Draws go to --store.")
    if not out.resolve().parent.is_dir():
        fail(f"--out: there is no folder {out.resolve().parent}; make it first.")
    if out.exists() and not overwrite:
        fail(f"--out: {out} exists; give another name, or --overwrite.")
    return out


def sample_table(target: Any, kernel: Any, table: Path, by: str | None, out: Path, settings: dict[str, Any]) -> None:
    """Draw, judge every data set, write a row a data set and parameter; leave with the exit status."""
    import mcmc
    from mcmc.each.table import data_of, index_of, read_table

    if not table.is_file():
        fail(f"--each: {table} is not a file.")
    data, labels = data_of(read_table(table), target, by)
    given = {name: value for name, value in settings.items() if value is not None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mcmc.ConvergenceWarning)
        draws = mcmc.sample_each(target, data, kernel, index=index_of(labels), **given)
    found = mcmc.diagnose(draws, quick=None)
    names = dict(zip(found.datasets.tolist(), labels.tolist(), strict=True))  # type: ignore[attr-defined]
    write(found, names, out)
    typer.echo(str(found))
    typer.echo(f"\nSummaries: {out.resolve()}")
    if draws.attrs["status"] == "interrupted":
        fail("interrupted; what was done until then was written.", 130)
    raise typer.Exit(OK if found.ok else NOT_CONVERGED)


def write(found: Any, names: dict, out: Path) -> None:
    """The summaries, with the verdict on each data set."""
    whole = found.parameters.reset_index().join(found.table[["ok", "message"]], on="dataset")
    whole["dataset"] = whole["dataset"].map(names)
    if out.suffix == ".csv":
        whole.to_csv(out, index=False)
    else:
        whole.to_parquet(out, index=False)
