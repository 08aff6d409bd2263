"""One model on many data sets: right for each, the same alone as among others, and honest about those that fail."""

import functools
import itertools
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import unconverged

import mcmc
from mcmc.each import batch, batches

N, ROWS = 37, 6
QUIET = {"progress": False, "seed": 3}


def log_density(p, y):
    return -0.5 * p["mu"] ** 2 - 0.5 * ((y - p["mu"]) ** 2).sum()


TARGET = mcmc.Target(log_density, {"mu": mcmc.real()}, data=np.zeros(ROWS))


@functools.cache
def data():
    rng = np.random.default_rng(0)
    y = rng.normal(rng.normal(size=(N, 1)), size=(N, ROWS)) + 3
    y[5, 2] = np.nan
    return y


@functools.cache
def drawn():
    said = []
    with warnings.catch_warnings(record=True) as noticed:
        warnings.simplefilter("always")
        draws = mcmc.sample_each(TARGET, data(), seed=3, progress=said.append)
    return draws, said, [str(n.message) for n in noticed]


GOOD = np.delete(np.arange(N), 5)


def test_every_posterior_is_the_exact_one():
    draws, _, _ = drawn()
    mu = draws.posterior["mu"].isel(dataset=GOOD)
    exact, sd = data()[GOOD].sum(1) / (1 + ROWS), (1 + ROWS) ** -0.5
    mcse = np.array([float(mcmc.mcse(x)) for x in mu.values])
    z = (mu.mean(("chain", "draw")).values - exact) / mcse
    assert np.abs(z).max() < 4.5
    assert abs((z**2).mean() - 1) < 5 * (2 / GOOD.size) ** 0.5
    size = np.array([float(mcmc.ess((x - m) ** 2)) for x, m in zip(mu.values, exact, strict=True)])
    spread = (mu.std(("chain", "draw")).values / sd - 1) * np.sqrt(2 * size)
    assert np.abs(spread).max() < 4.5


def test_a_data_set_that_is_nan_is_told_by_its_number_and_the_others_finish():
    draws, said, noticed = drawn()
    state = draws.run_state
    assert list(np.flatnonzero(~state["ok"].values)) == [5]
    assert "data is NaN at [2]" in state["message"].values[5]
    assert np.isnan(draws.posterior["mu"].values[5]).all()
    assert len(noticed) == 1
    assert "1 of 37 data sets" in noticed[0]
    assert "data set 5" in noticed[0]
    assert (said[-1].done, said[-1].total, said[-1].doubtful) == (N, N, 1)
    assert all(a.done <= b.done for a, b in itertools.pairwise(said))


def test_the_table_has_a_row_a_data_set_worst_first():
    draws, _, _ = drawn()
    found = mcmc.diagnose(draws)
    assert not found.ok
    assert found.failing == (5,)
    assert found.table.index[0] == 5
    assert found.table["ok"].sum() == N - 1
    assert "data set 5: init: got log density nan" in str(found)
    assert found[7].ok
    summary = mcmc.summary(draws)
    one = mcmc.summary(draws.isel(dataset=7))
    np.testing.assert_array_equal(summary.loc[7].to_numpy(), one.to_numpy())
    assert summary.shape[0] == N
    assert mcmc.diagnose(draws.isel(dataset=GOOD)).ok
    assert found.to_dict()["table"][0]["dataset"] == 5


def test_draws_are_the_same_alone_and_among_others():
    draws, _, _ = drawn()
    some = [30, 2]
    alone = mcmc.sample_each(TARGET, data()[some], index=some, **QUIET)
    np.testing.assert_array_equal(alone.posterior["dataset"], some)
    for group, name in (("posterior", "mu"), ("sample_stats", "lp"), ("sample_stats", "step_size")):
        np.testing.assert_array_equal(alone[group][name].values, draws[group][name].sel(dataset=some).values)


def test_the_tree_has_a_dimension_of_data_sets():
    draws, _, _ = drawn()
    assert draws.posterior["mu"].dims == ("dataset", "chain", "draw")
    assert draws.posterior["mu"].shape[:2] == (N, 16)
    assert draws.sample_stats["lp"].dims == ("dataset", "chain", "draw")
    np.testing.assert_array_equal(draws.observed_data["data"].values, data())
    assert draws.attrs["status"] == "complete"
    lp = -0.5 * draws.posterior["mu"] ** 2 - 0.5 * ((draws.observed_data["data"] - draws.posterior["mu"]) ** 2).sum(
        "data_dim_0", skipna=False
    )
    np.testing.assert_allclose(lp.transpose("dataset", "chain", "draw"), draws.sample_stats["lp"], rtol=1e-10)


def test_unequal_shapes_are_grouped_and_right(capsys):
    sets = [data()[i, : 4 + i % 2] for i in range(12) if i != 5]
    draws = mcmc.sample_each(TARGET, iter(sets), seed=3)
    assert "2 shapes" in capsys.readouterr().err
    assert draws.run_state["ok"].all()
    for i, y in enumerate(sets):
        x = draws.posterior["mu"].values[i]
        assert abs(x.mean() - y.sum() / (1 + len(y))) < 4.5 * float(mcmc.mcse(x))
    again = mcmc.sample_each(TARGET, [sets[3]], index=[3], **QUIET)
    np.testing.assert_array_equal(again.posterior["mu"].values[0], draws.posterior["mu"].values[3])


def test_kept_thinned_and_derived():
    target = mcmc.Target(
        log_density, {"mu": mcmc.real()}, data=np.zeros(ROWS), derived=lambda p, y: {"gap": y - p["mu"]},
        dims={"gap": ["row"]}, coords={"row": list("abcdef")},
    )  # fmt: skip
    y = data()[:3]
    draws = mcmc.sample_each(target, y, thin=2, draws=100, kernel=mcmc.RandomWalk(), warmup=100, **QUIET)
    gap = draws.posterior["gap"]
    assert gap.dims == ("dataset", "chain", "draw", "row")
    assert list(gap["row"].values) == list("abcdef")
    expected = y[:, None, None] - draws.posterior["mu"].values[..., None]
    np.testing.assert_allclose(gap.values, expected, atol=1e-12)
    kept = mcmc.sample_each(
        target, y, thin=2, draws=100, kernel=mcmc.RandomWalk(), warmup=100, keep="mu", **QUIET
    ).posterior
    assert list(kept.data_vars) == ["mu"]
    np.testing.assert_array_equal(kept["mu"].values, draws.posterior["mu"].values)


# --- data sets that fail -------------------------------------------------------------------------------------


def two_modes(p, data):
    apart = data["apart"]
    return jnp.logaddexp(-0.5 * (p["x"] - apart) ** 2, -0.5 * (p["x"] + apart) ** 2)


MODES = mcmc.Target(two_modes, {"x": mcmc.real()}, data={"apart": 0.0})


@pytest.mark.slow
def test_a_data_set_that_fails_is_drawn_by_itself_until_it_is_right():
    apart = np.array([0.0, 1.0, 9.0, 0.5])
    draws = mcmc.sample_each(MODES, {"apart": apart}, **QUIET)
    assert list(draws.run_state["stage"].values) == ["batch", "batch", "alone", "batch"]
    assert draws.run_state["ok"].all()
    x = draws.posterior["x"].values
    for values, a in zip(x, apart, strict=True):
        size = float(mcmc.ess(values))
        assert abs(values.mean()) < 4.5 * np.sqrt((1 + a**2) / size)
        assert abs((values**2).mean() - 1 - a**2) < 4.5 * float(mcmc.mcse(values**2))
    single = mcmc.sample_each(MODES, {"apart": apart[2:3]}, index=[2], **QUIET)
    np.testing.assert_array_equal(single.posterior["x"].values[0], x[2])


def test_one_that_still_fails_is_flagged_and_the_others_are_not_held_up():
    until = mcmc.Converged(ess=400, max_draws=120)
    order = []
    with unconverged():
        draws = mcmc.sample_each(
            MODES, {"apart": np.array([0.0, 60.0])}, kernel=mcmc.RandomWalk(), warmup=100, until=until,
            seed=3, progress=lambda update: order.append(update.done),
        )  # fmt: skip
    assert list(draws.run_state["ok"].values) == [True, False]
    assert draws.run_state["stage"].values[1] == "alone"
    assert "rhat" in draws.run_state["message"].values[1]
    assert order[0] == 2
    assert mcmc.diagnose(draws).failing == (1,)


def test_an_infinite_log_density_is_told_of_its_data_set():
    def walled(p, wall):
        return jnp.where(p["x"] > wall, jnp.inf, -0.5 * p["x"] ** 2)

    target = mcmc.Target(walled, {"x": mcmc.real()}, data=5.0)
    with unconverged():
        draws = mcmc.sample_each(target, np.array([90.0, 0.5, 80.0]), kernel=mcmc.RandomWalk(), warmup=100, **QUIET)
    assert list(draws.run_state["ok"].values) == [True, False, True]
    assert "log density of +inf" in draws.run_state["message"].values[1]


def test_a_black_box_goes_one_by_one():
    target = mcmc.Target.black_box(
        lambda p, y: float(log_density(p, np.asarray(y))), {"mu": mcmc.real()}, data=np.zeros(ROWS)
    )
    y = data()[:2]
    draws = mcmc.sample_each(target, y, chains=8, kernel=mcmc.DifferentialEvolution(), draws=100, **QUIET)
    for values, one in zip(draws.posterior["mu"].values, y, strict=True):
        assert abs(values.mean() - one.sum() / (1 + ROWS)) < 5 * float(mcmc.mcse(values))


def test_an_accelerator_has_large_batches_and_a_thread_for_their_verdicts(monkeypatch):
    assert batches.most_sets(jax.devices("cpu")[0]) == batches.MOST_SETS
    other = types.SimpleNamespace(platform="gpu")
    monkeypatch.setattr(batches, "devices_of", lambda mesh: [other])
    assert batches.places() == [other, other]
    assert batches.most_sets(other) > 10 * batches.MOST_SETS


# --- what is refused -----------------------------------------------------------------------------------------

PAIR = mcmc.Target(
    lambda p, d: -0.5 * (p["mu"] - d["x"].sum() - d["y"]) ** 2, {"mu": mcmc.real()}, data={"x": np.zeros(2), "y": 0.0}
)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"x": np.zeros((4, 2)), "y": np.zeros(3)}, r"data\['x'\] with 4, data\['y'\] with 3"),
        ({"x": np.zeros((4, 2)), "y": 1.0}, r"data\['y'\]: got a number"),
        ({"x": np.zeros((4, 2))}, "in the form of the target's data"),
        ({"x": np.zeros((0, 2)), "y": np.zeros(0)}, "no data sets"),
        ([], "no data sets"),
        ([{"x": np.zeros(2), "y": 0.0}, {"x": np.zeros(2)}], r"data\[1\]"),
        ({"x": np.zeros(4), "y": np.zeros(4)}, r"data\['x'\]: got shape \(4,\); expected 2 axes"),
        ([{"x": np.zeros(2), "y": 0.0}, {"x": np.zeros(()), "y": 0.0}], r"data\[1\]: .*expected 1 axes"),
    ],
)
def test_data_in_another_form_are_refused(given, says):
    with pytest.raises((ValueError, TypeError), match=says):
        mcmc.sample_each(PAIR, given, **QUIET)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"draws": 20}, "25 or more, for 400 effective draws"),
        ({"chains": 1}, "chains"),
        ({"index": [0, 0, 1]}, "index"),
        ({"index": [0, 1]}, "index"),
        ({"until": 400}, "until"),
        ({"num_samples": 100}, "draws="),
        ({"keep": "nu"}, "keep"),
    ],
)
def test_bad_arguments_are_refused(arguments, says):
    with pytest.raises((ValueError, TypeError), match=says):
        mcmc.sample_each(TARGET, data()[:3], **QUIET | arguments)


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("dataset", {}, "parameters: got 'dataset'"),
        ("mu", {"derived": lambda p, y: {"dataset": p["mu"] ** 2}}, "derived: got 'dataset'"),
        ("mu", {"dims": {"mu": ["dataset"]}}, "dims: got 'dataset'"),
    ],
)
def test_the_name_of_the_axis_of_data_sets_is_taken(name, more, says):
    taken = mcmc.Target(
        lambda p, y: log_density({"mu": p[name].sum()}, y), {name: mcmc.real(2)}, data=np.zeros(ROWS), **more
    )
    with pytest.raises(ValueError, match=says):
        mcmc.sample_each(taken, data()[:3], **QUIET)


def test_an_error_of_the_log_density_names_the_data_set():
    wants = mcmc.Target(lambda p, y: -0.5 * ((y - p["mu"]) ** 2).sum(), {"mu": mcmc.real(ROWS)}, data=np.zeros(ROWS))
    with pytest.raises(TypeError) as caught:
        mcmc.sample_each(wants, [np.zeros(ROWS), np.zeros(ROWS + 1)], **QUIET)
    assert any("data set 1" in note for note in caught.value.__notes__)


def test_a_target_without_data_is_refused():
    with pytest.raises(ValueError, match="a Target with data="):
        mcmc.sample_each(mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()}), data())


def test_ctrl_c_leaves_what_is_done(monkeypatch):
    draw, made = batch.Batch.draw, []

    def stop(update):
        made.append(update.done)
        raise KeyboardInterrupt

    with unconverged():
        draws = mcmc.sample_each(TARGET, data(), seed=3, progress=stop)
    assert batch.Batch.draw is draw
    done = made[0]
    assert draws.attrs["status"] == "interrupted"
    np.testing.assert_array_equal(draws.posterior["mu"].values[:5], drawn()[0].posterior["mu"].values[:5])
    assert (draws.run_state["message"].values == "not drawn yet").sum() == N - done
    assert mcmc.diagnose(draws).verdict.startswith(
        f"Not finished: {N - done} of {N} data sets not drawn yet; of {done}"
    )
