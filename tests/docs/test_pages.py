"""The code of pages runs: those of features here, at the smallest size; a page is in one list or another."""

import contextlib
import io
import warnings
from pathlib import Path

import files
import jax
import numpy as np
import pandas
import pytest
from running import DOCS, pages

import mcmc

FEW = {"chains": 32, "warmup": 20, "draws": 20}  # 32: enough for nested R-hat
# Pages that are programs, and pages that go on with the target and the draws below, or with those of the page before.
ALONE = ("index", "install", "discrete", "reparam", "target", "rejection", "sbc", "each")
ALONE += ("kernels", "formats")
GO_ON = ("diagnostics", "until", "resume", "compare", "report", "store", "invariance")
WORKFLOW = tuple(f"workflow/{name}" for name in ("prior", "fit"))
NOT_YET = ("models", "cluster", "bench")  # their features are tested, their blocks not run
NOT_YET += ("workflow/which_model", "workflow/wider_prior", "workflow/approximate")
NEEDS = {"rejection": ("numpyro",), "formats": ("pyarrow",)}
ELSEWHERE = {  # by which tests: of the page itself, or of what it shows
    "tutorial": "docs/test_learning",
    "recipes": "docs/test_recipes",
    "coming_from": "docs/test_learning, target/test_coming_from",
    "gallery": "examples/test_gallery: the code is the examples'",
    "steps": "docs/test_steps_page",
    "geometry": "examples/test_geometry_page",
    "black_box": "target/test_black_box",
    "categorical": "direct/categorical/test_processors",
    "inverse_cdf": "direct/inverse_cdf/test_densities_as_given",
    "service": "service/test_docs",
    "developing": "kernels/test_every_kernel: the kernel is one of the suite",
}
BEFORE = """
import jax, jax.numpy as jnp, numpy as np
import mcmc

target = mcmc.Target(
    lambda p: -p["tau"] - 0.5 * (p["mu"] ** 2 + jnp.sum((p["theta"] - p["mu"]) ** 2)),
    {"mu": mcmc.real(), "tau": mcmc.positive(), "theta": mcmc.real(8)},
)
a = draws = mcmc.sample(target)
b = mcmc.sample(target, seed=1)
"""


def few(function):
    """`mcmc.sample` or `mcmc.resume` with few draws, whatever the page asks for."""

    def run(target, *arguments, **settings):
        for name in ("until", "reduce", "thin"):
            settings.pop(name, None)
        if function.__name__ == "resume":
            arguments, settings = arguments[:1], settings | {"draws": 10}
        else:
            settings |= FEW | ({"overwrite": True} if "store" in settings else {})
        return function(target, *arguments, **settings, progress=False)

    return run


@contextlib.contextmanager
def at_once(folder, patch):
    patch.chdir(folder)
    patch.setattr(mcmc, "sample", few(mcmc.sample))
    patch.setattr(mcmc, "resume", few(mcmc.resume))
    for name in ("evidence", "cross_validate", "sbc", "sample_each"):
        patch.setattr(mcmc, name, quick(getattr(mcmc, name)))
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), jax.enable_x64(False):
        warnings.simplefilter("ignore")
        yield


def quick(function):
    few = {"evidence": {"chains": 64, "steps": 4}, "sbc": {"simulations": 20}}.get(function.__name__, {})
    return lambda *arguments, **settings: function(*arguments, **few | settings, progress=False)


def write_files():
    """The files that the page on formats reads, beside it."""
    x = np.random.default_rng(0).normal(size=(4, 40, 2))
    rows = {
        "chain": np.repeat(range(4), 40),
        "draw": np.tile(range(40), 4),
        **dict(zip(("mu", "tau"), x.reshape(-1, 2).T)),
    }
    pandas.DataFrame(rows).to_parquet("draws.parquet")
    pandas.DataFrame({name: rows[name] for name in ("mu", "tau")}).to_csv("wide.csv", index=False)
    files.emcee(Path("backend.h5"), x)


def run(names, *texts):
    for page in texts:
        for i, code in enumerate(pages.blocks(DOCS / f"{page}.md")):
            exec(compile(code, f"{page}.md, block {i + 1}", "exec"), names)


@pytest.mark.slow
@pytest.mark.parametrize("page", ALONE)
def test_a_page_is_a_program(page, tmp_path, monkeypatch):
    for name in NEEDS.get(page, ()):
        pytest.importorskip(name)
    with at_once(tmp_path, monkeypatch):
        if page == "formats":
            write_files()
        run({"__name__": "page"}, page)


@pytest.mark.slow
def test_pages_go_on_with_a_target_and_its_draws(tmp_path, monkeypatch):
    names = {"__name__": "page"}
    with at_once(tmp_path, monkeypatch):
        exec(BEFORE, names)
        for page in GO_ON:
            run(dict(names), page)


@pytest.mark.slow
def test_the_workflow_is_one_program(tmp_path, monkeypatch):
    with at_once(tmp_path, monkeypatch):
        run({"__name__": "page"}, *WORKFLOW)


def test_every_page_with_code_is_in_a_list():
    for path in DOCS.rglob("*.md"):
        page = str(path.relative_to(DOCS).with_suffix(""))
        if pages.blocks(path):
            assert page in ALONE + GO_ON + WORKFLOW + NOT_YET or page in ELSEWHERE or page.split("/")[0] in ELSEWHERE, (
                page
            )
