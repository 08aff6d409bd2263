"""The problem of each.py, and its peers: a loop over NumPyro's NUTS, compiled once, and vmap over BlackJAX's.

python benchmarks/each_peers.py numpyro|blackjax SETS WARMUP DRAWS      # prints JSON
"""

import json
import sys
import time

import numpy as np

ROWS, SLOPES, CHAINS = 50, 2, 16


def problem(sets, seed=0):
    """True values from the prior of a regression, its covariates and its outcomes, for each data set."""
    rng = np.random.default_rng(seed)
    true = {"a": rng.normal(size=sets), "b": rng.normal(size=(sets, SLOPES)), "s": rng.exponential(size=sets)}
    x = rng.normal(size=(sets, ROWS, SLOPES))
    mean = true["a"][:, None] + np.einsum("srk,sk->sr", x, true["b"])
    return true, {"x": x, "y": mean + true["s"][:, None] * rng.normal(size=(sets, ROWS))}


def now():
    """The time, and the seconds that all threads of this process have used."""
    return np.array([time.perf_counter(), time.process_time()])


def since(began):
    """Seconds, and seconds of all cores together, since then."""
    return now() - began


def numpyro_runs(data, warmup, draws):
    """Draws of each data set in turn, by one compiled function; seconds, and those of all cores, of all data sets."""
    import jax
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS

    numpyro.enable_x64()

    def model(x, y):
        a = numpyro.sample("a", dist.Normal(0, 1))
        b = numpyro.sample("b", dist.Normal(0, 1).expand([SLOPES]).to_event(1))
        s = numpyro.sample("s", dist.Exponential(1.0))
        numpyro.sample("y", dist.Normal(a + x @ b, s), obs=y)

    @jax.jit
    def run(key, x, y):
        settings = {"num_chains": CHAINS, "chain_method": "vectorized", "progress_bar": False}
        mcmc = MCMC(NUTS(model), num_warmup=warmup, num_samples=draws, **settings)
        mcmc.run(key, x, y)
        return mcmc.get_samples(group_by_chain=True)

    jax.block_until_ready(run(jax.random.PRNGKey(0), data["x"][0], data["y"][0]))
    found, began = [], now()
    for i in range(len(data["y"])):
        found.append(jax.block_until_ready(run(jax.random.PRNGKey(i + 1), data["x"][i], data["y"][i])))
    seconds = since(began)
    return [
        np.stack([np.asarray(f["a"]), *np.moveaxis(np.asarray(f["b"]), 2, 0), np.asarray(f["s"])]) for f in found
    ], seconds


def blackjax_runs(data, warmup, draws):
    """The same by one call of a function that is vmapped over data sets and chains."""
    import blackjax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def one(key, start, x, y):
        def log_density(q):
            a, b, log_s = q[0], q[1:3], q[3]
            error = (y - a - x @ b) * jnp.exp(-log_s)
            return -0.5 * (a**2 + (b**2).sum() + (error**2).sum()) - jnp.exp(log_s) - (ROWS - 1) * log_s

        warm, run = jax.random.split(key)
        (state, parameters), _ = blackjax.window_adaptation(blackjax.nuts, log_density).run(warm, start, warmup)
        step = blackjax.nuts(log_density, **parameters).step

        def body(state, key):
            state, _ = step(key, state)
            return state, state.position

        return jax.lax.scan(body, state, jax.random.split(run, draws))[1]

    sets = len(data["y"])
    over_chains = jax.vmap(one, (0, 0, None, None))
    run = jax.jit(jax.vmap(over_chains, (0, 0, 0, 0)))
    arguments = [
        (jax.random.split(jax.random.key(seed), (sets, CHAINS)),
         np.random.default_rng(seed).uniform(-2, 2, (sets, CHAINS, 4)), data["x"], data["y"])
        for seed in (0, 1)
    ]  # fmt: skip
    jax.block_until_ready(run(*arguments[0]))
    began = now()
    q = np.array(jax.block_until_ready(run(*arguments[1])))
    seconds = since(began)
    q[..., 3] = np.exp(q[..., 3])
    return list(np.moveaxis(q, 3, 1)), seconds


def smallest_ess(values):
    """The least ESS over parameters (parameter, chain, draw), of their means, by ArviZ."""
    import arviz

    return float(min(np.min(arviz.ess(x)) for x in values))


if __name__ == "__main__":
    name, (sets, warmup, draws) = sys.argv[1], map(int, sys.argv[2:5])
    found, (seconds, cpu) = {"numpyro": numpyro_runs, "blackjax": blackjax_runs}[name](problem(sets)[1], warmup, draws)
    ess = float(np.mean([smallest_ess(x) for x in found]))
    print(json.dumps({"seconds": seconds / sets, "cpu_seconds": cpu / sets, "ess": ess}))
