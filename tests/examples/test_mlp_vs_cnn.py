"""The perceptron and the convolutional network: sizes, scores, a short run, and draws that follow their density."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from runs import unconverged
from test_gallery import load

import mcmc

pytest.importorskip("sklearn")
FILE = Path(__file__).parents[2] / "examples" / "mlp_vs_cnn.py"
GALLERY = FILE.parents[1] / "docs" / "gallery"
STEPS, SEED = 300, 3


@pytest.fixture(scope="module")
def example():
    return load(FILE)


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 4), st.integers(0, 3))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_the_formula_gives_the_size_that_comes_out(example, size, filter_size, stride, padding):
    assume(filter_size <= size + 2 * padding)
    places = len(range(0, size + 2 * padding - filter_size + 1, stride))
    x, kernel = jnp.zeros((2, 3, size, size)), jnp.zeros((4, 3, filter_size, filter_size))
    out = jax.eval_shape(lambda x, kernel: example.convolve(x, kernel, stride, padding), x, kernel)
    assert example.output_size(size, filter_size, stride, padding) == places
    assert out.shape == (2, 4, places, places)


@pytest.mark.parametrize(("size", "filter_size", "stride", "padding"), [(5, 3, 1, 1), (6, 3, 2, 1), (4, 2, 2, 0)])
def test_a_convolution_is_the_sum_over_each_window(example, size, filter_size, stride, padding):
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(2, 3, size, size)), random.normal(size=(4, 3, filter_size, filter_size))
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    side = example.output_size(size, filter_size, stride, padding)
    expected = np.zeros((2, 4, side, side))
    for i, j in np.ndindex(side, side):
        rows, columns = (slice(k * stride, k * stride + filter_size) for k in (i, j))
        expected[:, :, i, j] = np.einsum("ncab,fcab->nf", padded[:, :, rows, columns], kernel)
    with jax.enable_x64(True):
        found = example.convolve(jnp.asarray(x), jnp.asarray(kernel), stride, padding)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_filter_larger_than_the_padded_side_is_refused(example):
    assert example.output_size(2, 4, 1, 1) == 1
    with pytest.raises(ValueError, match="filter_size is 5; expected at most 4"):
        example.output_size(2, 5, 1, 1)


def test_the_split_is_fixed_and_complete(example):
    assert len(example.X) == 300
    assert len(example.X_NEW) == 1497
    assert set(np.bincount(example.Y)) <= {29, 30, 31}
    rows = np.concatenate([example.X, example.X_NEW]).reshape(1797, -1)
    every = example.load_digits().data / 16
    assert sorted(map(bytes, rows)) == sorted(map(bytes, every))


def test_scores_of_known_probabilities(example):
    y, n = example.Y_NEW, len(example.Y_NEW)
    sure = example.scores(np.eye(10)[y])
    assert sure == {"accuracy": 1, "log loss": 0, "Brier score": 0, "calibration error": 0}
    ignorant = example.scores(np.full((n, 10), 0.1))
    assert ignorant["log loss"] == pytest.approx(np.log(10))
    assert ignorant["Brier score"] == pytest.approx(0.9)
    assert ignorant["calibration error"] == pytest.approx(abs(0.1 - np.mean(y == 0)))
    half = 0.5 * np.eye(10)[y] + 0.5 * np.eye(10)[(y + 1) % 10]
    half[: n // 2] = half[: n // 2] * [0.999] + 0.001 * np.eye(10)[y[: n // 2]]
    half[n // 2 :] = half[n // 2 :] * [0.999] + 0.001 * np.eye(10)[(y[n // 2 :] + 1) % 10]
    assert example.scores(half)["calibration error"] < 2e-3  # half right, and says so


def test_the_monte_carlo_error_is_the_spread_of_repeats(example):
    random = np.random.default_rng(1)
    centre = random.dirichlet(np.ones(10), len(example.Y_NEW)) + 0.05
    runs = []
    for _ in range(60):
        shift = 0.1 * random.uniform(size=(20, 1, 1)) * np.eye(10)[example.Y_NEW]
        p = centre + shift
        runs.append((example.log_losses(p.mean(0)).mean(), example.monte_carlo_error(p)))
    losses, errors = np.array(runs).T
    assert errors.mean() == pytest.approx(losses.std(ddof=1), rel=0.35)  # 60 repeats know it to 9 %
    assert example.monte_carlo_error(np.repeat(centre[None], 4, axis=0)) < 1e-12


def test_training_finds_a_known_minimum(example):
    goal = jnp.array([1.0, -2.0])
    p = example.train(
        lambda p: jnp.sum((p["x"] - goal) ** 2 * jnp.array([1.0, 30.0])), {"x": jnp.zeros(2)}, 800, 0.05, "", False
    )
    np.testing.assert_allclose(p["x"], goal, atol=1e-3)


@pytest.mark.slow
def test_networks_learn_and_posteriors_predict_no_worse_than_trained_weights(example, tmp_path, monkeypatch):
    for name, smaller in {"INPUTS": 8, "LAYERS": ((6, 3, 1, 1), (8, 3, 2, 1), (3, 3, 1, 0))}.items():
        monkeypatch.setattr(example, name, smaller)
    monkeypatch.setattr(example, "train_both", functools.cache(example.train_both))  # the run's networks, once more
    with unconverged():
        settings = {"chains": 32, "warmup": 80, "draws": 30, "progress": False}
        draws, table, errors = example.run(tmp_path, seed=SEED, steps=STEPS, **settings)
    assert np.isfinite(table.to_numpy()).all()
    assert (table["accuracy"] > 0.8).all()
    for net in ("MLP", "CNN"):
        loss = table["log loss"]
        assert 0 < errors[net] < 0.02
        assert loss[f"{net}, posterior"] < loss[f"{net}, trained"] + 3 * errors[net]
        assert loss[f"{net}, posterior"] < 0.6
        what_the_weights_say_can_be_judged(example, draws[net])
    assert not mcmc.diagnose(draws["MLP"]).ok  # hidden units can be exchanged: chains differ, and the verdict says so
    the_last_layer_follows_its_density(example, draws["CNN"])
    assert 20_000 < (tmp_path / f"{example.NAME}.png").stat().st_size < 150_000


def what_the_weights_say_can_be_judged(example, draws):
    judged = mcmc.diagnose(example.functions_only(draws))
    assert len(judged.labels) == 1 + example.RECORDED
    assert judged["nested_rhat"].made
    assert judged["astray_chain"].passed
    assert judged.table.loc["log_loss", "mcse_mean"] < 0.2 * judged.table.loc["log_loss", "sd"]


def the_last_layer_follows_its_density(example, draws):
    """With g the gradient of the log density: E[g] = 0 and E[(w - E[w]) g] = -1 (Stein)."""
    _, parts = example.train_both(SEED, STEPS, False)
    net, p, x, x_new = parts["CNN"]
    target = example.target_of(net, p, x, x_new)
    w = {name: draws["posterior"][name].values for name in p}
    with jax.enable_x64(True):
        data = {name: jnp.asarray(value) for name, value in target.data.items()}
        slope = jax.jit(jax.vmap(jax.vmap(jax.grad(lambda p: target.log_density(p, data)))))
        g = {name: np.asarray(value) for name, value in slope(w).items()}
    for name in w:
        spread = w[name] - w[name].mean((0, 1))
        for values, expected in ((g[name], 0.0), (spread * g[name], -1.0)):
            off = np.abs(values.mean((0, 1)) - expected) / mcmc.mcse(values)
            assert np.all(off < 5), (name, off.max())


def test_the_page_shows_the_code_of_the_example(example):
    build = load(GALLERY / "build.py")
    page = (GALLERY / f"{example.NAME}.md").read_text()
    kinds = [match.group(2) for match in build.BLOCK.finditer(page)]
    assert kinds.count("output") == 1
    for match in build.BLOCK.finditer(page):
        if match.group(2) == "code":
            of, *wanted = match.group(3).split()
            assert build.code(of, wanted) in match.group(0), "run docs/gallery/build.py"
    assert (GALLERY / "images" / f"{example.NAME}.png").stat().st_size < 150_000
