"""`mcmc new PROJECT`: a small working project, a model, its data and a notebook if asked, to be edited at once."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from mcmc.cli.exits import fail

FILES = ("model.py", "data.csv", "README.md")
CELLS = (
    (
        "markdown",
        "# A model\n\nThe model is in `model.py`, the data are in `data.csv`. Change both, and run all cells.",
    ),
    ("code", "import arviz\n\nimport mcmc\nfrom model import target"),
    ("code", "draws = mcmc.sample(target, seed=1)\nmcmc.diagnose(draws)"),
    ("code", "mcmc.summary(draws)"),
    ("code", "mcmc.plot(draws)"),
    ("markdown", "Does it fit? Data simulated from the posterior, beside the real ones:"),
    ("code", "arviz.plot_ppc_dist(draws);"),
)


def new(
    project: Annotated[Path, typer.Argument(help="The folder to make.", metavar="PROJECT")],
    notebook: Annotated[bool, typer.Option("--notebook", help="With a notebook, model.ipynb.")] = False,
) -> None:
    """Write a small working project: model.py, data.csv, README.md, and a notebook if asked."""
    if project.exists() and (not project.is_dir() or any(project.iterdir())):
        fail(f"new: {project} exists and is not empty; give another name. Nothing was written.")
    try:
        project.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            text = files("mcmc.cli").joinpath("project", name).read_text(encoding="utf-8")
            (project / name).write_text(text, encoding="utf-8")
        if notebook:
            (project / "model.ipynb").write_text(_notebook(), encoding="utf-8")
    except OSError as error:
        fail(f"new: {project} can't be written: {error.strerror}.")
    typer.echo(f"{project}: {', '.join((*FILES, *(['model.ipynb'] if notebook else [])))}")
    typer.echo(f"Next: cd {project} && mcmc sample model.py")


def _notebook() -> str:
    """The cells in Jupyter's format, version 4.5."""
    cells = []
    for i, (kind, source) in enumerate(CELLS):
        cell = {"cell_type": kind, "id": f"cell-{i}", "metadata": {}, "source": source.splitlines(keepends=True)}
        cells.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return json.dumps(
        {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )
