"""What a program costs, counted in what it computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcmc.target.cost import cost_of, traced_gradient


def cost(log_density, dim=10, arrays=()):
    return cost_of(traced_gradient(log_density, arrays, dim, np.float32))


def product_with(rows, columns=10):
    return cost(lambda a, y: jnp.sum((a[0] @ y) ** 2), columns, (np.zeros((rows, columns), np.float32),))


def test_a_product_costs_what_it_multiplies():
    assert product_with(20_000) / product_with(2000) == pytest.approx(10, rel=0.01)
    assert product_with(2000, 100) / product_with(2000) > 5


def test_turns_of_a_loop_count():
    def turns(n):
        return cost(lambda _, y: jax.lax.scan(lambda c, _: (jnp.sin(c) * 0.9, None), y[0], length=n)[0])

    assert turns(10_000) / turns(1000) == pytest.approx(10, rel=0.05)


def test_a_factor_costs_the_cube_of_its_size():
    def factor(n):
        eye = jnp.eye(n)
        return cost(lambda _, y: jnp.linalg.cholesky(eye + y[0] ** 2 * eye)[-1, -1])

    assert 6 < factor(400) / factor(200) < 9


def test_an_exponential_costs_more_than_a_square_and_a_gamma_function_more():
    square, exponential, gamma = (
        cost(lambda _, y, f=f: jnp.sum(f(y)), 1000) for f in (jnp.square, jnp.exp, jax.scipy.special.gammaln)
    )
    assert square < exponential < gamma


def test_of_two_branches_the_dearer_counts():
    def branches(_, y):
        return jax.lax.cond(y[0] > 0, lambda y: jnp.sum(jnp.exp(y)), lambda y: y[0], y)

    assert cost(branches, 1000) > 0.9 * cost(lambda _, y: jnp.sum(jnp.exp(y)), 1000)


def test_the_data_do_not_matter_but_their_shape():
    def density(a, y):
        return -jnp.sum((a[0] @ y) ** 2)

    one, other = np.zeros((50, 10), np.float32), np.ones((50, 10), np.float32)
    assert cost(density, 10, (one,)) == cost(density, 10, (other,))
