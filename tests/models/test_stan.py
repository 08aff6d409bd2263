"""Stan programs, by the protocols of bridgestan and PyStan: names, shapes, the law, starts, rejections."""

import numpy as np
import pytest
from runs import draw
from stan_fakes import CENTRES, COUNTS, SIGMA, Arrays, Bridge, Schools, Y, pystan

import mcmc
from mcmc.models import stan_protocols
from mcmc.models.stan_bridge import StanTarget

SHORT = {"chains": 4, "draws": 10, "warmup": 10, "superchains": 0}


@pytest.fixture(scope="module")
def schools():
    return mcmc.from_stan(Bridge(Schools()))


@pytest.fixture(scope="module")
def of_schools(schools):
    return draw(schools, mcmc.HMC(), chains=8, draws=250, warmup=100, seed=1)


@pytest.fixture(scope="module")
def arrays():
    return mcmc.from_stan(Bridge(Arrays()))


@pytest.fixture(scope="module")
def of_arrays(arrays):
    return draw(arrays, mcmc.HMC(), chains=8, draws=250, warmup=100, seed=2)


def within(x, mean, sd, errors=5.0):
    assert np.max(mcmc.rhat(x)) < 1.05
    assert np.all(np.abs(x.mean((0, 1)) - mean) < errors * mcmc.mcse(x))
    assert np.all(np.abs(x.std((0, 1)) - sd) < errors * mcmc.mcse(x, method="sd"))


def test_names_and_shapes_are_stans(of_schools, of_arrays):
    found = {k: v.shape[2:] for k, v in of_schools["posterior"].data_vars.items()}
    assert found == {"mu": (), "tau": (), "z": (8,), "theta": (8,), "y_rep": (8,)}
    found = {k: v.shape[2:] for k, v in of_arrays["posterior"].data_vars.items()}
    assert found == {"share": (3,), "x": (2, 3), "below": (), "total": (2,), "flat": (1, 2)}


def test_eight_schools_beside_the_target_written_by_hand(of_schools):
    import jax.numpy as jnp

    def log_density(p):
        theta = p["mu"] + p["tau"] * p["z"]
        prior = -0.5 * (p["mu"] / 5) ** 2 - jnp.log1p((p["tau"] / 5) ** 2) - 0.5 * jnp.sum(p["z"] ** 2)
        return prior - 0.5 * jnp.sum(((Y - theta) / SIGMA) ** 2)

    target = mcmc.Target(log_density, {"mu": mcmc.real(), "tau": mcmc.positive(), "z": mcmc.real(8)})
    by_hand = draw(target, mcmc.HMC(), chains=16, draws=1000, warmup=150, seed=1)
    for name in target.names:
        a, b = of_schools["posterior"][name].values, by_hand["posterior"][name].values
        error = np.hypot(mcmc.mcse(a), mcmc.mcse(b))
        assert np.all(np.abs(a.mean((0, 1)) - b.mean((0, 1))) < 5 * error)
    theta, z = of_schools["posterior"]["theta"].values, of_schools["posterior"]["z"].values
    mu, tau = (of_schools["posterior"][n].values[..., None] for n in ("mu", "tau"))
    np.testing.assert_allclose(theta, mu + tau * z)


def test_generated_quantities_are_random_given_the_draw(of_schools):
    noise = (of_schools["posterior"]["y_rep"].values - of_schools["posterior"]["theta"].values) / SIGMA
    n = noise[..., 0].size
    assert np.all(np.abs(noise.mean((0, 1))) < 5 / np.sqrt(n))
    assert np.all(np.abs(noise.std((0, 1)) - 1) < 5 / np.sqrt(2 * n))


def test_simplexes_and_matrices_have_their_laws(of_arrays):
    """Dirichlet(1 + counts), normals around different centres, and an exponential below one of them."""
    a = COUNTS + 1
    mean = a / a.sum()
    within(of_arrays["posterior"]["share"].values, mean, np.sqrt(mean * (1 - mean) / (a.sum() + 1)))
    x = of_arrays["posterior"]["x"].values
    within(x, CENTRES, 0.5)
    within(x[..., 0, 0] - of_arrays["posterior"]["below"].values, 1.0, 1.0)
    np.testing.assert_allclose(of_arrays["posterior"]["total"].values, x.sum(-1))
    np.testing.assert_array_equal(of_arrays["posterior"]["flat"].values, x[..., :1, :2])


def test_each_parameter_has_its_unconstrained_coordinates(arrays):
    assert [(leaf.name, leaf.stop - leaf.start) for leaf in arrays.leaves] == [("share", 2), ("x", 6), ("below", 1)]


def test_starts_are_constrained(arrays):
    start = {"share": np.array([0.5, 0.3, 0.2]), "x": CENTRES + 0.1, "below": -2.0}
    y = {leaf.name: value for leaf, value in arrays.starts(start)}
    flat = np.concatenate([y[name] for name in arrays.names])
    for name, value in arrays.describe(flat).items():
        np.testing.assert_allclose(value, start[name])
    each = {name: np.stack([np.asarray(value)] * 3) for name, value in start.items()}
    assert {leaf.name: v.shape for leaf, v in arrays.starts(each)} == {"share": (3, 2), "x": (3, 6), "below": (3, 1)}
    with pytest.raises(ValueError, match="starts of x, below too"):
        list(arrays.starts({"share": start["share"]}))
    with pytest.raises(ValueError, match=r"init\['x'\]: got shape \(3, 2\)"):
        list(arrays.starts({**start, "x": CENTRES.T}))


def test_a_run_goes_on_from_an_earlier_one(arrays, of_arrays):
    draws = draw(arrays, mcmc.HMC(), init=of_arrays, chains=8, draws=5, warmup=0)
    assert draws["posterior"]["share"].shape == (8, 5, 3)


def test_a_rejection_is_a_density_of_zero():
    bridge = Bridge(Schools(), rejects=lambda p: p["mu"] < 0)
    target = mcmc.from_stan(bridge)
    draws = draw(target, mcmc.HMC(), **SHORT)
    assert draws["posterior"]["mu"].values.min() >= 0
    with pytest.raises(ValueError, match=r"reject\(\) was called"):
        mcmc.from_stan(Bridge(Schools(), rejects=lambda p: True))


class Here:
    """What calls a function in this process."""

    def __init__(self, fn, data, count):
        self.fn, self.data = fn, data

    def results(self, arguments):
        return (self.fn(each, *self.data) for each in arguments)


@pytest.fixture
def compiled(monkeypatch):
    """A model of PyStan's with its compiled module at hand."""

    def compiled(program, code):
        model, services = pystan(program, code)
        monkeypatch.setattr(stan_protocols, "_services_of", lambda name: services)
        monkeypatch.setattr(stan_protocols, "Workers", Here)
        return model

    return compiled


@pytest.mark.filterwarnings("ignore:(invalid|overflow|divide):RuntimeWarning")  # of the program in NumPy, far out
def test_pystans_compiled_program(compiled, of_arrays, caplog):
    model = compiled(Arrays(), "generated quantities { // normal_rng(0, 1)\n }")
    target = mcmc.from_stan(model)
    assert isinstance(target, StanTarget)
    assert target.dim == Arrays.dim
    assert not caplog.records
    draws = draw(target, mcmc.HMC(), **SHORT)
    assert set(draws["posterior"].data_vars) == set(of_arrays["posterior"].data_vars)
    start = {"share": np.array([0.5, 0.3, 0.2]), "x": CENTRES + 0.1, "below": -2.0}
    y = np.concatenate([value for _, value in target.starts(start)])
    np.testing.assert_allclose(target.describe(y)["share"], start["share"])


def test_random_generated_quantities_of_pystan_are_left_out(compiled, caplog):
    target = mcmc.from_stan(compiled(Schools(), "generated quantities { y_rep = normal_rng(theta, sigma); }"))
    assert "generated quantities are left out" in caplog.text
    assert set(draw(target, mcmc.HMC(), **SHORT)["posterior"].data_vars) == {"mu", "tau", "z", "theta"}


def test_what_is_no_compiled_program():
    with pytest.raises(TypeError, match=r"model: got data .*expected a bridgestan.StanModel"):
        mcmc.from_stan("data { int J; }")
    with pytest.raises(TypeError, match=r"data: got .*where its library is"):
        mcmc.from_stan(Bridge(Schools()), {"J": 8})


def test_other_data_are_given_to_the_library():
    class Loaded(Bridge):
        lib_path = "schools_model.so"

        def __init__(self, library, data, warn=True):
            super().__init__(Schools())
            self.given = library, data, warn

    target = mcmc.from_stan(Loaded("x", None), {"y": Y[:2]})
    assert target.program.model.given == ("schools_model.so", {"y": [28.0, 8.0]}, False)


def test_parts_of_tuples_and_arrays_of_them():
    from mcmc.models.stan_bridge import shapes_of

    assert shapes_of(["a", "pair:1", "pair:2.1", "pair:2.2", "m.1.1", "m.2.1"]) == {
        "a": (),
        "pair.1": (),
        "pair.2": (2,),
        "m": (2, 1),
    }


CODE = """
data { array[3] int n; }
parameters { simplex[3] share; matrix[2, 3] x; real<upper=x[1, 1]> below; }
transformed parameters { vector[2] total; for (i in 1:2) total[i] = sum(x[i]); }
model {
  n ~ multinomial(share);
  for (i in 1:2) for (j in 1:3) x[i, j] ~ normal(10 * (i - 1) + j - 1, 0.5);
  target += below - x[1, 1];
}
generated quantities { array[1, 2] real flat; flat[1, 1] = x[1, 1]; flat[1, 2] = x[1, 2]; }
"""


def test_a_program_that_pystan_compiles():
    """Minutes, where PyStan is installed; the fakes above stand for it elsewhere."""
    stan = pytest.importorskip("stan")
    target = mcmc.from_stan(stan.build(CODE, data={"n": [8, 2, 5]}, random_seed=1))
    test_simplexes_and_matrices_have_their_laws(draw(target, mcmc.HMC(), chains=8, draws=250, warmup=100, seed=2))
