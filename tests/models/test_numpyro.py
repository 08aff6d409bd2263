"""NumPyro models as targets: the same posterior as by hand and as NumPyro's own NUTS; names, data, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import GROUP, OUTCOME, SIGMA, X, Y, mixed, normal, same_density, same_moments, schools
from runs import compilations, draw, unconverged
from scipy import stats

import mcmc
from mcmc.models import from_numpyro

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
dist, constraints = numpyro.distributions, numpyro.distributions.constraints
FEW = {"chains": 8, "draws": 20, "warmup": 50}


def eight_schools(sigma, y=None):
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    with numpyro.plate("school", len(sigma)):
        z = numpyro.sample("z", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta", mu + tau * z)
        numpyro.sample("effect", dist.Normal(theta, sigma), obs=y)


def mixed_model(x, group, y):
    a = numpyro.sample("a", dist.Uniform(-1, 2))
    b = numpyro.sample("b", dist.Uniform(a, 3))
    w = numpyro.sample("w", dist.Dirichlet(jnp.array([1.0, 2.0, 3.0])))
    cuts = numpyro.sample("cuts", dist.ImproperUniform(constraints.ordered_vector, (), (3,)))
    numpyro.factor("prior", dist.Normal(0, 1).log_prob(cuts).sum())
    with numpyro.plate("group", 4):
        scale = numpyro.sample("scale", dist.Exponential(1))
    with numpyro.plate("row", len(x)):
        numpyro.sample("y", dist.Normal(a + b * x + w @ cuts, scale[group]), obs=y)


@functools.cache
def of_schools():
    """One Target, so that tests share its compiled programs."""
    target = from_numpyro(eight_schools, SIGMA, y=Y)
    target.coords["school"] = list("ABCDEFGH")
    return target


@functools.cache
def of_mixed():
    return from_numpyro(mixed_model, X, GROUP, y=OUTCOME)


# --- the same posterior -----------------------------------------------------------------------------------


def test_eight_schools_by_hand():
    same_density(of_schools(), schools)


def test_every_kind_of_support_by_hand():
    target = of_mixed()
    same_density(target, mixed)
    shown = "a: interval(-1.0, 2.0), b: interval(lower_bound of b, 3.0), w: simplex(3), cuts: ordered(3)"
    assert shown in repr(target)


def own_nuts(model, *args, **kwargs):
    """The halves of one chain: several are slower by far, to compile and to run."""
    kernel = numpyro.infer.NUTS(model)
    run = numpyro.infer.MCMC(kernel, num_warmup=300, num_samples=2000, progress_bar=False)
    with jax.enable_x64(True):
        run.run(jax.random.key(0), *args, **kwargs)
        return {name: np.asarray(x).reshape(2, 1000, *x.shape[1:]) for name, x in run.get_samples().items()}


@pytest.mark.slow
def test_the_moments_of_numpyros_nuts():
    target = of_mixed()
    peer = own_nuts(mixed_model, X, GROUP, y=OUTCOME)
    same_moments(draw(target, chains=32, draws=300, seed=1), peer, target.names)


# --- names, dims, data ------------------------------------------------------------------------------------


def test_the_groups_of_a_run():
    draws = draw(of_schools(), **FEW)
    posterior = draws["posterior"]
    assert posterior["theta"].dims == ("chain", "draw", "school")
    assert posterior["z"].coords["school"].values.tolist() == list("ABCDEFGH")
    theta = posterior["mu"] + posterior["tau"] * posterior["z"]
    np.testing.assert_allclose(posterior["theta"].values, theta.values, rtol=1e-12)
    np.testing.assert_array_equal(draws["observed_data"]["effect"].values, Y)
    np.testing.assert_array_equal(draws["constant_data"]["sigma"].values, SIGMA)
    expected = stats.norm(theta.values, SIGMA).logpdf(Y)
    np.testing.assert_allclose(draws["log_likelihood"]["effect"].values, expected, rtol=1e-10)
    simulated = draws["posterior_predictive"]["effect"]
    assert simulated.dims == ("chain", "draw", "school")
    z = (simulated.values - theta.values) / SIGMA
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / z.size)


@pytest.mark.usefixtures("no_kept_programs")
def test_other_data_compile_no_other_sampler():
    target = of_schools()
    assert list(target.data) == ["effect", "sigma"]
    draw(target, **FEW, geometry="affine")
    other = target.with_data({**target.data, "effect": Y + 50, "sigma": SIGMA / 10})
    with compilations() as names:
        draws = draw(other, **FEW, geometry="affine")
    assert set(names) <= {"jit(every)", "jit(_evaluate)"}  # the log likelihood and predictions; Pathfinder's slopes
    assert draws["posterior"]["theta"].mean() > 30
    with pytest.raises(ValueError, match=r"data\['effect'\]: got shape \(1,\); expected shape \(8,\)"):
        draw(target.with_data({"effect": Y[:1], "sigma": SIGMA}), **FEW)
    fresh = from_numpyro(eight_schools, SIGMA / 10, y=Y + 50)
    p = {"mu": 1.0, "tau": 2.0, "z": np.ones(8)}
    one, two = (jax.jit(t.log_density)(p, t.data) for t in (other, fresh))
    assert one == two


def test_predictions_for_other_rows_leave_the_outcome_out():
    def line(x, y=None):
        slope = numpyro.sample("slope", dist.Normal(0, 1))
        with numpyro.plate("row", len(x)):
            numpyro.sample("y", dist.Normal(slope * x, 0.01), obs=y)

    target = from_numpyro(line, X, y=2 * X)
    draws = draw(target, mcmc.RandomWalk(), **FEW)
    new = mcmc.predict(target, draws, data={"x": np.array([100.0, -100.0, 0.0])})
    mean = new["predictions"]["y"].mean(("chain", "draw"))
    np.testing.assert_allclose(mean, [200, -200, 0], atol=1)
    assert "y" not in new["log_likelihood"].data_vars
    with pytest.raises(ValueError, match=r"data: got.*expected values for y"):
        draw(target.with_data({"x": X}), **FEW)


def test_arguments_may_be_nested_and_fixed():
    def model(data, kind="normal"):
        assert kind == "normal"
        levels = len(np.unique(data["group"]))  # a plain number: needs the values themselves
        with numpyro.plate("level", levels):
            m = numpyro.sample("m", dist.Normal(0, 1))
        numpyro.sample("y", dist.Normal(m[data["group"]], 1).to_event(1), obs=jnp.log(data["y"]))

    data = {"group": np.array([0, 1, 1, 2]), "y": np.arange(1.0, 5.0)}
    target = from_numpyro(model, data)
    assert list(target.data) == ["data.group", "data.y"]
    assert target.dims["m"] == ["level"]
    changed = target.with_data({**target.data, "data.y": np.ones(4)})
    p = {"m": jnp.zeros(3)}
    np.testing.assert_allclose(changed.log_density(p, changed.data), 7 * -0.5 * np.log(2 * np.pi), rtol=1e-6)
    with pytest.raises(ValueError, match=r"data.group.*the value it had"):
        target.with_data({**target.data, "data.group": np.array([0, 0, 1, 2])})


def test_data_that_a_bound_depends_on_are_fixed():
    def model(y):
        top = numpyro.sample("top", dist.Uniform(0, 10 * y.max()))
        numpyro.sample("y", dist.Uniform(0, top + y.max()), obs=y)

    target = from_numpyro(model, np.array([1.0, 2.0]))
    assert repr(target.parameters["top"]) == "interval(0.0, 20.0)"
    with pytest.raises(ValueError, match=r"data\['y'\].*the value it had"):
        target.with_data({"y": np.array([1.0, 3.0])})
    with pytest.raises(ValueError, match="data: got 'z'; expected y"):
        target.with_data({"z": np.zeros(2)})


def test_simulations_that_are_left_out_leave_their_dims():
    def model(y):
        with numpyro.plate("row", len(y)):
            m = numpyro.sample("m", dist.Normal(0, 1))
            numpyro.sample("change", dist.Normal(m, 1), obs=jnp.cumsum(y))

    target = from_numpyro(model, np.ones(3))
    target.log_likelihood = target.predictive = None  # as the docs advise for many observations
    draws = draw(target, mcmc.RandomWalk(), **FEW)
    assert draws["posterior"]["m"].dims == ("chain", "draw", "row")
    assert "log_likelihood" not in draws.children


def test_a_model_without_observations():
    target = from_numpyro(lambda: numpyro.sample("x", dist.Gamma(2, 1)))
    assert target.log_likelihood is None
    assert target.predictive is None
    x = draw(target, mcmc.RandomWalk(), chains=32, draws=400)["posterior"]["x"].values
    assert abs(x.mean() - 2) < 5 * mcmc.mcse(x)


def test_conditioned_scanned_and_reparametrised_models():
    from numpyro.contrib.control_flow import scan
    from numpyro.infer.reparam import LocScaleReparam

    def model():
        phi = numpyro.sample("phi", dist.Uniform(-1, 1))
        m = numpyro.sample("m", dist.Normal(phi, 2))

        def step(before, _):
            x = numpyro.sample("x", dist.Normal(phi * before, 1))
            return x, x

        scan(step, m, None, length=5)

    x = np.array([1.0, 0.5, 0.0, -1.0, 2.0])
    with jax.enable_x64(True):
        given = jnp.asarray(x)
    handled = numpyro.handlers.reparam(model, config={"m": LocScaleReparam(0)})
    handled = numpyro.handlers.condition(handled, {"x": given})
    target = from_numpyro(handled)
    assert target.names == ("phi", "m_decentered")
    np.testing.assert_array_equal(target.data["x"], x)
    phi, m = 0.3, 1.7

    def by_hand(p):
        m = p["phi"] + 2 * p["m_decentered"]
        before = jnp.concatenate([m[None], jnp.asarray(x[:-1])])
        return normal(p["m_decentered"], 0, 1.0) + jnp.sum(normal(x, p["phi"] * before, 1.0))

    hand = mcmc.Target(by_hand, {"phi": mcmc.interval(-1.0, 1.0), "m_decentered": mcmc.real()})
    same_density(target, hand)
    p = {"phi": jnp.asarray(phi), "m_decentered": jnp.asarray(m)}
    np.testing.assert_allclose(target.derived(p, target.data)["m"], phi + 2 * m, rtol=1e-6)


# --- supports ---------------------------------------------------------------------------------------------


def test_the_supports_of_sites():
    def model():
        numpyro.sample("angle", dist.VonMises(0, 1))
        numpyro.sample("above", dist.Pareto(2.0, 3.0))
        numpyro.sample("below", dist.TruncatedNormal(0, 1, high=-1.0))
        numpyro.sample("rows", dist.Beta(jnp.ones((2, 1)), jnp.ones(3)))
        numpyro.sample("factor", dist.LKJCholesky(3, 2.0))
        numpyro.sample("correlation", dist.LKJ(3, 2.0))
        numpyro.sample("covariance", dist.Wishart(5.0, jnp.eye(2)))
        numpyro.sample("cholesky", dist.WishartCholesky(5.0, jnp.eye(2)))
        numpyro.sample("direction", dist.ProjectedNormal(jnp.array([1.0, 0.0, 0.0])))
        numpyro.sample("zero", dist.ZeroSumNormal(1.0, event_shape=(4,)))
        numpyro.sample("vector", dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)))
        with numpyro.plate("b", 5):
            numpyro.sample("weights", dist.Dirichlet(jnp.ones(3)))

    shown = {n: repr(s) for n, s in from_numpyro(model).parameters.items()}
    assert shown == {
        "angle": "circular()",
        "above": "lower(2.0)",
        "below": "upper(-1.0)",
        "rows": "interval(0.0, 1.0, shape=(2, 3))",
        "factor": "cholesky_factor_corr(3)",
        "correlation": "corr_matrix(3)",
        "covariance": "cov_matrix(2)",
        "cholesky": "cholesky_factor_cov(2)",
        "direction": "unit_vector(3)",
        "zero": "zero_sum(4)",
        "vector": "real(shape=(2,))",
        "weights": "simplex(3, shape=(5,))",
    }


def test_series_in_single_precision_run_in_double():
    from numpyro.contrib.control_flow import scan

    def model(y):
        phi = numpyro.sample("phi", dist.Uniform(-1, 1))

        def step(before, now):
            return numpyro.sample("y", dist.Normal(phi * before, 1), obs=now), None

        scan(step, 0.0, y)

    y = jnp.array([1.0, 0.5, 0.0, -1.0, 2.0])
    assert y.dtype == np.float32
    target = from_numpyro(model, y)

    def by_hand(p):
        return jnp.sum(normal(y, p["phi"] * jnp.concatenate([jnp.zeros(1), y[:-1]]), 1.0))

    same_density(target, mcmc.Target(by_hand, {"phi": mcmc.interval(-1.0, 1.0)}))
    with unconverged():
        draws = mcmc.sample(target, mcmc.RandomWalk(), **FEW, dtype="float32", progress=False)
    assert draws["posterior"]["phi"].dtype == np.float32


def exact_matrices(n):
    """Draws of the three laws below: partial correlations of a vine, Bartlett's factor, centred normals."""
    rng = np.random.default_rng(1)
    first, second = (2 * rng.beta(2.5, 2.5, n) - 1 for _ in range(2))
    partial = 2 * rng.beta(2.0, 2.0, n) - 1
    factor, cholesky = np.zeros((n, 3, 3)), np.zeros((n, 2, 2))
    factor[:, 0, 0] = 1
    factor[:, 1, :2] = np.stack([first, np.sqrt(1 - first**2)], 1)
    rest = np.sqrt(1 - second**2)
    factor[:, 2] = np.stack([second, partial * rest, np.sqrt(1 - partial**2) * rest], 1)
    cholesky[:, 0, 0], cholesky[:, 1, 1] = np.sqrt(rng.chisquare(6.0, n)), np.sqrt(rng.chisquare(5.0, n))
    cholesky[:, 1, 0] = rng.normal(size=n)
    z = 2 * rng.normal(size=(n, 4))
    return {"factor": factor, "cholesky": cholesky, "zero": z - z.mean(1, keepdims=True)}


def test_the_laws_of_matrices_are_the_priors():
    with jax.enable_x64(True):
        laws = {
            "factor": dist.LKJCholesky(3, 2.0),
            "cholesky": dist.WishartCholesky(6.0, jnp.eye(2)),
            "zero": dist.ZeroSumNormal(2.0, event_shape=(4,)),
        }
        target = from_numpyro(lambda: [numpyro.sample(site, law) for site, law in laws.items()])
    draws = draw(target, chains=32, draws=300)["posterior"]
    for site, y in exact_matrices(40_000).items():
        x = draws[site].values
        for power in (1, 2):
            error = np.hypot(mcmc.mcse(x**power), (y**power).std(0) / 200)
            assert np.all(np.abs((x**power).mean((0, 1)) - (y**power).mean(0)) < 5 * error + 1e-12), site


def test_discrete_sites_are_integers_and_booleans():
    def model(y):
        k = numpyro.sample("k", dist.Categorical(jnp.array([0.2, 0.3, 0.5])))
        n = numpyro.sample("n", dist.Poisson(3))
        m = numpyro.sample("m", dist.Binomial(n, 0.5))
        with numpyro.plate("row", len(y)):
            z = numpyro.sample("z", dist.Bernoulli(0.4))
            numpyro.sample("y", dist.Normal(jnp.array([-1.0, 1.0])[z] + k + m, 1), obs=y)

    y = np.array([0.5, 3.0])
    target = from_numpyro(model, y)
    assert target.discrete == ("k", "n", "m", "z")
    assert [repr(target.parameters[n]) for n in "kn"] == ["integer(0, 2)", "integer(0)"]
    assert repr(target.parameters["z"]) == "boolean(shape=(2,))"
    with jax.enable_x64(True):
        p, inside = target.constrain(jnp.array([1.0, 4.0, 2.0, 0.0, 1.0]))
        _, outside = target.constrain(jnp.array([1.0, 1.0, 2.0, 0.0, 1.0]))  # m above n
        got = float(target.log_density(p, {"y": jnp.asarray(y)}))
        assert inside == 0
        assert outside == -np.inf
    expected = np.log(0.3) + stats.poisson(3).logpmf(4) + stats.binom(4, 0.5).logpmf(2) + np.log(0.6 * 0.4)
    np.testing.assert_allclose(got, expected + stats.norm([2.0, 4.0]).logpdf(y).sum(), rtol=1e-10)


# --- errors -----------------------------------------------------------------------------------------------


def param():
    numpyro.sample("x", dist.Normal(numpyro.param("loc", 0.0), 1))


def minibatch():
    with numpyro.plate("rows", 10, subsample_size=2):
        numpyro.sample("x", dist.Normal(0, 1))


def masked():
    numpyro.sample("x", dist.Normal(0, 1).expand([2]), obs=jnp.zeros(2), obs_mask=jnp.array([True, False]))


def nothing_latent():
    numpyro.sample("x", dist.Normal(0, 1), obs=1.0)


def l1_ball():
    numpyro.sample("x", dist.ImproperUniform(constraints.l1_ball, (), (3,)))


@pytest.mark.parametrize(
    ("model", "args", "error", "text"),
    [
        (param, (), ValueError, "a param site 'loc'.*numpyro.sample"),
        (minibatch, (), ValueError, "'rows' with 2 of 10.*whole data"),
        (masked, (), ValueError, "obs_mask= at 'x'"),
        (nothing_latent, (), ValueError, "a latent sample site"),
        (l1_ball, (), ValueError, "site 'x' on .*a support that mcmc has"),
        (eight_schools, (), TypeError, "args: got missing a required argument.*sigma"),
        (None, (), TypeError, "model: got None"),
    ],
)
def test_errors_say_what_to_do(model, args, error, text):
    with pytest.raises(error, match=text):
        from_numpyro(model, *args)
