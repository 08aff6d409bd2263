"""The metric that positions and gradients give, and the forms it has."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from laws import CORRELATED

from mcmc.kernels.metric import DIRECTION, LEAPFROG, LowRank, Metric, affordable, as_metric, check_metric, on_host
from mcmc.warmup.metric import metric_of, metrics_of

RNG = np.random.default_rng(3)
LOW = np.linalg.cholesky(CORRELATED)
NORMAL = RNG.normal(size=(640, 5)) @ LOW.T + 1e4
EYE = Metric(np.eye(5))


@pytest.fixture(autouse=True)
def in_double_precision():
    with jax.enable_x64(True):
        yield


def whole(metric):
    """The covariance that a metric stands for."""
    factor = factor_of(metric)
    return factor @ factor.T


@jax.jit
def columns_of(metric):
    return jax.vmap(metric.scale)(jnp.eye(metric.factor.shape[0]))


def factor_of(metric):
    """The matrix that `scale` multiplies by."""
    return np.asarray(columns_of(metric)).T


def test_without_gradients_it_is_the_shrunk_covariance():
    factor = metric_of(NORMAL, None, EYE).factor
    covariance, weight = np.cov(NORMAL.T, bias=True), 128 / (128 + 5)
    expected = weight * covariance + (1 - weight) * np.diag(np.diag(covariance))
    np.testing.assert_allclose(factor @ factor.T, expected, rtol=1e-7)
    np.testing.assert_array_equal(np.triu(factor, 1), 0)
    diagonal = metric_of(NORMAL, None, Metric(np.ones(5)))
    np.testing.assert_allclose(diagonal.factor**2, np.diag(covariance), rtol=1e-7)


@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0])
def test_with_gradients_a_normal_target_is_known_wherever_chains_are(spread):
    """Positions that have little to do with the target's covariance, not many more than dimensions."""
    rng, dim = np.random.default_rng(0), 20
    q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    covariance = (q * np.logspace(-3, 3, dim)) @ q.T
    positions = 5.0 + spread * rng.normal(size=(60, dim))
    gradients = -np.linalg.solve(covariance, positions.T).T
    found = metric_of(positions, gradients, Metric(np.eye(dim)), settled=False)
    ratios = np.linalg.eigvals(np.linalg.solve(covariance, found.factor @ found.factor.T)).real
    np.testing.assert_allclose(ratios, 1.0, rtol=0.3)


def test_where_the_target_is_wider_than_its_slopes_say_the_spread_counts():
    rng = np.random.default_rng(1)
    x = rng.standard_t(3, size=(20_000, 2)) * [1.0, 5.0]
    gradients = -4.0 * x / [1.0, 25.0] / (3.0 + (x / [1.0, 5.0]) ** 2)
    found = metric_of(x, gradients, Metric(np.eye(2)))
    np.testing.assert_allclose(np.diag(found.factor @ found.factor.T), x.var(0), rtol=0.02)
    diagonal = metric_of(x, gradients, Metric(np.ones(2)))
    np.testing.assert_allclose(diagonal.factor**2, x.var(0), rtol=0.02)


def test_of_low_rank_it_finds_the_few_directions_that_stand_out():
    rng, dim, rank = np.random.default_rng(2), 400, 8
    q = np.linalg.qr(rng.normal(size=(dim, 3)))[0]
    covariance = np.eye(dim) + (q * np.array([99.0, 400.0, -0.99])) @ q.T
    positions = np.linalg.cholesky(covariance) @ rng.normal(size=(dim, 2000))
    gradients = -np.linalg.solve(covariance, positions)
    found = metric_of(positions.T, gradients.T, LowRank(np.ones(dim), np.zeros((dim, rank)), np.ones(rank)))
    assert found.directions.shape == (dim, rank)
    ratios = np.linalg.eigvals(np.linalg.solve(covariance, whole(found))).real
    assert ratios.max() / ratios.min() < 10  # 40,000 without


@pytest.mark.parametrize("old", [Metric(3.0 * np.ones(5)), Metric(3.0 * np.eye(5))], ids=["diagonal", "dense"])
@pytest.mark.parametrize("fault", ["frozen", "nan", "inf", "nothing"])
def test_where_there_is_nothing_to_learn_the_old_one_stays(old, fault):
    x = NORMAL.copy()
    x[:, 2] = {"frozen": 1.5, "nan": np.nan, "inf": np.inf, "nothing": 0.0}[fault]
    assert metric_of(x[:0] if fault == "nothing" else x, None, old) is old
    assert metric_of(NORMAL, x[: len(NORMAL)], old) is old


@pytest.mark.parametrize("n", [2, 3, 6])
def test_fewer_positions_than_dimensions_give_a_covariance(n):
    factor = metric_of(np.random.default_rng(1).normal(size=(n, 20)), None, Metric(np.eye(20))).factor
    assert np.linalg.eigvalsh(factor @ factor.T)[0] > 0
    assert not np.array_equal(factor, np.eye(20))


FORMS = {
    "diagonal": Metric(np.array([2.0, 3.0, 0.5])),
    "dense": Metric(np.linalg.cholesky(CORRELATED[:3, :3])),
    "low rank": LowRank(
        np.array([1.0, 2.0, 3.0]), np.array([[0.6, 0.0], [0.8, 0.0], [0.0, 1.0]]), np.array([0.1, 7.0])
    ),
    "large": Metric(np.linalg.cholesky(np.cov(np.random.default_rng(0).normal(size=(40, 100))))),
}


@pytest.mark.parametrize("metric", FORMS.values(), ids=FORMS)
def test_a_metric_multiplies_by_its_factor_and_its_transpose(metric):
    metric, dim = jax.tree.map(jnp.asarray, metric), metric.factor.shape[0]
    factor = factor_of(metric)
    z = np.random.default_rng(0).normal(size=dim)
    np.testing.assert_allclose(metric.scale(jnp.asarray(z)), factor @ z, rtol=1e-9)
    np.testing.assert_allclose(metric.scale_gradient(jnp.asarray(z)), factor.T @ z, rtol=1e-9)


def test_a_users_covariance_is_the_same_metric_inside_and_outside_jit():
    position = jnp.zeros(5)
    for covariance in (2.0, np.arange(1.0, 6.0), CORRELATED):
        inside, outside = as_metric(covariance, position), on_host(covariance, 5)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), inside, outside)
    assert as_metric(None, position).factor.tolist() == [1.0] * 5


def test_a_covariance_of_any_units_is_one():
    """Deviations from 1e-150 to 1e150; what is no covariance is refused in the same units."""
    deviations = 10.0 ** np.array([-150, -6, 0, 6, 150])
    covariance = deviations[:, None] * CORRELATED * deviations
    check_metric(covariance, 5)
    factor = on_host(covariance, 5).factor
    np.testing.assert_allclose(factor, deviations[:, None] * LOW, rtol=1e-12)
    np.testing.assert_allclose(as_metric(covariance, jnp.zeros(5)).factor, factor, rtol=1e-12)
    for row, column, value in ((0, 1, 3.0), (0, 1, np.nan), (2, 2, -1.0), (2, 2, 0.0)):
        wrong = CORRELATED.copy()
        wrong[row, column] = wrong[column, row] = value
        with pytest.raises(ValueError, match="positive definite"):
            check_metric(deviations[:, None] * wrong * deviations, 5)
    with pytest.raises(ValueError, match="positive definite"):
        check_metric(deviations[:, None] * (CORRELATED + np.triu(np.full((5, 5), 1e-3), 1)) * deviations, 5)
    with pytest.raises(ValueError, match="positive definite"):
        check_metric(np.ones((5, 5)) * deviations[:, None] * deviations, 5)


def test_what_warmup_finds_does_not_hang_on_units():
    """Another unit for a coordinate changes its row of the factor by it, and nothing else."""
    rng, units = np.random.default_rng(4), 2.0 ** np.array([-400, -20, 0, 20, 400])
    x = rng.normal(size=(640, 5)) @ LOW.T
    gradients = -np.linalg.solve(CORRELATED, x.T).T
    for settled in (False, True):
        plain = metric_of(x, gradients, EYE, settled).factor
        np.testing.assert_allclose(plain @ plain.T, CORRELATED, rtol=1e-6)
        scaled = metric_of(x * units, gradients / units, EYE, settled).factor
        np.testing.assert_allclose(scaled / units[:, None], plain, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        metric_of(x * units, None, EYE).factor / units[:, None], metric_of(x, None, EYE).factor, rtol=1e-9, atol=1e-12
    )


def rows_of(directions, variances, dim, n, seed):
    """Positions and gradients (n, dim) of a normal target, I but for these variances along these directions."""
    z = np.random.default_rng(seed).normal(size=(n, dim))
    along = z @ directions
    x = z + (along * (np.sqrt(variances) - 1)) @ directions.T
    return x, -(x + (x @ directions * (1 / variances - 1)) @ directions.T)


def test_in_many_dimensions_directions_are_those_that_held_out_rows_confirm():
    dim, rank = 1500, 16
    directions = np.linalg.qr(np.random.default_rng(3).normal(size=(dim, 3)))[0]
    variances = np.array([100.0, 0.01, 25.0])
    x, g = rows_of(directions, variances, dim, 1200, seed=4)
    found = metric_of(x, g, LowRank(np.ones(dim), np.zeros((dim, rank)), np.ones(rank)))
    assert (found.variances != 1).sum() == 3
    both = np.linalg.qr(np.concatenate([directions, found.directions[:, :3]], 1))[0]
    law = np.eye(6) + both.T @ directions @ np.diag(variances - 1) @ directions.T @ both
    along = found.directions.T @ (both * found.factor[:, None])
    metric = both.T @ (both * found.factor[:, None] ** 2) + along.T @ np.diag(found.variances - 1) @ along
    ratios = np.linalg.eigvals(np.linalg.solve(metric, law)).real
    assert ratios.max() / ratios.min() < 60  # 10,000 without


@pytest.mark.parametrize("settled", [False, True])
def test_of_a_markov_chain_without_wide_directions_the_diagonal_is_left(settled):
    """x_t = 0.3 x_{t-1} + e_t: more directions than rows, and noise makes some look 5 times as wide as others."""
    dim, n, a, rank = 1500, 800, 0.3, 16
    rng = np.random.default_rng(5)
    x = rng.normal(size=(n, dim))
    for t in range(1, dim):
        x[:, t] = a * x[:, t - 1] + np.sqrt(1 - a**2) * x[:, t]
    e = np.diff(x, axis=1) + (1 - a) * x[:, :-1]
    g = np.concatenate([-x[:, :1], -e / (1 - a**2)], 1)
    g[:, :-1] += a * e / (1 - a**2)
    found = metric_of(x, g, LowRank(np.ones(dim), np.zeros((dim, rank)), np.ones(rank)), settled)
    assert (found.variances == 1).all()
    np.testing.assert_allclose(found.factor, np.sqrt(1 - a**2), rtol=0.2)


def test_directions_that_are_not_used_change_nothing_and_all_numbers_of_them_share_a_program():
    dim, rank = 40, 20
    rng = np.random.default_rng(6)
    directions = np.linalg.qr(rng.normal(size=(dim, rank)))[0]
    z = rng.normal(size=dim)
    stretch = jax.jit(lambda metric, z: metric.scale(z))
    for used in (0, 1, 8, 9, 16, 20):
        variances = np.ones(rank)
        variances[:used] = rng.uniform(2, 9, used)
        expected = z + directions @ ((np.sqrt(variances) - 1) * (directions.T @ z))
        np.testing.assert_allclose(
            stretch(LowRank(np.ones(dim), directions, variances), z), expected, rtol=1e-5, atol=1e-5
        )
    assert stretch._cache_size() == 1


def test_the_directions_cost_a_third_of_a_gradient_at_most():
    metric = LowRank(np.ones(2500), np.zeros((2500, 64)), np.ones(64))
    assert affordable(metric, 1.0).variances.size == 64
    some = affordable(metric, 5e-5)
    assert (some.directions.shape, some.variances.shape) == ((2500, 20), (20,))
    assert 20 * 2500 * DIRECTION <= (5e4 + 2500 * LEAPFROG) / 3 < 21 * 2500 * DIRECTION
    assert affordable(metric, 0.0).directions.shape == (2500, 3)


@pytest.mark.parametrize("old", [EYE, Metric(np.ones(5)), LowRank(np.ones(5), np.zeros((5, 2)), np.ones(2))])
def test_of_many_data_sets_each_has_the_metric_that_it_has_alone(old):
    rng = np.random.default_rng(5)
    x = np.stack([NORMAL[:200] - 1e4, rng.normal(size=(200, 5)), np.ones((200, 5)), np.full((200, 5), np.nan)])
    g = -x * [[[1.0]], [[3.0]], [[0.0]], [[1.0]]]
    found, changed = metrics_of(x, g, jax.tree.map(lambda a: np.stack([a] * 4), old), True)
    assert changed.tolist() == [True, True, False, False]
    for i in range(4):
        alone = metric_of(x[i], g[i], old, True) if i < 2 else old
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-9, atol=1e-12)
