"""sample: defaults, settings, bad input, starts, superchains, warnings, interruption, choice of kernel."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import BY_NAME
from proposals import Normal
from runs import draw, follows, resume, same, target_of, unconverged

import mcmc
from mcmc.engine.progress import Update
from mcmc.kernels.metropolis import ChainState, move

FEW = {"chains": 4, "draws": 20, "warmup": 0, "lanes": 8}
WALK = mcmc.RandomWalk(step_size=0.5, metric=1.0)
NAMED = mcmc.Target(
    lambda p: -0.5 * p["mu"] ** 2 - p["tau"] - 0.5 * jnp.sum(p["x"]["y"] ** 2),
    {"mu": mcmc.real(), "tau": mcmc.positive(), "x": {"y": mcmc.real(2)}},
)


# --- defaults and settings ----------------------------------------------------------------------------


def test_the_defaults_and_what_is_said(capfd):
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    draws = mcmc.sample(target)
    assert draws["posterior"]["x"].shape == (64, 320)
    assert draws["posterior"]["x"].dtype == np.float64
    assert draws.attrs["warmup"] == 200
    assert draws.attrs["status"] == "complete"
    out, err = capfd.readouterr()
    assert out == ""
    assert "64 chains x 320 = 20,480" in err
    assert "HMC with 64 chains, because" in err


@pytest.mark.parametrize(("chains", "kept"), [(1, 1000), (4, 1000), (16, 1000), (17, 1180), (100, 200), (2000, 10)])
def test_the_default_number_of_draws(chains, kept):
    draws = draw(target_of("student_t"), WALK, chains=chains, warmup=0)
    assert draws["posterior"]["x"].shape == (chains, kept, 2)


def test_progress_false_says_nothing(capfd):
    draw(target_of("student_t"), WALK, **FEW)
    assert capfd.readouterr() == ("", "")


def test_warmup_is_kept_on_request():
    draws = draw(target_of("student_t"), mcmc.RandomWalk(), chains=4, draws=10, warmup=30, save_warmup=True)
    assert draws["warmup_posterior"].sizes["draw"] == 30
    assert draws["warmup_sample_stats"]["lp"].shape == (4, 30)
    assert draws["posterior"].sizes["draw"] == 10
    plain = draw(target_of("student_t"), mcmc.RandomWalk(), chains=4, draws=10, warmup=30)
    same(draws, plain)
    assert "warmup_posterior" not in plain.children


def test_no_global_setting_of_jax_is_changed():
    before = dict(jax.config.values)
    draw(target_of("student_t"), mcmc.HMC(), chains=4, draws=10, warmup=10)
    draw(target_of("student_t"), WALK, **FEW, dtype="float32")
    with pytest.raises(ValueError, match="chains"):
        draw(target_of("student_t"), chains=0)
    assert dict(jax.config.values) == before
    assert jnp.zeros(1).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", np.float64, jnp.float32, np.dtype("float64")])
def test_forms_of_a_dtype(dtype):
    assert draw(target_of("student_t"), WALK, **FEW, dtype=dtype)["posterior"]["x"].dtype == np.dtype(dtype)


def test_float64_is_computed_in_float64():
    target = mcmc.Target(lambda p: -0.5 * ((p["x"] - 1e9) / 1e-3) ** 2, {"x": mcmc.real()})
    init = {"x": np.array([1e9] * 8)}
    draws = draw(target, mcmc.RandomWalk(step_size=2e-3, metric=1.0), chains=8, draws=3000, warmup=100, init=init)
    x = draws["posterior"]["x"].values - 1e9
    assert abs(x.std() - 1e-3) < 1e-4


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        *[({name: value}, name) for name in ("chains", "draws") for value in (0, -1, 2.5, "4", True, np.nan)],
        ({"warmup": -1}, "warmup"),
        ({"warmup": 2.5}, "warmup"),
        ({"thin": 0}, "thin"),
        ({"thin": 1.5}, "thin"),
        ({"lanes": 0}, "lanes"),
        ({"lanes": -8}, "lanes"),
        ({"chunk": 0}, "chunk"),
        ({"seed": "1"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"dtype": "int32"}, "dtype"),
        ({"dtype": "float16"}, "dtype"),
        ({"dtype": "bfloat16"}, "dtype"),
        ({"dtype": "no type"}, "dtype"),
        ({"mesh": 2}, "mesh"),
        ({"progress": "yes"}, "progress"),
        ({"superchains": -1}, "superchains"),
        ({"superchains": 1}, "superchains"),
        ({"superchains": 5}, "superchains"),
        ({"superchains": 2.0}, "superchains"),
        ({"superchains": [0, 1]}, "superchains"),
        ({"superchains": [0.5, 1, 2, 3]}, "superchains"),
        ({"kernel": 3}, "kernel"),
        ({"kernel": "HMC"}, "kernel"),
        ({"kernel": mcmc.HMC}, "kernel"),
        *[
            ({"kernel": mcmc.RandomWalk(step_size=s)}, "step_size")
            for s in (-0.1, 0.0, np.nan, np.inf, "a", [1.0, 2.0])
        ],
        ({"kernel": mcmc.HMC(step_size=-0.1)}, "step_size"),
        *[({"kernel": mcmc.HMC(num_steps=n)}, "num_steps") for n in (0, -3, 2.5, True)],
        *[({"kernel": mcmc.HMC(target_acceptance=a)}, "target_acceptance") for a in (0.0, 1.0, 1.5, -1)],
        ({"kernel": mcmc.HMC(length=0.0)}, "length"),
        ({"kernel": mcmc.HMC(max_steps=0)}, "max_steps"),
        ({"kernel": mcmc.Slice(width=0.0)}, "width"),
        *[
            ({"kernel": mcmc.RandomWalk(metric=m)}, "metric")
            for m in (
                -1.0,
                0.0,
                np.nan,
                [1.0, 2.0, 3.0],
                [1.0, -1.0],
                np.zeros((2, 2)),
                [[1.0, 0.5], [0.2, 1.0]],
                np.eye(3),
            )
        ],
        ({"kernel": mcmc.DifferentialEvolution(noise=-1.0)}, "noise"),
        ({"kernel": mcmc.DifferentialEvolution(jump_rate=2.0)}, "jump_rate"),
    ],
)
def test_a_bad_setting_is_named(settings, text):
    with pytest.raises((ValueError, TypeError), match=text):
        draw(target_of("student_t"), **{**FEW, **settings})


@pytest.mark.parametrize("target", [None, 3, lambda p: 0.0, {"x": mcmc.real()}, mcmc.Target])
def test_a_target_that_is_none(target):
    with pytest.raises(TypeError, match=r"target.*mcmc\.Target"):
        draw(target)


def test_an_interval_from_2_to_1():
    with pytest.raises(ValueError, match="interval"):
        mcmc.interval(2, 1)


NOWHERE = mcmc.Target(
    lambda p, data: p["tau"] * 0 + data["value"],
    {"mu": mcmc.real(), "tau": mcmc.positive()},
    data={"value": np.array(0.0)},
)


@pytest.mark.parametrize("kernel", [None, WALK], ids=["hmc", "walk"])
@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf], ids=str)
def test_a_log_density_that_is_nowhere_finite(kernel, value):
    target = NOWHERE.with_data({"value": np.array(value)})
    with pytest.raises(mcmc.InitializationError, match="finite") as raised:
        draw(target, kernel, chains=6, draws=10, warmup=10)
    text = str(raised.value)
    assert "init" in text
    assert "chain 0" in text
    assert "tau = " in text
    assert str(value) in text
    assert raised.value.chain == 0
    assert isinstance(raised.value, mcmc.SamplingError)


def test_a_gradient_that_is_not_finite_names_the_parameter():
    target = mcmc.Target(lambda p: -(p["a"] ** 2) - jnp.sqrt(p["b"] * 0), {"a": mcmc.real(), "b": mcmc.real()})
    with pytest.raises(mcmc.InitializationError, match="gradient in b"):
        draw(target, mcmc.HMC(step_size=0.1, metric=1.0), **FEW)


@pytest.mark.parametrize("edge", [-1.0, 1.0])
def test_a_density_finite_on_one_side_only_gets_a_start(edge):
    target = mcmc.Target(lambda p: jnp.where(jnp.all(p["x"] > edge), -jnp.sum(p["x"]), jnp.nan), {"x": mcmc.real(2)})
    draws = draw(target, mcmc.RandomWalk(), chains=32, draws=50, warmup=100)
    assert np.all(draws["posterior"]["x"].values > edge)


def test_infinity_reached_while_sampling():
    target = mcmc.Target(
        lambda p: jnp.where(p["scale"] < 0.05, jnp.inf, -2 * jnp.log(p["scale"]) - p["scale"]),
        {"mu": mcmc.real(), "scale": mcmc.positive()},
    )
    with pytest.raises(mcmc.SamplingError, match="inf") as raised:
        draw(
            target,
            mcmc.RandomWalk(step_size=1.0, metric=1.0),
            chains=8,
            draws=2000,
            warmup=0,
            init={"mu": 0.0, "scale": 1.0},
        )
    assert raised.value.position["scale"] < 0.05
    assert "scale = " in str(raised.value)
    assert f"chain {raised.value.chain}" in str(raised.value)


def test_draws_that_do_not_fit_in_memory_are_refused_before_compiling():
    with pytest.raises(mcmc.MemoryLimitError, match=r"draws: 64 chains x 10,000,000,000 draws.*float32"):
        draw(target_of("student_t"), draws=10**10, chains=64)


# --- starts -------------------------------------------------------------------------------------------

STAY = mcmc.RandomWalk(step_size=1e-12, metric=1.0)


def first(draws, name):
    return draws["posterior"][name].values[:, 0]


def test_starts_with_a_chain_axis_are_taken_as_they_are():
    init = {"mu": np.arange(5.0), "tau": np.arange(5.0) + 0.5, "x": {"y": np.arange(10.0).reshape(5, 2)}}
    draws = draw(NAMED, STAY, **{**FEW, "chains": None}, init=init, superchains=0)
    assert draws["posterior"].sizes["chain"] == 5
    for name, value in (("mu", init["mu"]), ("tau", init["tau"]), ("x.y", init["x"]["y"])):
        np.testing.assert_allclose(first(draws, name), value, atol=1e-9)


def test_one_start_for_all_is_jittered():
    draws = draw(NAMED, STAY, **{**FEW, "chains": 40}, init={"mu": 3.0, "tau": 5.0, "x.y": [0.0, -9.0]}, superchains=0)
    mu, tau = first(draws, "mu"), first(draws, "tau")
    assert np.all(np.abs(mu - 3.0) < 0.11)
    assert np.unique(mu).size == 40
    assert np.all(np.abs(np.log(tau / 5.0)) < 0.11)
    assert np.all(np.abs(first(draws, "x.y") - [0.0, -9.0]) < 0.11)


def test_an_earlier_run_gives_starts():
    earlier = draw(NAMED, WALK, **FEW)
    draws = draw(NAMED, STAY, draws=10, warmup=0, init=earlier)
    assert draws["posterior"].sizes["chain"] == 4
    for name in ("mu", "tau", "x.y"):
        np.testing.assert_allclose(first(draws, name), earlier["posterior"][name].values[:, -1], rtol=1e-8)


def test_starts_without_init_are_spread_and_finite():
    draws = draw(NAMED, STAY, chains=200, draws=10, warmup=0, superchains=0)
    mu = first(draws, "mu")
    assert np.unique(mu).size == 200
    assert np.all(np.abs(mu) < 2)
    assert mu.std() > 0.9
    assert np.all(first(draws, "tau") > 0)


GOOD = {"mu": 0.0, "tau": 1.0, "x": {"y": [0.0, 0.0]}}


@pytest.mark.parametrize(
    ("init", "error", "text"),
    [
        ({**GOOD, "tau": -1.0}, ValueError, r"init\['tau'\].*positive"),
        ({**GOOD, "tau": 0.0}, ValueError, r"init\['tau'\]"),
        ({**GOOD, "mu": np.nan}, ValueError, r"init\['mu'\]"),
        ({**GOOD, "mu": np.zeros(3)}, ValueError, r"init\['mu'\].*shape"),
        ({**GOOD, "mu": np.zeros((4, 1))}, ValueError, r"init\['mu'\].*shape"),
        ({**GOOD, "x": {"y": 0.0}}, ValueError, r"init\['x.y'\].*shape"),
        ({**GOOD, "mu": np.zeros(4)}, ValueError, "init"),  # one with a chain axis, the others without
        ({**GOOD, "sigma": 1.0}, ValueError, "init.*sigma"),
        ({**GOOD, "x": {"y": [0.0, 0.0], "z": 1.0}}, ValueError, "init.*z"),
        ({}, ValueError, "init.*mu"),
        (3.0, TypeError, "init"),
        ([0.0], TypeError, "init"),
        ({**GOOD, "mu": "zero"}, (ValueError, TypeError), r"init\['mu'\]"),
        (
            {"mu": np.zeros(4), "tau": np.array([1.0, 1.0, -1.0, 1.0]), "x.y": np.zeros((4, 2))},
            ValueError,
            "chain 2",
        ),
    ],
    ids=repr,
)
def test_starts_that_are_none(init, error, text):
    with pytest.raises(error, match=text):
        draw(NAMED, WALK, **FEW, init=init)


def test_an_earlier_run_of_another_target():
    with pytest.raises(ValueError, match="mu"):
        draw(NAMED, WALK, **FEW, init=draw(target_of("student_t"), WALK, **FEW))


def test_an_earlier_run_of_fewer_chains_starts_more():
    before = draw(NAMED, WALK, **FEW)
    after = draw(NAMED, WALK, **{**FEW, "chains": 5}, init=before)
    assert after.posterior.sizes["chain"] == 5
    assert np.isfinite(after.sample_stats["lp"]).all()


def test_a_start_where_the_density_is_not_finite():
    target = mcmc.Target(lambda p: jnp.where(p["x"] > 3, -jnp.inf, -(p["x"] ** 2)), {"x": mcmc.real()})
    with pytest.raises(mcmc.InitializationError, match=r"chain 1.*x = 5"):
        draw(target, WALK, **FEW, init={"x": np.array([0.0, 5.0, 1.0, 2.0])})


# --- superchains --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chains", "superchains", "groups"),
    [
        (32, None, np.arange(32) % 16),
        (16, None, None),
        (8, 0, None),
        (32, 0, None),
        (8, 4, np.arange(8) % 4),
        (6, ["not", "used"], None),
        (6, np.array([5, 5, 9, 9, 2, 2]), np.array([1, 1, 2, 2, 0, 0])),
    ],
    ids=["many", "few", "few, none", "many, none", "number", "names", "array"],
)
def test_superchains(chains, superchains, groups):
    if isinstance(superchains, list):
        with pytest.raises(ValueError, match="superchains"):
            draw(NAMED, STAY, draws=10, warmup=0, chains=chains, superchains=superchains)
        return
    draws = draw(NAMED, STAY, draws=10, warmup=0, chains=chains, superchains=superchains)
    state = draws["run_state"]
    mu = np.round(first(draws, "mu"), 8)
    if groups is None:
        assert "superchain" not in state.data_vars
        assert np.unique(mu).size == chains
    else:
        np.testing.assert_array_equal(state["superchain"].values, groups)
        for g in np.unique(groups):
            assert np.unique(mu[groups == g]).size == 1
        assert np.unique(mu).size == np.unique(groups).size


# --- the verdict --------------------------------------------------------------------------------------


def test_a_good_run_does_not_warn_and_a_bad_one_does():
    mcmc.sample(target_of("student_t"), progress=False)
    with pytest.warns(mcmc.ConvergenceWarning) as caught:
        mcmc.sample(target_of("student_t"), STAY, **FEW, progress=False)
    assert "x" in str(caught[0].message)
    assert caught[0].filename == __file__


def test_a_run_of_two_modes_warns():
    def log_density(p):
        return jnp.logaddexp(-0.5 * (p["x"] - 30) ** 2, -0.5 * (p["x"] + 30) ** 2)

    target = mcmc.Target(log_density, {"x": mcmc.real()})
    init = {"x": np.where(np.arange(8) % 2, 30.0, -30.0)}
    with pytest.warns(mcmc.ConvergenceWarning, match=r"(?i)r-hat"):
        mcmc.sample(target, mcmc.RandomWalk(), chains=8, init=init, progress=False)


# --- interruption -------------------------------------------------------------------------------------

INTERRUPTED = {"chains": 8, "lanes": 8, "warmup": 40, "superchains": 0, "chunk": 10}


def stop_after(phase, done):
    def progress(update: Update):
        if update.phase == phase and update.done >= done:
            raise KeyboardInterrupt

    return progress


def test_an_interrupted_run_is_kept_and_finished_bit_for_bit():
    whole = draw(target_of("student_t"), mcmc.HMC(), **INTERRUPTED, draws=100)
    part = draw(target_of("student_t"), mcmc.HMC(), **INTERRUPTED, draws=100, progress=stop_after("sampling", 40))
    assert part.attrs["status"] == "interrupted"
    n = part["posterior"].sizes["draw"]
    assert 40 <= n < 100
    same(part, whole, draws=slice(0, n))
    finished = resume(target_of("student_t"), part)
    assert finished.attrs["status"] == "complete"
    same(whole, finished)


def test_an_interruption_of_a_resumed_thinned_run():
    settings = {**INTERRUPTED, "thin": 3}
    whole = draw(target_of("student_t"), WALK, **settings, draws=60)
    part = draw(target_of("student_t"), WALK, **settings, draws=60, progress=stop_after("sampling", 30))
    part = resume(target_of("student_t"), part, chunk=10, progress=stop_after("sampling", 100))
    assert part.attrs["status"] == "interrupted"
    same(whole, resume(target_of("student_t"), part))


def test_an_interruption_before_the_first_draw_is_one():
    with pytest.raises(KeyboardInterrupt):
        draw(target_of("student_t"), mcmc.HMC(), **INTERRUPTED, draws=100, progress=stop_after("warmup", 10))


def test_progress_is_told_of_every_chunk():
    seen = []
    draw(target_of("student_t"), mcmc.HMC(), **INTERRUPTED, draws=100, progress=seen.append)
    warm, kept = ([u for u in seen if u.phase == phase] for phase in ("warmup", "sampling"))
    assert [u.done for u in kept] == list(range(10, 101, 10))
    assert {u.total for u in kept} == {100}
    assert warm[-1].done == warm[-1].total == 40
    assert {u.chains for u in seen} == {8}
    assert all(0 <= u.acceptance <= 1 for u in seen)


# --- the choice of a kernel ----------------------------------------------------------------------------


def test_a_density_without_a_gradient_gets_a_kernel_without_one(capfd):
    def log_density(p):
        x = jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 1.0), (0, p["x"]))[1]
        return -0.5 * jnp.sum(x**2)

    target = mcmc.Target(log_density, {"x": mcmc.real(2)})
    with unconverged():
        draws = mcmc.sample(target)
    assert "DifferentialEvolution" in draws.attrs["kernel"]
    assert "no gradient" in capfd.readouterr().err
    x = draws["posterior"]["x"].values
    assert np.abs(x.std((0, 1)) - 1).max() < 0.1


@pytest.mark.parametrize("kernel", [mcmc.HMC(), mcmc.RandomWalk(), mcmc.Stretch()], ids=lambda k: type(k).__name__)
def test_a_discrete_target_needs_a_kernel_for_it(kernel):
    with pytest.raises(ValueError, match=r"kernel.*up.*discrete|kernel.*discrete.*up"):
        draw(target_of("ising"), kernel)


class Nudge(NamedTuple):
    accepted: jax.Array
    acceptance_rate: jax.Array
    nonfinite: jax.Array
    nudge: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Nudged:
    """A kernel that knows nothing of this package but the protocol and the accept step."""

    width: float = 1.0

    def init(self, position, log_density):
        return ChainState(position, log_density(position))

    def step(self, key, state, log_density):
        a, b = jax.random.split(key)
        nudge = self.width * jax.random.normal(a, (), state.position.dtype)
        to = state.position + nudge
        state, info = move(b, state, to, log_density(to))
        return state, Nudge(info.accepted, info.acceptance_rate, info.nonfinite, nudge)


def test_a_kernel_of_ones_own():
    target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
    draws = draw(target, Nudged(2.0), chains=16, draws=2000, warmup=100, superchains=0)
    x = draws["posterior"]["x"].values
    assert abs(x.mean()) < 5 * mcmc.mcse(x)
    assert abs(x.std() - 1) < 5 * mcmc.mcse(x, method="sd")
    assert abs(draws["sample_stats"]["nudge"].values.std() - 2.0) < 0.1
    assert "Nudged" in draws.attrs["kernel"]


# --- direct samplers ----------------------------------------------------------------------------------

LOC = np.array([1.0, -2.0, 0.5])
DIRECT = Normal(LOC, np.diag([0.1, 1.0, 10.0]))


def test_a_direct_sampler_in_place_of_a_target():
    draws = mcmc.sample(DIRECT, chains=16, draws=1000, progress=False)
    follows(draws, BY_NAME["normal"])
    x = draws["posterior"]["x"].values
    assert np.all(mcmc.ess(x) > 0.8 * 16_000)
    assert draws.attrs["warmup"] == 0
    assert "Direct" in draws.attrs["kernel"]
    lp = draws["sample_stats"]["lp"].values
    np.testing.assert_allclose(lp[0, 0], DIRECT.log_prob(x[0, 0]), rtol=1e-4)


def test_a_direct_sampler_of_a_dict_and_of_whole_numbers():
    class Named:
        def sample(self, key, shape=()):
            a, b, c = jax.random.split(key, 3)
            return {
                "n": jax.random.randint(a, shape, 0, 4),
                "up": jax.random.bernoulli(b, 0.25, shape),
                "z": jax.random.normal(c, (*shape, 2)),
            }

    p = mcmc.sample(Named(), chains=16, draws=1000, progress=False)["posterior"]
    assert [p[n].dtype.kind for n in ("n", "up", "z")] == ["i", "b", "f"]
    assert p["z"].shape == (16, 1000, 2)
    assert abs(p["up"].values.mean() - 0.25) < 5 * np.sqrt(0.1875 / 16_000)
    assert set(np.unique(p["n"].values)) == {0, 1, 2, 3}


def test_a_direct_sampler_with_a_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel"):
        draw(DIRECT, mcmc.HMC())


def test_a_class_is_no_sampler():
    with pytest.raises(TypeError, match="target"):
        draw(Normal)


def test_progress_of_a_kernel_with_nothing_to_tune(capfd):
    """A kernel without a tuner keeps no trail of positions, and is shown all the same."""
    target = mcmc.Target(lambda p: -0.5 * jnp.sum(p["x"] ** 2), {"x": mcmc.real(3)})
    draw(target, mcmc.RandomWalk(step_size=0.7, metric=1.0), chains=8, draws=50, warmup=20, progress=True)
    err = capfd.readouterr().err
    assert "warmup" in err
    assert "sampling" in err


def test_a_sampler_that_needs_a_default_key():
    """`jax.random.poisson` takes threefry keys only: such samplers, and simulated data, get one."""

    class Counts:
        def sample(self, key, shape=()):
            return jax.random.poisson(key, 3.0, shape)

    draws = draw(Counts(), chains=8, draws=500)
    assert draws["posterior"]["x"].dtype == np.int32
    assert abs(draws["posterior"]["x"].mean() - 3.0) < 5 * np.sqrt(3.0 / 4000)
    target = mcmc.Target(
        lambda p: -0.5 * p["x"] ** 2,
        {"x": mcmc.real()},
        predictive=lambda key, p: {"y": jax.random.poisson(key, jnp.exp(p["x"]))},
    )
    draws = draw(target, mcmc.RandomWalk(step_size=2.4, metric=1.0), chains=8, draws=500)
    assert abs(draws["posterior_predictive"]["y"].mean() - np.exp(0.5)) < 0.4


@pytest.mark.parametrize(("chains", "kernel"), [(4, "NUTS"), (16, "NUTS"), (17, "HMC"), (None, "HMC")])
def test_few_chains_get_nuts_and_many_hmc(chains, kernel, capfd):
    draws = draw(target_of("normal"), None, chains=chains, draws=50, warmup=50, progress=True)
    assert draws.attrs["kernel"].startswith(kernel)
    assert f"{kernel} with" in capfd.readouterr().err


@pytest.mark.parametrize("seed", range(3))
def test_poor_proposals_of_the_first_steps_make_hmc_no_stricter(seed):
    """A regression far from where chains start: nothing in it curves sharply once the metric is known."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 400)
    y = 77.0 + 12.0 * x + 20.0 * rng.normal(size=400)

    def log_density(p, data):
        left = (data["y"] - p["b"][0] - p["b"][1] * data["x"]) / p["s"]
        return -0.5 * jnp.sum(left**2) - 400 * jnp.log(p["s"])

    parameters = {"b": mcmc.real(2), "s": mcmc.positive()}
    target = mcmc.Target(log_density, parameters, data={"x": x, "y": y})
    draws = draw(target, None, seed=seed, draws=50, progress=False)
    assert "target_acceptance=0.8" in draws.attrs["kernel"]


def test_hmc_asks_for_more_acceptance_where_proposals_are_poor():
    for law, rate in (("normal", "0.8"), ("funnel_hard", "0.97")):
        settings = {"chains": 64, "draws": 20, "warmup": 200, "superchains": 0, "geometry": "affine"}
        draws = draw(target_of(law), mcmc.HMC(), **settings)
        assert f"target_acceptance={rate}" in draws.attrs["kernel"]
