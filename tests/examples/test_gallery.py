"""The examples run, are right within Monte Carlo error, and save their pictures."""

import importlib.util
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import unconverged

import mcmc

FOLDER = Path(__file__).parents[2] / "examples"
GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
NEEDS = {
    "predator_prey": "diffrax",
    "logistic_regression": "sklearn",
    "vae": "optax",
    "characters": "optax",
    "diffusion": "optax",
}
NAMES = (
    "predator_prey",
    "line_with_outliers",
    "logistic_regression",
    "hierarchical",
    "centred_hierarchy",
    "gaussian_process",
    "change_point",
    "light_curves",
    "inverse_cdf",
    "rejection",
    "temperature",
    "vae",
    "characters",
    "diffusion",
)


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    return load(FOLDER / f"{name}.py")


def run(module, folder, **settings):
    """The example's draws and table, with its picture checked."""
    with unconverged():
        draws, table = module.run(folder, seed=3, **{"chains": 32, "draws": 120, "progress": False, **settings})
    picture = folder / f"{module.NAME}.png"
    assert 10_000 < picture.stat().st_size < 150_000
    assert np.isfinite(table.to_numpy()).all()
    for values in draws["posterior"].data_vars.values():
        assert np.isfinite(values).all()
    return draws, table


def same_moments(draws, table, mean="exact mean", sd="exact sd", size=None):
    """Means and standard deviations within 5 Monte Carlo errors of the table's other answer, of `size` draws."""
    tree = mcmc.diagnose(draws).table
    for name, row in table.iterrows():
        rest = row[sd] / np.sqrt(size) if size else 0.0
        assert tree.loc[name, "mcse_mean"] < 0.2 * row[sd], f"{name}: the run says nothing"
        assert abs(row["mean"] - row[mean]) < 5 * np.hypot(tree.loc[name, "mcse_mean"], rest), name
        assert abs(row["sd"] - row[sd]) < 5 * np.hypot(tree.loc[name, "mcse_sd"], rest), name


def follows_its_density(target, draws):
    """With g the gradient of the log density at y: E[g] = 0 and E[y g] = -1, whatever the density (Stein)."""
    posterior = draws["posterior"]
    shape = posterior.sizes["chain"], posterior.sizes["draw"]
    p = {name: posterior[name].values.reshape(-1, *posterior[name].shape[2:]) for name in target.names}
    with jax.enable_x64(True):
        data = jax.tree.map(jnp.asarray, target.data)

        def position_and_gradient(p):
            y = target.unconstrain(p, jnp.float64)
            return y, jax.grad(lambda y: target.value(y, data))(y)

        y, g = jax.jit(jax.vmap(position_and_gradient))(p)
    y, g = (np.asarray(a).reshape(*shape, target.dim) for a in (y, g))
    spread = y - y.mean((0, 1))
    for x, expected in ((g, 0.0), (spread * g, -1.0)):
        off = np.abs(x.mean((0, 1)) - expected) / mcmc.mcse(x)
        assert np.all(off < 5), off


@pytest.mark.slow
def test_predator_and_prey_agree_with_the_published_draws(tmp_path):
    module = example("predator_prey")
    draws, table = run(module, tmp_path)
    same_moments(draws, table, "reference mean", "reference sd", size=5000)


@pytest.mark.slow
def test_the_change_point_agrees_with_sums_over_the_years(tmp_path):
    same_moments(*run(example("change_point"), tmp_path))


def test_fixed_steps_solve_the_equations():
    diffrax = pytest.importorskip("diffrax")
    module = example("predator_prey")
    with jax.enable_x64(True):
        p = {name: jnp.asarray(value) for name, value in module.START.items()}
        times = jnp.arange(21.0)
        exact = diffrax.diffeqsolve(
            diffrax.ODETerm(module.growth),
            diffrax.Dopri8(),
            t0=0.0,
            t1=20.0,
            dt0=0.01,
            y0=jnp.log(p["initial"]),
            args=p,
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
        ).ys
        assert np.max(np.abs(module.log_populations(p, times) - exact)) < 1e-5


def test_the_line_finds_its_outliers(tmp_path):
    module = example("line_with_outliers")
    draws, table = run(module, tmp_path, draws=200)
    wrong = draws["posterior"]["wrong"].mean(("chain", "draw")).values
    assert list(np.flatnonzero(wrong > 0.5) + 1) == [2, 3, 4]
    follows_its_density(module.target, draws)
    without, everything = table.iloc[1].round(2), table.iloc[2].round(2)
    assert list(without)[:2] == [2.24, 0.11]  # the paper's exercise 1: m = 2.24 ± 0.11, b = 34 ± 18
    assert list(without.round(0))[2:] == [34, 18]
    assert list(everything)[:2] == [1.08, 0.08]  # exercise 2: m = 1.08 ± 0.08, b = 213 ± 14
    assert list(everything.round(0))[2:] == [213, 14]
    assert abs(table.iloc[0]["m"] - 2.24) < 0.2


def test_logistic_regression_is_the_posterior_around_scikit_learns_fit(tmp_path):
    module = example("logistic_regression")
    draws, table = run(module, tmp_path)
    follows_its_density(module.target, draws)
    fit = module.LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(module.X, module.Y)
    assert module.slope_at(fit) < 1e-4
    assert table.loc["posterior", "accuracy"] > 0.95
    assert table.loc["posterior", "log loss"] < 0.5 * table.loc["share of malignant", "log loss"]


def test_rats_agree_with_sums_over_a_grid(tmp_path):
    module = example("hierarchical")
    draws, table = run(module, tmp_path)
    same_moments(draws, table)
    assert abs(module.exact()["mu_beta"][0] - 6.186) < 0.01  # BUGS: 6.186 ± 0.11, with flat priors
    new = draws["posterior_predictive"]["new_rat"].values
    assert np.all(np.abs(new.mean((0, 1)) - module.WEIGHT.mean(0)) < 12)


def test_a_centred_hierarchy_agrees_with_sums_over_a_grid(tmp_path, capsys):
    module = example("centred_hierarchy")
    draws, table = run(module, tmp_path)
    same_moments(draws, table)
    assert "log tau scales theta[0..7], mu shifts them" in draws.attrs["geometry"]
    assert draws.attrs["geometry"] in capsys.readouterr().out


@pytest.mark.slow
def test_nile_agrees_with_quadrature(tmp_path):
    module = example("gaussian_process")
    assert module.FLOW.sum() == 91_935
    draws, table = run(module, tmp_path, chains=24, draws=100)
    same_moments(draws, table)


def test_inverse_cdf(tmp_path):
    same_moments(*run(example("inverse_cdf"), tmp_path))


@pytest.mark.slow
def test_an_autoencoder_learns_and_its_bound_is_one(tmp_path, capsys, monkeypatch):
    module = example("vae")
    images = module.IMAGES[module.ORDER]
    for name, part in (("TRAIN", images[:800]), ("TEST", images[800:1600])):  # equal shapes, compiled once
        monkeypatch.setattr(module, name, part)
    _, table = module.run(tmp_path, seed=3, epochs=40)
    assert (table[["KL of style", "KL of kind"]] > 0).all(axis=None)
    assert table.loc["held-out images", "bound"] > module.independent_pixels() + 30
    assert "\nGood" in capsys.readouterr().out
    assert 10_000 < (tmp_path / "vae.png").stat().st_size < 150_000


@pytest.mark.slow
def test_text_is_drawn_of_what_each_filter_keeps(tmp_path, capsys):
    texts, table = example("characters").run(tmp_path, seed=3, steps=600, length=40)
    assert {len(text) for text in texts.values()} == {56}
    assert table.loc["none", "kept, mean"] > table.loc["top-k 5", "kept, most"] == 5
    assert "\nGood" in capsys.readouterr().out
    assert 10_000 < (tmp_path / "characters.png").stat().st_size < 150_000


@pytest.mark.slow
def test_the_chain_of_diffusion_carries_gradients(tmp_path, capsys):
    images, _ = example("diffusion").run(tmp_path, seed=3, epochs=8)
    assert np.isfinite(images).all()
    by_gradient, by_difference = map(float, re.findall(r"(-?[\d.]+) by", capsys.readouterr().out))
    assert abs(by_gradient - by_difference) < 0.1 * abs(by_difference) + 1e-4
    assert 10_000 < (tmp_path / "diffusion.png").stat().st_size < 150_000


@pytest.mark.parametrize("name", NAMES)
def test_pages_show_the_code_of_the_examples(name):
    build = load(GALLERY / "build.py")
    page = (GALLERY / f"{name}.md").read_text()
    blocks = [match.groups() for match in build.BLOCK.finditer(page)]
    assert [arguments for _, kind, arguments, _ in blocks if kind == "output"] == [name]
    for match in build.BLOCK.finditer(page):
        if match.group(2) == "code":
            of, *wanted = match.group(3).split()
            assert build.code(of, wanted) in match.group(0), "run docs/gallery/build.py"
    assert (GALLERY / "images" / f"{name}.png").stat().st_size < 150_000


@pytest.mark.slow
def test_calibration_finds_the_mistake_and_nothing_else(tmp_path):
    found = example("calibration").main(tmp_path, simulations=12)
    assert found["sbc"][0].ok
    assert "tau" in found["sbc_wrong"][0].failing
    assert all((tmp_path / f"{name}.png").stat().st_size > 10_000 for name in found)
