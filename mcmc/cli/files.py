"""Commands on saved draws, `mcmc diagnose`, `report` and `compare`; and `mcmc bench`."""

import json
import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mcmc.cli.exits import NOT_CONVERGED, OK, plain_errors
from mcmc.cli.verdict import MOST_ROWS, show_verdict


class Output(StrEnum):
    """How a verdict is given."""

    text = "text"
    json = "json"
    html = "html"


From = Annotated[
    str | None, typer.Option("--from", "--format", help="The files' format.", show_default="by what is in them")
]
Names = Annotated[str | None, typer.Option(help="Parameters of files that don't name them: a,b,c.")]
Burn = Annotated[float, typer.Option(help="Draws of each chain to drop first: 500, or 0.3 of them.", min=0)]
Thin = Annotated[int, typer.Option(help="Keep every so many-th draw.", min=1)]
Vars = Annotated[str | None, typer.Option(help="Parameters to keep: a,b,c.", show_default="all")]
Exclude = Annotated[str | None, typer.Option(help="Parameters to leave out: a,b,c.")]
OneOf = Annotated[
    int | None, typer.Option("--dataset", help="One of many data sets (of sample_each), by its number.", min=0)
]
Chains = Annotated[int | None, typer.Option(help="Chains in a file that doesn't say it, below each other.", min=1)]


def diagnose(
    files: Annotated[
        list[Path], typer.Argument(help="Saved draws: a file, a zarr store, or one file a chain.", metavar="FILE...")
    ],
    output: Annotated[
        str, typer.Option("--format", help="How the verdict is given: text, json or html; or the files' format.")
    ] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path, typer.Option(help="Where --format html writes.")] = Path("report.html"),
    rhat: Annotated[float, typer.Option(help="Largest R-hat to accept.")] = 1.01,
    ess: Annotated[float, typer.Option(help="Smallest effective sample size to accept, in total.")] = 400.0,
    ebfmi: Annotated[float, typer.Option(help="Smallest energy fraction to accept.")] = 0.3,
    quick: Annotated[bool, typer.Option("--quick", help="Judge values, not ranks: much faster.")] = False,
    source: Annotated[str | None, typer.Option("--from", help="The files' format.", show_default="by content")] = None,
    names: Names = None,
    burn: Burn = 0.0,
    thin: Thin = 1,
    vars: Vars = None,
    exclude: Exclude = None,
    chains: Chains = None,
    dataset: OneOf = None,
) -> None:
    """Judge saved draws: exit status 0 where they can be trusted, 1 where not, 2 where there are none."""
    import mcmc

    if output not in list(Output):
        output, source = Output.text, output
    with plain_errors():
        if output == Output.html:
            from mcmc.reporting.pages import destination, report

            destination(out)  # before a long diagnosis
        draws = _read(files, source, names, dataset, **_options(burn, thin, vars, exclude, chains))
        verdict = mcmc.diagnose(draws, rhat=rhat, ess=ess, ebfmi=ebfmi, quick=quick)
        if output == Output.html:
            typer.echo(f"{verdict.verdict}\n\nReport: {report(draws, out, verdict=verdict).resolve()}")
    if as_json or output == Output.json:
        found = verdict.to_dict() | {"understood": draws.attrs["understood"]}
        typer.echo(json.dumps(found, indent=2, default=str))
    elif output == Output.text:
        show_verdict(verdict)
        typer.echo(f"\nFiles: {draws.attrs['understood']}")
    raise typer.Exit(OK if verdict.ok else NOT_CONVERGED)


def report(
    files: Annotated[list[Path], typer.Argument(help="Saved draws, as for mcmc diagnose.", metavar="FILE...")],
    out: Annotated[Path, typer.Option(help="The page to write; an existing one is replaced.")] = Path("report.html"),
    title: Annotated[str | None, typer.Option(help="The page's title.", show_default="the file's name")] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    source: From = None,
    names: Names = None,
    burn: Burn = 0.0,
    thin: Thin = 1,
    vars: Vars = None,
    exclude: Exclude = None,
    chains: Chains = None,
    dataset: OneOf = None,
) -> None:
    """Write one HTML page on saved draws: the verdict, what to do next, tables and pictures."""
    import mcmc
    from mcmc.diagnostics.verdict import check_one
    from mcmc.reporting.pages import destination

    with plain_errors():
        destination(out)  # before a long diagnosis
        draws = _read(files, source, names, dataset, **_options(burn, thin, vars, exclude, chains))
        check_one(draws)
        verdict = mcmc.diagnose(draws)
        page = mcmc.report(draws, out, title=title or files[0].name, verdict=verdict).resolve()
    typer.echo(f"{verdict.verdict}\nFiles: {draws.attrs['understood']}\nReport: {page}")
    if show:
        import webbrowser

        webbrowser.open(page.as_uri())
    raise typer.Exit(OK if verdict.ok else NOT_CONVERGED)


def compare(
    a: Annotated[Path, typer.Argument(help="A run.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Another run of the same model.", metavar="B")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    level: Annotated[float, typer.Option(help="Probability of a false alarm, over all tests.")] = 0.01,
    source: From = None,
    names: Names = None,
    burn: Burn = 0.0,
    thin: Thin = 1,
    vars: Vars = None,
    exclude: Exclude = None,
    chains: Chains = None,
    dataset: OneOf = None,
) -> None:
    """Compare two runs of one model: exit status 0 where they agree, 1 where not or undecided, 2 for bad input."""
    from mcmc.diagnostics.compare import compare as compare_runs

    with plain_errors():
        options = _options(burn, thin, vars, exclude, chains)
        runs = [_read([file], source, names, dataset, **options) for file in (a, b)]
        found = compare_runs(*runs, level=level)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _show(found)
        for name, run in zip("AB", runs, strict=True):
            typer.echo(f"{name}: {run.attrs['understood']}")
    raise typer.Exit(OK if found.ok else NOT_CONVERGED)


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer sizes: under a minute on two cores.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the table's JSON and the picture.")] = Path("mcmc-bench"),
) -> None:
    """Measure what this device gives: chain steps, gradients and direct draws, each beside its floor."""
    with plain_errors():
        from mcmc.bench.run import run_bench

        run_bench(quick, out)
    typer.echo(f"Picture: {(out / 'bench.png').resolve()}\nData:    {(out / 'bench.json').resolve()}")


def _options(burn: float, thin: int, vars: str | None, exclude: str | None, chains: int | None) -> dict[str, Any]:
    """What `mcmc.read` is told besides format and names."""
    from mcmc.readers.selection import listed

    lists = {"vars": listed(vars), "exclude": listed(exclude)}
    return {"burn": burn, "thin": thin, "chains": chains, **lists}


def _read(files: list[Path], source: str | None, names: str | None, dataset: int | None, **options: Any) -> Any:
    """The draws of these files, on one of their data sets if asked; what a reader warns of goes to stderr."""
    from mcmc.diagnostics.verdict import of_dataset
    from mcmc.readers.limits import ReadWarning
    from mcmc.readers.reading import read
    from mcmc.readers.selection import listed

    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always", ReadWarning)
        draws = read(files, source, names=listed(names), **options)
    for notice in noticed:
        if issubclass(notice.category, ReadWarning):
            typer.echo(f"mcmc: {notice.message}", err=True)
    return draws if dataset is None else of_dataset(draws, dataset)


def _show(found: Any) -> None:
    """Print the table, parameters that differ first, and the verdict to stdout."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console.width = 120
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("parameter", overflow="fold")
    tests = ("mean", "sd", "q05", "q50", "q95")
    for title in ("mean A", "mean B", "A - B", "error", "sd A / B", "error", *(f"z {test}" for test in tests)):
        table.add_column(title, justify="right", no_wrap=True)
    columns = ("mean_a", "mean_b", "mean_diff", "mean_error", "sd_ratio", "sd_ratio_error")
    rows = found.table.sort_values("z", ascending=False, na_position="first", kind="stable")
    for name, row in rows.head(MOST_ROWS).iterrows():
        numbers = [f"{row[column]:#.3g}".rstrip(".") for column in columns]
        table.add_row(str(name), *numbers, *(f"{row[f'z_{test}']:.1f}" for test in tests))
    console.print(table, markup=False)
    if len(rows) > MOST_ROWS:
        console.print(f"and {len(rows) - MOST_ROWS} parameters more")
    console.print()
    console.print(str(found), style="green" if found.ok else "bold red", markup=False, soft_wrap=True)
