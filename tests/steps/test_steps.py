"""The steps of samplers are those that the samplers make; pictures and animations of them."""

import doctest
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import mcmc
from mcmc.steps.plot import shown_steps

KEY = jax.random.key(3)
INF = float("inf")
GAMMA = mcmc.Rejection.fit(lambda x: 1.5 * jnp.log(x) - x, (0.0, INF))
NORMAL = mcmc.InverseCDF.fit(lambda x: -0.5 * x**2, (-INF, INF))


def hill(x):
    return -0.5 * jnp.sum((x - 1.0) ** 2)


class Box:
    """Uniform on (-2, 4), or on a square."""

    def __init__(self, event=()):
        self.event = event

    def sample(self, key, shape=()):
        return jax.random.uniform(key, (*shape, *self.event), minval=-2.0, maxval=4.0)

    def log_prob(self, x):
        return jnp.sum(0.0 * x - np.log(6.0))


class Drift:
    """A proposal that is not symmetric: x' ~ N(x + 1, 1)."""

    def sample(self, key, given):
        return given + 1.0 + jax.random.normal(key, given.shape)

    def log_prob(self, to, given):
        return -0.5 * (to - given - 1.0) ** 2


OWN = mcmc.Rejection(hill, Box(), np.log(6.0))


@pytest.mark.parametrize("sampler", [GAMMA, OWN], ids=["fitted", "own"])
def test_rejection_keeps_what_sample_returns_and_says_why(sampler):
    steps = sampler.steps(KEY, 50)
    assert all(isinstance(a, np.ndarray) for a in steps)
    np.testing.assert_array_equal(steps.proposal[steps.accepted], sampler.sample(KEY, (50,)))
    np.testing.assert_array_equal(steps.accepted, np.log(steps.uniform) < steps.log_density - steps.log_envelope)
    np.testing.assert_allclose(steps.ratio, np.exp(steps.log_density - steps.log_envelope), rtol=1e-5)
    np.testing.assert_allclose(steps.log_density, jax.vmap(sampler.log_density)(steps.proposal), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        steps.log_envelope, sampler.log_bound + jax.vmap(sampler.proposal.log_prob)(steps.proposal), atol=1e-4
    )
    assert steps.accepted[-1]
    assert steps.accepted.sum() == 50
    assert np.all(steps.grid_log_density <= steps.grid_log_envelope + 1e-5)


def test_an_envelope_that_is_too_low_is_seen():
    steps = mcmc.Rejection(hill, Box(), np.log(6.0) - 0.5).steps(KEY, 50)
    np.testing.assert_allclose(steps.ratio.max(), np.exp(0.5), rtol=0.02)


@pytest.mark.parametrize(
    ("kernel", "start"),
    [
        (mcmc.RandomWalk(step_size=1.5), 0.0),
        (mcmc.RandomWalk(step_size=1.5, metric=[1.0, 4.0]), [0.0, 2.0]),
        (mcmc.MetropolisHastings(Drift()), 0.0),
        (mcmc.IndependentMetropolis(Box()), 0.5),
    ],
    ids=["walk", "plane", "drift", "independent"],
)
def test_metropolis_steps_are_those_of_the_kernel(kernel, start):
    steps = kernel.steps(KEY, hill, start, 40)
    assert all(isinstance(a, np.ndarray) for a in steps)
    shape = np.shape(start)
    assert steps.position.shape == (41, *shape)
    assert steps.proposal.shape == (40, *shape)
    np.testing.assert_array_equal(steps.position[0], start)
    np.testing.assert_array_equal(steps.accepted, steps.uniform < steps.ratio)
    moved = steps.accepted.reshape(-1, *[1] * len(shape))
    np.testing.assert_array_equal(steps.position[1:], np.where(moved, steps.proposal, steps.position[:-1]))
    np.testing.assert_allclose(steps.ratio, np.minimum(1, np.exp(steps.log_ratio)), rtol=1e-5)
    change = steps.proposal_log_density - steps.log_density[:-1]
    if isinstance(kernel.__dict__.get("proposal"), Drift):  # q(x | x') / q(x' | x)
        change = change - 2 * (steps.proposal - steps.position[:-1])
    np.testing.assert_allclose(steps.log_ratio, change, atol=1e-4)
    assert 0 < steps.accepted.sum() < 40


def test_a_walk_steps_as_in_a_run():
    kernel = mcmc.RandomWalk(step_size=1.5, metric=[1.0, 4.0])
    steps = kernel.steps(KEY, hill, [0.0, 2.0], 5)
    state = kernel.init(jnp.array([0.0, 2.0]), hill)
    step = jax.jit(lambda key, state: kernel.step(key, state, hill)[0])
    for k in range(5):
        state = step(jax.random.fold_in(KEY, k), state)
        np.testing.assert_allclose(state.position, steps.position[k + 1], rtol=1e-6)


@pytest.mark.parametrize(
    "sampler",
    [
        NORMAL,
        mcmc.InverseCDF.from_histogram([1.0, 0.0, 3.0], [0.0, 1.0, 2.0, 4.0]),
        mcmc.InverseCDF.from_cdf(lambda x: 1 - jnp.exp(-x), (0.0, INF)),
    ],
    ids=["fitted", "histogram", "from_cdf"],
)
def test_inverse_cdf_steps_are_its_draws(sampler):
    steps = sampler.steps(KEY, 40)
    assert all(isinstance(a, np.ndarray) for a in steps)
    np.testing.assert_array_equal(steps.x, sampler.sample(KEY, (40,)))
    np.testing.assert_allclose(steps.cdf, steps.uniform, atol=1e-6)
    assert np.all((steps.low <= steps.x) & (steps.x <= steps.high))
    assert np.all(np.diff(steps.grid_cdf) >= 0)


def test_panels_hold_their_uniforms():
    steps = NORMAL.steps(KEY, 40)
    cdf = jax.jit(NORMAL.cdf)
    below, above = (np.asarray(cdf(end.astype(np.float32))) for end in (steps.low, steps.high))
    assert np.all((below <= steps.uniform + 1e-6) & (steps.uniform <= above + 1e-6))
    assert np.all(above - below < 0.2)


@pytest.mark.parametrize("name", ["rejection", "disc", "walk", "plane", "inverse"])
def test_pictures(name, tmp_path):
    steps = {
        "rejection": lambda: OWN.steps(KEY, 10),
        "disc": lambda: mcmc.Rejection(hill, Box((2,)), 2 * np.log(6.0)).steps(KEY, 10),
        "walk": lambda: mcmc.RandomWalk(step_size=1.5).steps(KEY, hill, 0.0, 10),
        "plane": lambda: mcmc.RandomWalk(step_size=1.5).steps(KEY, hill, [0.0, 0.0], 10),
        "inverse": lambda: NORMAL.steps(KEY, 10),
    }[name]()
    figure = mcmc.plot_steps(steps, tmp_path / "steps.png")
    assert isinstance(figure, Figure)
    assert (tmp_path / "steps.png").stat().st_size > 8_000
    words = " ".join(text.get_text() for text in figure.axes[2].texts)
    decided = {"disc": steps[5], "rejection": steps[5], "inverse": [True]}.get(name, getattr(steps, "accepted", None))
    assert ("reject" in words) == (not decided[-1])
    assert ("every u" in words) == (name == "inverse")


def test_animations_show_the_first_steps_one_by_one(tmp_path):
    steps = OWN.steps(KEY, 8)
    mcmc.plot_steps(steps, tmp_path / "steps.gif", frames=3)
    with Image.open(tmp_path / "steps.gif") as image:
        assert image.n_frames == len(shown_steps(len(steps.proposal), 3)) == 3
    mcmc.plot_steps(NORMAL.steps(KEY, 4), tmp_path / "steps.html", frames=2)
    page = (tmp_path / "steps.html").read_text()
    assert page.count("data:image/png") == 2
    assert "<script" in page
    assert shown_steps(5, 40) == [1, 2, 3, 4, 5]
    many = shown_steps(1000, 40)
    assert many[:3] == [1, 2, 3]
    assert many[-1] == 1000
    assert np.all(np.diff(many) > 0)


BAD = [
    (lambda: GAMMA.steps(KEY, 0), ValueError, "n: got 0"),
    (lambda: NORMAL.steps(KEY, 20_000), ValueError, "n: got 20000"),
    (lambda: mcmc.RandomWalk().steps(KEY, hill, np.nan, 5), ValueError, "start: got"),
    (lambda: mcmc.RandomWalk().steps(KEY, hill, np.zeros((2, 2)), 5), ValueError, "start: got shape"),
    (lambda: mcmc.RandomWalk().steps(KEY, lambda x: x, np.zeros(2), 5), ValueError, "log_density: got shape"),
    (lambda: mcmc.RandomWalk().steps(KEY, 3.0, 0.0, 5), TypeError, "log_density: got"),
    (lambda: mcmc.plot_steps(np.zeros(3)), TypeError, "steps: got 'ndarray'"),
    (lambda: mcmc.plot_steps(NORMAL.steps(KEY, 2), "steps.mp4"), ValueError, "path: got"),
    (lambda: mcmc.plot_steps(NORMAL.steps(KEY, 2), "steps.gif", frames=0), ValueError, "frames: got 0"),
    (lambda: mcmc.plot_steps(mcmc.RandomWalk().steps(KEY, hill, np.zeros(3), 5)), ValueError, r"steps: got.*\(3,\)"),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD)
def test_bad_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize("file", ["steps.plot", "kernels.metropolis"])
def test_examples(file):
    found = doctest.testmod(importlib.import_module(f"mcmc.{file}"))
    assert found.attempted > 0
    assert found.failed == 0
