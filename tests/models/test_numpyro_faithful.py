"""What a NumPyro model's values depend on: data, or parts of the density; random draws; names; types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import mcmc
from mcmc.models import from_numpyro
from mcmc.models.faithful import compare

numpyro = pytest.importorskip("numpyro", reason="NumPyro is not installed: its models are not tested")
dist = numpyro.distributions
Y = np.array([1.0, 2.0, 4.0])


def density(target, **p):
    with jax.enable_x64(True):
        return float(target.log_density({n: jnp.asarray(x) for n, x in p.items()}, target.data))


def test_an_observed_value_that_is_latent_counts():
    def model():
        x = numpyro.sample("x", dist.Normal(0, 10))
        numpyro.sample("prior", dist.Normal(0, 1), obs=x)

    target = from_numpyro(model)
    assert target.data == {}
    np.testing.assert_allclose(density(target, x=3.0) - density(target, x=0.0), -0.5 * 9 * 1.01)


def test_imputed_values_count_and_the_rest_is_data():
    def model(age, y):
        missing = np.flatnonzero(np.isnan(age))
        mu = numpyro.sample("mu", dist.Normal(0, 1))
        latent = numpyro.sample("latent", dist.Normal(mu, 1).expand([len(missing)]).mask(False))
        age = jnp.asarray(age).at[missing].set(latent)
        numpyro.sample("age", dist.Normal(mu, 1), obs=age)
        numpyro.sample("y", dist.Normal(age, 2), obs=y)

    target = from_numpyro(model, np.array([0.3, np.nan, 1.0]), Y)
    assert list(target.data) == ["y", "age"]
    normal = stats.norm
    expected = (
        normal.logpdf(0.5) + normal(0.5, 1).logpdf([0.3, 0.8, 1.0]).sum() + normal([0.3, 0.8, 1], 2).logpdf(Y).sum()
    )
    np.testing.assert_allclose(density(target, mu=0.5, latent=[0.8]), expected)
    with jax.enable_x64(True):
        assert list(target.log_likelihood({"mu": jnp.array(0.5), "latent": jnp.array([0.8])}, target.data)) == ["y"]


def test_latent_values_of_a_scan_that_are_observed_count():
    from numpyro.contrib.control_flow import scan

    def model(y):
        a = numpyro.sample("a", dist.Normal(0, 1))

        def step(count, now):
            x = numpyro.sample("x", dist.Normal(0, 1))
            numpyro.sample("pull", dist.Normal(a, 1), obs=x)
            numpyro.sample("y", dist.Normal(x, 1), obs=now)
            return count + jnp.ones(2, bool).sum(), None

        scan(step, jnp.zeros((), jnp.int32), y)  # 64 bits would make its sum another type

    target = from_numpyro(model, Y)
    assert list(target.data) == ["y"]
    x, normal = np.array([0.1, 0.2, 0.3]), stats.norm
    expected = normal.logpdf(0.5) + normal.logpdf(x).sum() + normal(0.5).logpdf(x).sum() + normal(x).logpdf(Y).sum()
    np.testing.assert_allclose(density(target, a=0.5, x=x), expected)


def test_outcomes_made_from_an_argument_follow_it():
    def model(y):
        m = numpyro.sample("m", dist.Normal(0, 1))
        numpyro.sample("change", dist.Normal(m * y[:-1], 1), obs=y[1:])

    target = from_numpyro(model, Y)
    assert list(target.data) == ["y"]
    other = target.with_data({"y": Y + 1})
    np.testing.assert_allclose(
        density(other, m=0.5), stats.norm.logpdf(0.5) + stats.norm([1.0, 1.5]).logpdf([3, 5]).sum()
    )
    with pytest.raises(ValueError, match="values for change"):
        density(target.with_data({}), m=0.5)


def test_names_with_slashes_and_arguments_behind_handlers():
    from numpyro.infer.reparam import LocScaleReparam

    @numpyro.handlers.reparam(config={"m": LocScaleReparam(0)})
    def model(sigma, y):
        with numpyro.handlers.scope(prefix="part"), numpyro.plate("row", 3):
            z = numpyro.sample("z", dist.Normal(1, 2))
            numpyro.deterministic("twice", jnp.stack([z, 2 * z], -1))
        m = numpyro.sample("m", dist.Normal(1, 2))
        numpyro.sample("y", dist.Normal(m + z, sigma), obs=y)

    target = from_numpyro(model, np.ones(3), Y)
    assert target.names == ("part.z", "m_decentered")
    assert list(target.data) == ["y", "sigma"]
    assert target.dims == {"part.z": ["part.row"], "part.twice": ["part.row", "part.twice_dim_1"]}


def keyed():
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(x, 1), obs=jax.random.normal(numpyro.prng_key()))


def keyed_factor():
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.factor("pull", -(x**2) * jax.random.uniform(numpyro.prng_key()))


def keyed_value():
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.deterministic("noisy", x + jax.random.normal(numpyro.prng_key()))


def from_one():
    k = numpyro.sample("k", dist.DiscreteUniform(1, 3), infer={"enumerate": "parallel"})
    x = numpyro.sample("x", dist.Normal(0, 1))
    numpyro.sample("y", dist.Normal(x + k, 1), obs=0.0)


def endless():
    numpyro.sample("k", dist.Poisson(3.0), infer={"enumerate": "parallel"})
    numpyro.sample("x", dist.Normal(0, 1))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (keyed, "a random draw at the site 'y'"),
        (keyed_factor, "a random draw at the site 'pull'"),
        (keyed_value, "a random draw at the site 'noisy'"),
        (from_one, "'k', enumerated; expected values from 0"),
        (endless, "'k' with enumerate='parallel'; expected a finite site"),
    ],
)
def test_what_cannot_be_read_names_its_site(model, text):
    with pytest.raises(ValueError, match=text):
        from_numpyro(model)


def linen_network(prior):
    nn = pytest.importorskip("flax.linen", reason="flax is not installed: its networks are not tested")
    from numpyro.contrib.module import random_flax_module

    return lambda: random_flax_module("net", nn.Dense(1), prior=prior, input_shape=(1,))


def nnx_network(prior):
    nnx = pytest.importorskip("flax.nnx", reason="flax is not installed: its networks are not tested")
    from numpyro.contrib.module import random_nnx_module

    layer = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    return lambda: random_nnx_module("net", layer, prior=prior)


@pytest.mark.parametrize("made_by", [linen_network, nnx_network])
def test_networks_with_priors_on_all_their_weights(made_by):
    def of(network):
        def model(x, y):
            numpyro.sample("y", dist.Normal(network()(x)[:, 0], 1.0), obs=y)

        return model

    target = from_numpyro(of(made_by(dist.Normal(0, 1))), Y[:, None], Y)
    assert set(target.names) == {"net.bias", "net.kernel"}
    got = density(target, **{"net.bias": [0.3], "net.kernel": [[0.5]]})
    np.testing.assert_allclose(got, stats.norm.logpdf([0.3, 0.5]).sum() + stats.norm(0.3 + 0.5 * Y).logpdf(Y).sum())
    with pytest.raises(ValueError, match=r"a param site 'net\$params'"):
        from_numpyro(of(made_by({"kernel": dist.Normal(0, 1)})), Y[:, None], Y)


def test_densities_that_differ_are_refused_with_both_numbers():
    theirs = np.array([-1.0, -2.0, -np.inf, -5.0])
    compare(theirs + 7, theirs, "NumPyro")
    with pytest.raises(ValueError, match=r"changes by -2 .*expected -4, which NumPyro gives"):
        compare(0.5 * theirs, theirs, "NumPyro")
    with pytest.raises(ValueError, match="log density 0; expected -inf"):
        compare(np.array([-1.0, -2.0, 0.0, -5.0]), theirs, "NumPyro")


def test_reading_computes_nothing_but_the_comparison():
    from runs import compilations

    def model(y):
        scale = numpyro.sample("scale", dist.HalfNormal(1).expand([3]).to_event(1))
        numpyro.sample("y", dist.Normal(jnp.cumsum(scale), 1).to_event(1), obs=y)

    with compilations() as names:
        assert isinstance(from_numpyro(model, Y), mcmc.Target)
    assert len(names) < 5, names


# --- dims, calibration -----------------------------------------------------------------


def test_plates_of_deterministic_sites_that_have_some_of_their_axes():
    def model():
        with numpyro.plate("row", 2, dim=-2), numpyro.plate("column", 3, dim=-1):
            z = numpyro.sample("z", dist.Normal(0, 1))
            numpyro.deterministic("total", z.sum(0))
            numpyro.deterministic("pair", jnp.stack([z, z], -1))

        with numpyro.plate("depth", 4, dim=-3):
            numpyro.sample("deep", dist.Normal(0, 1).expand([5]).to_event(1))
            numpyro.deterministic("all", jnp.ones((4, 1, 3)))

    dims = from_numpyro(model).dims
    assert dims["z"] == ["row", "column"]
    assert dims["deep"] == ["depth", "alone_2", "alone_1", "deep_dim_3"]  # shared by all sites
    assert dims["all"] == ["depth", "alone_2", "all_dim_2"]
    assert dims["total"] == ["column"]
    assert dims["pair"] == ["row", "column", "pair_dim_2"]


def regression(x, y, wrong=False):
    slope = numpyro.sample("slope", dist.Normal(0, 2))
    with numpyro.plate("row", len(x)):
        numpyro.sample("y", dist.Normal(slope * x, 1), obs=y)
    if wrong:
        numpyro.factor("pull", slope)


def test_calibration_from_the_model_itself():
    few = {"simulations": 60, "chains": 16, "draws": 20, "warmup": 60}
    found = mcmc.sbc(regression, (Y, Y), kernel=mcmc.RandomWalk(), **few, progress=False)
    assert found.ok
    assert found.ranks.shape == (60, 1)


@pytest.mark.parametrize(
    ("args", "error", "text"),
    [
        ({"x": Y, "y": Y, "wrong": True}, ValueError, "a site 'pull' that weighs the density"),
        ({"x": Y, "y": None}, ValueError, "no outcomes that can be drawn"),
        (3, TypeError, "args: got 3; expected a tuple"),
        (lambda key, p: p, TypeError, "target: got None"),
    ],
)
def test_models_that_a_calibration_cannot_simulate(args, error, text):
    with pytest.raises(error, match=text):
        mcmc.sbc(regression, args, progress=False)
