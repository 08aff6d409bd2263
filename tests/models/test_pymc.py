"""PyMC models as targets: the same posterior as by hand and as PyMC's own NUTS; names, dims, data, errors."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import GROUP, OUTCOME, SIGMA, X, Y, mixed, same_density, same_moments, schools
from runs import compilations, draw, unconverged
from scipy import stats

import mcmc
from mcmc.models import from_pymc

pm = pytest.importorskip("pymc", reason="PyMC is not installed: its models are not tested")
transforms = pm.distributions.transforms
FEW = {"chains": 8, "draws": 20, "warmup": 50}


def schools_model():
    with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
        sigma = pm.Data("sigma", SIGMA, dims="school")
        mu = pm.Normal("mu", 0, 5)
        tau = pm.HalfCauchy("tau", 5)
        z = pm.Normal("z", 0, 1, dims="school", initval=np.zeros(8))
        theta = pm.Deterministic("theta", mu + tau * z, dims="school")
        pm.Normal("effect", theta, sigma, observed=Y, dims="school")
    return model


def mixed_model():
    with pm.Model(coords={"group": range(4)}) as model:
        a = pm.Uniform("a", -1, 2)
        b = pm.Uniform("b", a, 3)
        w = pm.Dirichlet("w", np.array([1.0, 2.0, 3.0]))
        cuts = pm.Normal("cuts", 0, 1, shape=3, transform=transforms.ordered, initval=[-1, 0, 1])
        scale = pm.Exponential("scale", 1, dims="group")
        pm.Normal("y", a + b * X + (w * cuts).sum(), scale[GROUP], observed=OUTCOME)
    return model


@pytest.fixture(scope="module")
def of_schools():
    return from_pymc(schools_model())


@pytest.fixture(scope="module")
def of_mixed():
    return from_pymc(mixed_model())


# --- the same posterior -----------------------------------------------------------------------------------


def test_eight_schools_by_hand(of_schools):
    same_density(of_schools, schools)


def test_every_kind_of_support_by_hand(of_mixed):
    target = of_mixed
    same_density(target, mixed)
    shown = "a: interval(-1.0, 2.0), b: interval(lower bound of b, 3.0), w: simplex(3), cuts: ordered(3)"
    assert shown in repr(target)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyMC's own, while it samples
def test_the_moments_of_pymcs_nuts(of_mixed):
    settings = {"progressbar": False, "compute_convergence_checks": False, "quiet": True, "target_accept": 0.9}
    peer = pm.sample(700, tune=500, chains=2, cores=1, random_seed=3, model=mixed_model(), **settings)
    peer = {n: peer["posterior"][n].values for n in of_mixed.names}
    same_moments(draw(of_mixed, chains=32, draws=300, seed=1), peer, of_mixed.names)


# --- names, dims, data ------------------------------------------------------------------------------------


def test_the_groups_of_a_run(of_schools):
    draws = draw(of_schools, **FEW)
    posterior = draws["posterior"]
    assert posterior["theta"].dims == ("chain", "draw", "school")
    assert posterior["z"].coords["school"].values.tolist() == list("ABCDEFGH")
    theta = (posterior["mu"] + posterior["tau"] * posterior["z"]).values
    np.testing.assert_allclose(posterior["theta"].values, theta, rtol=1e-12)
    np.testing.assert_array_equal(draws["observed_data"]["effect"].values, Y)
    np.testing.assert_array_equal(draws["constant_data"]["sigma"].values, SIGMA)
    assert draws["constant_data"]["sigma"].dims == ("school",)
    expected = stats.norm(theta, SIGMA).logpdf(Y)
    np.testing.assert_allclose(draws["log_likelihood"]["effect"].values, expected, rtol=1e-10)


@pytest.mark.usefixtures("no_kept_programs")
def test_other_data_compile_no_other_sampler(of_schools):
    assert list(of_schools.data) == ["effect", "sigma"]
    draw(of_schools, **FEW, geometry="affine")
    other = of_schools.with_data({"effect": Y + 50, "sigma": SIGMA / 10})
    with compilations() as names:
        draws = draw(other, **FEW, geometry="affine")
    assert set(names) <= {"jit(every)", "jit(_evaluate)"}  # the log likelihood; Pathfinder's slopes
    assert draws["posterior"]["theta"].mean() > 30
    with pytest.raises(ValueError, match=r"data\['effect'\]: got shape \(1,\); expected shape \(8,\)"):
        draw(of_schools.with_data({"effect": Y[:1], "sigma": SIGMA}), **FEW)


def test_single_precision(of_schools):
    with unconverged():
        draws = mcmc.sample(of_schools, mcmc.RandomWalk(), **FEW, dtype="float32", progress=False)
    assert draws["posterior"]["mu"].dtype == np.float32
    assert np.isfinite(draws["log_likelihood"]["effect"].values).all()


def test_no_global_setting_is_touched(of_schools):
    assert not jax.config.jax_enable_x64
    assert "xla_force_host_platform_device_count=100" not in os.environ.get("XLA_FLAGS", "")


def test_data_that_a_bound_depends_on_are_fixed():
    with pm.Model() as model:
        top = pm.Data("top", 4.0)
        slope = pm.Data("slope", 2.0)
        x = pm.Uniform("x", 0, top)
        pm.Normal("y", slope * x, 1, observed=[1.0, 2.0])
    target = from_pymc(model)
    assert repr(target.parameters["x"]) == "interval(0.0, 4.0)"
    target.with_data({**target.data, "slope": 3.0})
    with pytest.raises(ValueError, match=r"data\['top'\].*the value it had"):
        target.with_data({**target.data, "top": 5.0})
    with pytest.raises(ValueError, match="data: got 'z'; expected y"):
        target.with_data({"z": 1.0})


def test_missing_values_and_potentials():
    y = np.ma.masked_invalid([1.0, np.nan, 3.0])
    with pm.Model() as model:
        m = pm.Normal("m", 0, 2)
        with pytest.warns(pm.exceptions.ImputationWarning):
            pm.Normal("y", m, 1, observed=y)
        pm.Potential("tilt", 0.5 * m)
    target = from_pymc(model)
    assert set(target.names) == {"m", "y_unobserved"}
    assert list(target.data) == ["y_observed"]
    with jax.enable_x64(True):
        p = {"m": jnp.asarray(0.3), "y_unobserved": jnp.array([2.5])}
        got = float(target.log_density(p, target.data))
    assert target.derived is None  # the merged array is no value of its own
    expected = stats.norm(0, 2).logpdf(0.3) + stats.norm(0.3, 1).logpdf([1.0, 2.5, 3.0]).sum() + 0.15
    np.testing.assert_allclose(got, expected)


# --- supports ---------------------------------------------------------------------------------------------


def test_the_supports_of_variables():
    with pm.Model() as model:
        pm.VonMises("angle", 0, 1)
        pm.Pareto("above", 3.0, 2.0)
        pm.TruncatedNormal("below", 0, 1, upper=-1.0)
        pm.Beta("rows", 1, 1, shape=(2, 3))
        pm.LKJCorr("factor", n=3, eta=2)
        pm.LKJCholeskyCov("packed", n=3, eta=2, sd_dist=pm.Exponential.dist(1.0))
        pm.ZeroSumNormal("zero", shape=4)
        pm.MvNormal("vector", np.zeros(2), np.eye(2))
        pm.Gamma("rising", 2, 1, shape=3, transform=transforms.Ordered(positive=True), default_transform=None)
        pm.Dirichlet("weights", np.ones((5, 3)))
    shown = {n: repr(s) for n, s in from_pymc(model).parameters.items()}
    assert shown == {
        "angle": "circular()",
        "above": "lower(2.0)",
        "below": "upper(-1.0)",
        "rows": "interval(0.0, 1.0, shape=(2, 3))",
        "factor": "cholesky_factor_corr(3)",
        "packed": "packed_cholesky(6)",
        "zero": "zero_sum(4)",
        "vector": "real(shape=(2,))",
        "rising": "positive_ordered(3)",
        "weights": "simplex(3, shape=(5,))",
    }


def test_the_law_of_a_covariance_is_the_priors():
    with pm.Model() as model:
        pm.LKJCholeskyCov("c", n=2, eta=2, sd_dist=pm.Exponential.dist(1.0))
    draws = draw(from_pymc(model), chains=32, draws=400)
    sd, corr = draws["posterior"]["c_stds"].values, draws["posterior"]["c_corr"].values[..., 0, 1]
    assert np.all(np.abs(sd.mean((0, 1)) - 1) < 5 * mcmc.mcse(sd))  # exponential(1): mean 1
    assert abs((corr**2).mean() - 1 / 5) < 5 * mcmc.mcse(corr**2)  # (corr + 1) / 2 ~ beta(2, 2)


def test_discrete_variables_are_integers_and_booleans():
    with pm.Model() as model:
        k = pm.Categorical("k", [0.2, 0.3, 0.5])
        n = pm.Poisson("n", 3)
        m = pm.Binomial("m", n, 0.5)
        z = pm.Bernoulli("z", 0.4, shape=2)
        pm.Normal("y", 2.0 * z - 1 + k + m, 1, observed=[0.5, 3.0])
    target = from_pymc(model)
    assert target.discrete == ("k", "n", "m", "z")
    assert [repr(target.parameters[n]) for n in "kn"] == ["integer(0, 2)", "integer(0)"]
    assert repr(target.parameters["z"]) == "boolean(shape=(2,))"
    with jax.enable_x64(True):
        p, inside = target.constrain(jnp.array([1.0, 4.0, 2.0, 0.0, 1.0]))
        _, outside = target.constrain(jnp.array([1.0, 1.0, 2.0, 0.0, 1.0]))  # m above n
        got = float(target.log_density(p, target.data))
        assert inside == 0
        assert outside == -np.inf
    expected = np.log(0.3) + stats.poisson(3).logpmf(4) + stats.binom(4, 0.5).logpmf(2) + np.log(0.6 * 0.4)
    np.testing.assert_allclose(got, expected + stats.norm([2.0, 4.0]).logpdf([0.5, 3.0]).sum())


# --- without a JAX form, and other data -------------------------------------------------------------------


KNOTS = np.linspace(0, 2, 10)


@pytest.fixture(scope="module")
def without_jax():
    with pm.Model() as model:
        error = pm.Data("error", 0.5)
        x = pm.Interpolated("x", KNOTS, 1 + KNOTS)  # a density that PyTensor has no JAX form of
        shift = pm.Normal("shift", 0, 1)
        both = pm.Deterministic("both", pm.math.stack([x, x + shift]))
        pm.Normal("y", both, error, observed=[1.0, 0.5])
    return model


@pytest.fixture(scope="module")
def compiled(without_jax):
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setattr("mcmc.models.pymc_compiled.logger.warning", lambda text, *a: said.append(text % a))
        target = from_pymc(without_jax)
    assert len(said) == 1
    assert "'x' (No JAX conversion" in said[0]
    assert "compiled density and gradient is called on the host" in said[0]
    return target


def moments_by_quadrature(error):
    """Mean and sd of x; the shift is integrated in closed form."""
    x = np.linspace(0, 2, 4001)
    density = (1 + x) * stats.norm(x, error).pdf(1.0) * stats.norm(x, np.hypot(error, 1)).pdf(0.5)
    mean = np.trapezoid(x * density, x) / np.trapezoid(density, x)
    return mean, np.sqrt(np.trapezoid((x - mean) ** 2 * density, x) / np.trapezoid(density, x))


def test_a_model_without_a_jax_form_runs_compiled(compiled):
    few = {"chains": 8, "draws": 300, "warmup": 100, "geometry": "affine"}
    draws = draw(compiled, mcmc.HMC(), **few)
    other = draw(compiled.with_data({**compiled.data, "error": 1.5}), mcmc.HMC(), **few)
    for run, error in [(draws, 0.5), (other, 1.5)]:
        x, (mean, sd) = run["posterior"]["x"].values, moments_by_quadrature(error)
        assert abs(x.mean() - mean) < 5 * mcmc.mcse(x)
        assert abs(x.std() - sd) < 5 * mcmc.mcse(x, method="sd")
        both = np.stack([x, x + run["posterior"]["shift"].values], -1)
        np.testing.assert_allclose(run["posterior"]["both"].values, both)
        expected = stats.norm(both, error).logpdf([1.0, 0.5])
        np.testing.assert_allclose(run["log_likelihood"]["y"].values, expected)


def test_set_data_and_with_data_are_one(of_schools):
    model = schools_model()
    before = from_pymc(model)
    pm.set_data({"sigma": SIGMA / 10}, model=model)
    after, other = from_pymc(model), before.with_data({**before.data, "sigma": SIGMA / 10})
    with jax.enable_x64(True):
        p = before.constrain(jnp.linspace(-1, 1, before.dim))[0]
        lps = [float(t.log_density(p, t.data)) for t in (before, after, other, of_schools)]
    assert lps[1] == lps[2]
    assert lps[0] == lps[3]  # what was read keeps its data
    assert lps[0] != lps[1]
    np.testing.assert_array_equal(model["sigma"].get_value(), SIGMA / 10)


# --- errors -----------------------------------------------------------------------------------------------


def chained():
    pm.HalfNormal("x", 1, shape=3, transform=transforms.ordered)


def nothing_free():
    pm.Normal("x", 0, 1, observed=1.0)


def minibatch():
    m = pm.Normal("m", 0, 1)
    pm.Normal("y", m, 1, observed=pm.Minibatch(np.zeros(10), batch_size=2), total_size=10)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (chained, "'x' with the transform LogTransform then Ordered.*another transform"),
        (nothing_free, "a free random variable"),
        (minibatch, "in the log density of 'y'; expected no random draw"),
    ],
)
def test_errors_say_what_to_do(build, text):
    with pm.Model() as model:
        build()
    with pytest.raises(ValueError, match=text):
        from_pymc(model)


def test_something_else_than_a_model():
    with pytest.raises(TypeError, match=r"model: got 3; expected a pymc.Model"):
        from_pymc(3)
