"""Simulation-based calibration: the band holds what it promises, right samplers pass and wrong ones fail."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mcmc
from mcmc.calibration import datasets
from mcmc.calibration.sbc import Calibration, rank_band, rank_p_value, sbc
from mcmc.each import batch as each_batch
from mcmc.each import batches
from mcmc.kernels.metropolis import ChainState, move
from mcmc.random.draws import symmetric_normal
from mcmc.warmup import starts
from mcmc.warmup.pathfinder import pathfinders


def test_the_band_holds_uniform_ranks_as_often_as_promised():
    rng = np.random.default_rng(1)
    simulations, of, level = 150, 64, 0.1
    points, low, high = rank_band(simulations, of, level)
    outside = 0
    for _ in range(400):
        ranks = rng.integers(0, of + 1, simulations)
        ecdf = np.array([(ranks < k).mean() for k in range(1, of + 1)])
        outside += bool(((ecdf < low - 1e-12) | (ecdf > high + 1e-12)).any())
    assert 0.05 < outside / 400 < 0.15  # 0.1, with an error of 0.015 each in test and band
    np.testing.assert_allclose(points, np.arange(1, 65) / 65)


@pytest.mark.parametrize(("scale", "shift"), [(0.5, 0.0), (2.0, 0.0), (1.0, 0.6)])
def test_ranks_that_are_not_uniform_have_small_p_values(scale, shift):
    rng = np.random.default_rng(2)
    true, drawn = rng.normal(size=(200, 1)), scale * rng.normal(size=(200, 64)) + shift
    assert rank_p_value((drawn < true).sum(axis=1), 64) < 0.01
    right = rng.normal(size=(200, 64))
    assert rank_p_value((right < true).sum(axis=1), 64) > 0.01


def test_a_calibration_says_what_fails_and_draws_it(tmp_path):
    rng = np.random.default_rng(3)
    ranks = np.stack([rng.integers(0, 65, 100), rng.integers(30, 65, 100)], axis=1)
    p_values = np.array([rank_p_value(r, 64) for r in ranks.T])
    found = Calibration(("good", "bad"), ranks, 64, 0.01, p_values, unconverged=3)
    assert not found.ok
    assert found.failing == ("bad",)
    assert "Not calibrated: bad" in str(found)
    assert "3 of the runs" in str(found)
    found.plot(tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 5000


def prior(key):
    first, second = jax.random.split(key)
    return {"mu": jax.random.normal(first), "s": jax.random.exponential(second)}


def simulate(key, p, forgotten=0.0):
    return {"y": p["mu"] + p["s"] * jax.random.normal(key, (8,)), "forgotten": forgotten}


def log_density(p, data):
    likelihood = -0.5 * ((data["y"] - p["mu"]) / p["s"]) ** 2 - jnp.log(p["s"])
    return -0.5 * p["mu"] ** 2 - p["s"] + likelihood.sum() + data["forgotten"] * jnp.log(p["s"])


SCALE = mcmc.Target(  # one Target, so that tests share its compiled programs
    log_density, {"mu": mcmc.real(), "s": mcmc.positive()}, data={"y": np.zeros(8), "forgotten": 0.0}
)


# --- a model without trouble, on which runs are short -------------------------------------------------------


def easy_prior(key):
    return {"mu": jax.random.normal(key, (2,))}


def given(y, wall=np.inf, beyond=0.0):
    """Data of the model below; above the wall its log density is `beyond`."""
    return {"y": y, "wall": wall, "beyond": beyond}


def easy_simulate(key, p):
    return given(p["mu"] + jax.random.normal(key, (3, 2)))


def easy_density(p, data):
    lp = -0.5 * (p["mu"] ** 2).sum() - 0.5 * ((data["y"] - p["mu"]) ** 2).sum()
    return jnp.where(p["mu"][0] > data["wall"], data["beyond"], lp)


EASY = mcmc.Target(easy_density, {"mu": mcmc.real(2)}, data=given(np.zeros((3, 2))))
SHORT = {"simulations": 10, "chains": 16, "draws": 8, "warmup": 60, "progress": False}


def alone(monkeypatch):
    monkeypatch.setattr(datasets, "_why_apart", lambda *_: "the test asks for it")


@pytest.mark.parametrize("kernel", [mcmc.RandomWalk(), mcmc.HMC()], ids=["random walk", "HMC"])
def test_together_gives_the_ranks_of_one_run_after_the_other(kernel, monkeypatch):
    together = sbc(easy_prior, easy_simulate, EASY, kernel=kernel, **SHORT)
    alone(monkeypatch)
    one_by_one = sbc(easy_prior, easy_simulate, EASY, kernel=kernel, **SHORT)
    np.testing.assert_array_equal(together.ranks, one_by_one.ranks)
    assert together.unconverged == one_by_one.unconverged
    assert together.labels == one_by_one.labels == ("mu[0]", "mu[1]")
    assert len(np.unique(together.ranks)) > 5


def test_how_many_data_sets_go_together_does_not_matter_and_memory_bounds_it(monkeypatch):
    settings = SHORT | {"kernel": mcmc.RandomWalk()}
    together = sbc(easy_prior, easy_simulate, EASY, **settings)
    draw = each_batch.Batch.draw
    for name, value in (("MOST_SETS", 3), ("BATCH_BYTES", 100_000)):
        sizes = []
        with monkeypatch.context() as patch:
            patch.setattr(
                each_batch.Batch,
                "draw",
                lambda self, warmed, sizes=sizes: (sizes.append(self.size), draw(self, warmed))[1],
            )
            patch.setattr(batches, name, value)  # several batches, the last of fewer data sets
            smaller = sbc(easy_prior, easy_simulate, EASY, **settings)
        assert max(sizes) <= 3
        assert sum(sizes) >= 10
        np.testing.assert_array_equal(together.ranks, smaller.ranks)
        assert together.unconverged == smaller.unconverged


def test_a_numpy_simulator_is_called_for_each_data_set_and_runs_go_together(capsys):
    def plain(key, p):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        return given(rng.normal(p["mu"], size=(3, 2)))

    settings = SHORT | {"kernel": mcmc.RandomWalk()}
    found = sbc(easy_prior, plain, EASY, **settings | {"progress": True})
    said = capsys.readouterr().err
    assert "simulated one by one" in said
    assert "runs are made one by one" not in said
    assert found.ranks.shape == (10, 2)
    again = sbc(easy_prior, plain, EASY, **settings)
    np.testing.assert_array_equal(found.ranks, again.ranks)


def test_random_numbers_of_its_own_are_not_compiled_into_a_simulator(capsys):
    rng = np.random.default_rng(0)
    noise = []

    def hidden(key, p):
        noise.append(rng.normal(size=(3, 2)))
        return given(p["mu"] + noise[-1])

    sbc(easy_prior, hidden, EASY, kernel=mcmc.RandomWalk(), **SHORT | {"progress": True})
    assert "random numbers other than" in capsys.readouterr().err
    assert len(noise) >= 10


def test_data_sets_of_different_shapes_run_one_after_the_other(capsys):
    def ragged(key, p):
        n = 2 + int(jax.random.randint(key, (), 0, 2))
        return given(p["mu"] + jax.random.normal(key, (n, 2)))

    found = sbc(easy_prior, ragged, EASY, kernel=mcmc.RandomWalk(), **SHORT | {"progress": True})
    assert "different shapes" in capsys.readouterr().err
    assert found.ranks.shape == (10, 2)


def test_a_black_box_runs_one_data_set_after_the_other(capsys):
    def density(p, data):
        return float(-0.5 * (p["mu"] ** 2).sum() - 0.5 * ((data["y"] - p["mu"]) ** 2).sum())

    target = mcmc.Target.black_box(density, {"mu": mcmc.real(2)}, data=given(np.zeros((3, 2))))
    settings = SHORT | {"kernel": mcmc.RandomWalk(), "progress": True}
    found = sbc(easy_prior, easy_simulate, target, **settings)
    assert "black box" in capsys.readouterr().err
    same = sbc(easy_prior, easy_simulate, EASY, **settings)
    assert np.mean(found.ranks == same.ranks) > 0.9


def test_nested_and_derived_names_are_ranked():
    target = mcmc.Target(
        lambda p, y: -0.5 * (p["a"]["b"] ** 2 + (y - p["a"]["b"]) ** 2),
        {"a": {"b": mcmc.real()}}, data=0.0, derived=lambda p, y: {"gap": y - p["a"]["b"]},
    )  # fmt: skip
    found = sbc(
        lambda key: {"a": {"b": jax.random.normal(key)}},
        lambda key, p: p["a"]["b"] + jax.random.normal(key), target, kernel=mcmc.RandomWalk(), **SHORT,
    )  # fmt: skip
    assert found.labels == ("a.b",)


def test_optimised_starts_are_draws_from_a_normal_posterior():
    rng = np.random.default_rng(0)
    centres, scales = rng.normal(size=(3, 1, 4)) * 5, np.exp(rng.normal(size=(3, 1, 4)))

    def evaluate(x):
        z = (x - centres) / scales
        return -0.5 * (z**2).sum(-1), -z / scales

    starts = rng.uniform(-2, 2, size=(3, 400, 4))
    ends = pathfinders(starts, evaluate, [np.random.default_rng(i) for i in range(3)])
    z = (ends - centres) / scales
    np.testing.assert_allclose(z.mean(1), 0, atol=4.5 / 400**0.5)
    np.testing.assert_allclose((z**2).mean(1), 1, atol=4.5 * (2 / 400) ** 0.5)
    cliff = pathfinders(starts, lambda x: (np.zeros(x.shape[:2]), np.zeros_like(x)), [np.random.default_rng(0)] * 3)
    np.testing.assert_array_equal(cliff, starts)  # nothing to climb


# --- our kernels, and wrong ones ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [
        None,
        mcmc.NUTS(),
        mcmc.RandomWalk(),
        mcmc.MALA(),
        mcmc.Multiscale(max_steps=8),
        mcmc.Barker(),
        mcmc.MAMS(),
        mcmc.Slice(),
        mcmc.EllipticalSlice([1.0, 0.25]),
        mcmc.Stretch(),
        mcmc.DifferentialEvolution(),
        mcmc.Walk(),
        mcmc.KDE(),
        mcmc.Mixture([mcmc.MALA(), mcmc.RandomWalk()]),
        mcmc.Mixture([mcmc.Stretch(), mcmc.KDE()], [2, 1]),
    ],
    ids=lambda kernel: str(kernel).partition("(")[0] if not isinstance(kernel, mcmc.Mixture) else "Mixture",
)
def test_our_kernels_are_calibrated(kernel):
    settings = {"simulations": 64, "chains": 32, "draws": 6, "progress": False}
    found = sbc(prior, simulate, SCALE, kernel=kernel, **settings)
    assert found.ok, str(found)
    assert found.labels == ("mu", "s")
    assert found.ranks.shape == (64, 2)


@pytest.mark.slow
def test_gibbs_with_a_discrete_parameter_is_calibrated():
    def of_prior(key):
        first, second = jax.random.split(key)
        return {"k": jax.random.randint(first, (), 0, 4), "mu": jax.random.normal(second)}

    def density(p, y):
        return -0.5 * p["mu"] ** 2 - 0.5 * ((y - p["mu"] - p["k"]) ** 2).sum()

    target = mcmc.Target(density, {"k": mcmc.integer(0, 3), "mu": mcmc.real()}, data=jnp.zeros(4))

    def of_data(key, p):
        return p["mu"] + p["k"] + jax.random.normal(key, (4,))

    found = sbc(of_prior, of_data, target, simulations=100, chains=32, draws=6, seed=1, progress=False)
    assert found.ok, str(found)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WrongWalk:
    """A random walk that is wrong: its steps tend one way, uncorrected, or it accepts with another probability."""

    drift: Any = 0.0
    power: Any = 1.0
    needs_gradient: ClassVar[bool] = False
    takes_discrete: ClassVar[bool] = False

    def init(self, position, log_density):
        return ChainState(position, log_density(position))

    def step(self, key, state, log_density):
        to = state.position + 0.5 * (symmetric_normal(key, state.position.shape, state.position.dtype) + self.drift)
        lp = log_density(to)
        return move(key, state, to, lp, (self.power - 1.0) * (lp - state.lp))


@pytest.mark.slow
def test_wrong_kernels_are_found():
    def found_of(kernel):
        settings = {"simulations": 100, "chains": 40, "draws": 10, "warmup": 300, "progress": False}
        return sbc(easy_prior, easy_simulate, EASY, kernel=kernel, **settings)

    right, asymmetric, too_bold = found_of(WrongWalk()), found_of(WrongWalk(drift=0.3)), found_of(WrongWalk(power=0.4))
    assert right.ok, str(right)
    assert set(asymmetric.failing) == {"mu[0]", "mu[1]"}, str(asymmetric)
    assert set(too_bold.failing) == {"mu[0]", "mu[1]"}, str(too_bold)


@pytest.mark.slow
def test_a_wrong_density_is_found():
    def with_4(key, p):  # of which the density leaves out the log of the scale, half of the observations
        return simulate(key, p, 4.0)

    found = sbc(prior, with_4, SCALE, simulations=64, chains=32, draws=6, progress=False)
    assert "s" in found.failing


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{"simulations": 3}, {"simulations": True}, {"chains": 1}, {"draws": 0}, {"level": 2.0}, {"seed": 0.5}],
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises((ValueError, TypeError), match=next(iter(arguments))):
        sbc(prior, simulate, SCALE, **arguments)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"nu": 0.0}, "Name them alike"),
        ({"mu": 0.0}, "s missing"),
        ({"mu": 0.0, "s": np.ones(3)}, "Mend its shape"),
        ({"mu": np.nan, "s": 1.0}, "NaN or infinite"),
        (0.0, "a function that returns a dict"),
    ],
)
def test_a_prior_must_give_the_targets_parameters(found, says):
    with pytest.raises((ValueError, TypeError), match=says):
        sbc(lambda key: found, lambda key, p: SCALE.data, SCALE, progress=False)


def test_errors_of_the_users_functions_come_out_as_they_are():
    def broken(key, p):
        raise LookupError("no such table")

    with pytest.raises(LookupError, match="no such table"):
        sbc(prior, broken, SCALE, progress=False)


def test_a_target_without_data_is_refused():
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    with pytest.raises(ValueError, match="a Target with data="):
        sbc(lambda key: {"x": 0.0}, lambda key, p: 0.0, target)
    with pytest.raises(ValueError, match="Return the data"):
        sbc(prior, lambda key, p: None, SCALE, progress=False)


def test_a_log_density_that_is_nowhere_finite_or_infinite_is_an_error(monkeypatch):
    monkeypatch.setattr(starts, "ATTEMPTS", 5)

    def walled(wall, beyond):
        return lambda key, p: {**easy_simulate(key, p), "wall": wall, "beyond": beyond}

    for wall, beyond, error, says in (
        (-np.inf, -np.inf, mcmc.InitializationError, "finite"),
        (1.0, np.inf, mcmc.SamplingError, "inf"),
    ):
        with pytest.raises(error, match=says):
            sbc(easy_prior, walled(wall, beyond), EASY, kernel=mcmc.RandomWalk(), **SHORT)
