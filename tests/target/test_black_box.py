"""Black boxes: any function on the host, called with NumPy arrays; its errors come out as they are."""

import re
import traceback
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw, resume, same, unconverged

import mcmc

RNG = np.random.default_rng(123)
X = np.sort(10 * RNG.random(50))
ERROR = 0.1 + 0.5 * RNG.random(50)
Y = 4.294 - 0.9594 * X
Y = Y + np.abs(0.534 * Y) * RNG.normal(size=50) + ERROR * RNG.normal(size=50)
LINE = {"m": mcmc.interval(-5.0, 0.5), "b": mcmc.interval(0.0, 10.0), "log_f": mcmc.interval(-10.0, 1.0)}
SHORT = {"chains": 8, "draws": 30, "warmup": 10, "superchains": 0, "seed": 4}


def line(p):
    """The log likelihood of a straight line whose errors are underestimated by a share of the model."""
    model = p["m"] * X + p["b"]
    variance = ERROR**2 + model**2 * np.exp(2 * p["log_f"])
    return -0.5 * np.sum((Y - model) ** 2 / variance + np.log(variance))


def lines(p):
    """The same, vectorised over chains."""
    return line_of({k: v[:, None] for k, v in p.items()}, np, axis=-1)


def line_of(p, xp, axis=None):
    model = p["m"] * X + p["b"]
    variance = ERROR**2 + model**2 * xp.exp(2 * p["log_f"])
    return -0.5 * xp.sum((Y - model) ** 2 / variance + xp.log(variance), axis=axis)


def exact_moments():
    """Means and standard deviations of the line's parameters by quadrature."""
    grids = [np.linspace(-1.7, -0.4, 90), np.linspace(1.5, 7.5, 90), np.linspace(-2.0, 0.9, 90)]
    m, b, f = (g.ravel() for g in np.meshgrid(*grids, indexing="ij"))
    lp = np.concatenate(
        [lines(dict(zip(LINE, part, strict=True))) for part in zip(*(np.split(g, 90) for g in (m, b, f)), strict=True)]
    )
    weight = np.exp(lp - lp.max())
    weight /= weight.sum()
    mean = [np.sum(weight * g) for g in (m, b, f)]
    return mean, [np.sqrt(np.sum(weight * (g - a) ** 2)) for g, a in zip((m, b, f), mean, strict=True)]


def normal_box(fn=None, **more):
    return mcmc.Target.black_box(fn or (lambda p: -0.5 * np.sum(p["x"] ** 2)), {"x": mcmc.real(2)}, **more)


# --- the draws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fn", "vectorized"), [(line, False), (lines, True)], ids=["one by one", "vectorized"])
def test_the_line_fit_by_default(fn, vectorized):
    target = mcmc.Target.black_box(fn, LINE, vectorized=vectorized)
    draws = draw(target, chains=24, warmup=400, draws=600, seed=2)
    assert draws.attrs["kernel"].startswith("DifferentialEvolution")
    mean, sd = exact_moments()
    for name, a, s in zip(LINE, mean, sd, strict=True):
        x = draws["posterior"][name].values
        assert mcmc.rhat(x) < 1.02
        assert abs(x.mean() - a) < 4.5 * mcmc.mcse(x)
        assert abs(x.std() - s) < 4.5 * mcmc.mcse(x, method="sd")


@pytest.mark.parametrize("kernel", [mcmc.DifferentialEvolution(), mcmc.RandomWalk()], ids=lambda k: type(k).__name__)
def test_a_black_box_gives_the_draws_of_the_same_density_in_jax(kernel):
    box = draw(mcmc.Target.black_box(lines, LINE, vectorized=True), kernel, **SHORT)
    one = draw(mcmc.Target.black_box(line, LINE), kernel, **SHORT)
    traced = draw(mcmc.Target(lambda p: line_of(p, jnp), LINE), kernel, **{**SHORT, "lanes": 8})
    for other in (one, traced):  # rounding differs in the last bits, and grows slowly
        np.testing.assert_allclose(
            box["posterior"]["m"].values[:, :10], other["posterior"]["m"].values[:, :10], rtol=1e-6
        )


def test_a_resumed_run_is_the_unbroken_one():
    target = normal_box()
    whole = draw(target, **SHORT)
    same(whole, resume(target, draw(target, **{**SHORT, "draws": 11}), 19))
    with pytest.raises(mcmc.FingerprintError, match="target"):
        resume(normal_box(lambda p: -1.0 * np.sum(p["x"] ** 2)), whole, 5)


def test_float32():
    seen = set()

    def density(p):
        seen.add(p["x"].dtype)
        return -0.5 * np.sum(p["x"] ** 2)

    draws = draw(normal_box(density), dtype="float32", **SHORT)
    assert draws["posterior"]["x"].dtype == np.float32
    assert seen == {np.dtype("float32")}


# --- how the function is called -----------------------------------------------------------------------


def test_what_the_function_gets():
    seen = []

    def density(p, data):
        seen.append(p)
        assert type(data["y"]) is np.ndarray
        assert isinstance(p["a"]["b"], np.ndarray)
        assert p["scale"] > 0
        p["a"]["b"] += 0.0  # a copy: writing does no harm
        return -0.5 * np.sum((p["a"]["b"] - data["y"]) ** 2) - p["scale"]

    parameters = {"a": {"b": mcmc.real(3)}, "scale": mcmc.positive()}
    target = mcmc.Target.black_box(density, parameters, data={"y": np.arange(3.0)})
    draws = draw(target, **SHORT)
    assert set(seen[0]) == {"a", "scale"}
    kept = draws["posterior"]["a.b"].values.reshape(-1, 3)
    given = np.array([p["a"]["b"] for p in seen])
    assert all((given == row).all(1).any() for row in kept[::17])


@pytest.mark.parametrize(("kernel", "chains", "rows"), [(None, 8, 4), (mcmc.RandomWalk(), 5, 5)])
def test_all_chains_that_move_are_one_call(kernel, chains, rows):
    sizes = []

    def density(p):
        sizes.append(len(p["x"]))
        return -0.5 * np.sum(p["x"] ** 2, -1)

    draw(normal_box(density, vectorized=True), kernel, **{**SHORT, "chains": chains})
    first = sizes.index(rows) if kernel is None else 0
    assert set(sizes[first:]) == {rows}
    assert set(sizes[:first]) <= {chains}
    assert len(sizes) - first >= 40 * (chains // rows)


def test_a_black_box_is_its_own_program():
    one = draw(normal_box(lambda p: -0.5 * np.sum((p["x"] - 30) ** 2)), **{**SHORT, "warmup": 300})
    other = draw(normal_box(lambda p: -0.5 * np.sum((p["x"] + 30) ** 2)), **{**SHORT, "warmup": 300})
    assert abs(one["posterior"]["x"].values.mean() - 30) < 2
    assert abs(other["posterior"]["x"].values.mean() + 30) < 2


def test_other_data():
    target = mcmc.Target.black_box(
        lambda p, data: -0.5 * np.sum((p["x"] - data) ** 2), {"x": mcmc.real(2)}, data=np.zeros(2)
    )
    settings = {**SHORT, "warmup": 300}
    assert abs(draw(target, **settings)["posterior"]["x"].values.mean()) < 2
    assert abs(draw(target.with_data(np.full(2, 50.0)), **settings)["posterior"]["x"].values.mean() - 50) < 2
    assert abs(draw(target, **settings)["posterior"]["x"].values.mean()) < 2


def test_derived_values_and_predictions_are_jax():
    target = mcmc.Target.black_box(
        lambda p, y: -0.5 * np.sum((p["x"] - y) ** 2),
        {"x": mcmc.real(2)},
        data=np.zeros(2),
        derived=lambda p, y: {"sum": jnp.sum(p["x"])},
        log_likelihood=lambda p, y: {"y": -0.5 * (p["x"] - y) ** 2},
        dims={"x": ["side"]},
        coords={"side": ["left", "right"]},
    )
    draws = draw(target, **SHORT)
    x = draws["posterior"]["x"]
    assert list(x.coords["side"].values) == ["left", "right"]
    np.testing.assert_allclose(draws["posterior"]["sum"].values, x.values.sum(-1))
    np.testing.assert_allclose(draws["log_likelihood"]["y"].values, -0.5 * x.values**2)


# --- errors -------------------------------------------------------------------------------------------


class Special(Exception):
    pass


@pytest.mark.parametrize("kernel", [None, mcmc.RandomWalk()], ids=["default", "random walk"])
@pytest.mark.parametrize("after", [0, 100])
def test_an_exception_comes_out_as_it_is(kernel, after):
    error, calls = Special("the file of the lens model is gone"), []

    def broken_model(p):
        calls.append(p)
        if len(calls) > after:
            raise error
        return -0.5 * np.sum(p["x"] ** 2)

    target = normal_box(broken_model)
    with pytest.raises(Special) as caught:
        draw(target, kernel, **SHORT)
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "broken_model" in {frame.name for frame in traceback.extract_tb(error.__traceback__)}
    assert len(calls) == after + 1
    calls.clear()
    after = 10**9
    assert draw(target, kernel, **SHORT)["posterior"].sizes["draw"] == 30  # nothing of it stays behind


def test_an_interrupt_keeps_the_draws_so_far():
    calls = []

    def density(p):
        calls.append(p)
        if len(calls) > 8 * 25:
            raise KeyboardInterrupt
        return -0.5 * np.sum(p["x"] ** 2)

    draws = draw(normal_box(density), chunk=5, **SHORT)
    assert draws.attrs["status"] == "interrupted"
    assert 0 < draws["posterior"].sizes["draw"] < 30


@pytest.mark.parametrize(
    ("value", "vectorized", "error", "text"),
    [
        (lambda n: None, False, TypeError, "fn.*real number"),
        (lambda n: "1.0", False, TypeError, "fn.*real number"),
        (lambda n: 1j, False, TypeError, "fn.*real number"),
        (lambda n: np.zeros(1), False, ValueError, r"fn.*\(1,\).*real number"),
        (lambda n: 0.0, True, ValueError, r"fn.*\(\).*an array of 8"),
        (lambda n: np.zeros((n, 2)), True, ValueError, r"fn.*\(8, 2\).*an array of 8"),
        (lambda n: np.zeros(n + 1), True, ValueError, r"fn.*\(9,\).*an array of 8"),
        (lambda n: np.zeros(n, complex), True, TypeError, "fn.*an array of 8 real"),
    ],
)
def test_what_the_function_must_return(value, vectorized, error, text):
    with pytest.raises(error, match=text):
        draw(normal_box(lambda p: value(len(p["x"])), vectorized=vectorized), **SHORT)


@pytest.mark.parametrize("number", [np.float32, int, np.array, float])
def test_any_real_number_is_taken(number):
    draws = draw(normal_box(lambda p: number(round(-np.sum(p["x"] ** 2)))), **SHORT)
    np.testing.assert_array_equal(
        draws["sample_stats"]["lp"].values, [[round(-np.sum(x**2)) for x in c] for c in draws["posterior"]["x"].values]
    )


def test_nan_and_minus_infinity_are_rejected_and_plus_infinity_is_an_error():
    def half(p, outside):
        return outside if p["x"][0] < 0 else -0.5 * np.sum(p["x"] ** 2)

    for outside in (np.nan, -np.inf):
        draws = draw(normal_box(lambda p, outside=outside: half(p, outside)), **{**SHORT, "draws": 100})
        assert draws["posterior"]["x"].values[..., 0].min() >= 0
    with pytest.raises(mcmc.SamplingError, match="inf"):
        draw(normal_box(lambda p: half(p, np.inf)), **{**SHORT, "draws": 100, "init": {"x": np.full((8, 2), 0.1)}})


@pytest.mark.parametrize("kernel", [mcmc.HMC(), mcmc.HMC(step_size=0.1, metric=1.0)])
def test_a_kernel_with_gradients_is_refused_before_anything_runs(kernel):
    calls = []
    with pytest.raises(TypeError, match=r"black box has no gradient\n.*kernel.*DifferentialEvolution"):
        draw(normal_box(lambda p: calls.append(p)), kernel, **SHORT)
    assert calls == []


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: mcmc.Target.black_box(None, LINE), "fn.*a function"),
        (lambda: mcmc.Target.black_box(line, LINE, vectorized=1), "vectorized.*True or False"),
        (lambda: mcmc.Target.black_box(line, LINE, data=np.zeros(3)), r"fn.*\(p, data\)"),
        (lambda: mcmc.Target.black_box(lambda p, data: 0.0, LINE), r"fn.*\(p\).*data="),
        (lambda: mcmc.Target.black_box(line, [1.0]), "parameters.*a dict"),
    ],
)
def test_arguments(make, text):
    with pytest.raises(TypeError, match=text):
        make()


def test_the_page_runs():
    page = Path(__file__).parents[2] / "docs" / "black_box.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == 4
    names: dict = {"__name__": "page"}
    for block in blocks:
        size = "chains=10, draws=3, warmup=3" if "workers=" in block else "chains=16, draws=300, warmup=300"
        quick = block.replace("mcmc.sample(target)", f"mcmc.sample(target, {size}, progress=False)")
        assert quick != block
        with unconverged():
            exec(quick, names)
    assert names["draws"]["posterior"]["m"].shape == (16, 300)
    assert abs(float(names["draws"]["posterior"]["m"].mean()) + 0.96) < 0.5
