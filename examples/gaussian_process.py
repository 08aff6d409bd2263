r"""How does the flow of the Nile change from decade to decade? A Gaussian process, with its length scale inferred.

The annual flow at Aswan, 1871 to 1970, in 10^8 m^3 (Cobb 1978). A smooth level f and the years' own scatter:

    y_t ~ N(mean + f(t), noise),     f ~ GP(0, k)
    k(t, u) = amplitude^2 (1 + r) exp(-r),     r = sqrt(3) |t - u| / length

(a Matérn kernel of smoothness 3/2; Rasmussen & Williams 2006, eq. 4.17), with

    mean ~ N(900, 200)    amplitude, noise ~ N(0, 200) above 0    log length ~ N(log 20, 1),  length in years

Such a process is also a linear differential equation driven by white noise (Hartikainen & Särkkä 2010), so that a
Kalman filter over (f, df/dt) gives the likelihood of n flows in n small steps and no n by n matrix. The check takes
the other way: the full covariance matrix, the mean integrated out, and quadrature over the other three parameters.

    python examples/gaussian_process.py --out pictures
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas
from jax.scipy.linalg import solve_triangular
from jax.scipy.stats import norm
from matplotlib.figure import Figure

import mcmc

NAME = "gaussian_process"
TABLE = """
    1120 1160  963 1210 1160 1160  813 1230 1370 1140  995  935 1110  994 1020  960 1180  799  958 1140
    1100 1210 1150 1250 1260 1220 1030 1100  774  840  874  694  940  833  701  916  692 1020 1050  969
     831  726  456  824  702 1120 1100  832  764  821  768  845  864  862  698  845  744  796 1040  759
     781  865  845  944  984  897  822 1010  771  676  649  846  812  742  801 1040  860  874  848  890
     744  749  838 1050  918  986  797  923  975  815 1020  906  901 1170  912  746  919  718  714  740
"""
FLOW = np.array(TABLE.split(), dtype=float)
YEARS = np.arange(1871.0, 1971.0)
BEYOND = np.arange(1868.0, 1986.0)  # where the level is asked for
START = {"mean": 900.0, "amplitude": 100.0, "length": 20.0, "noise": 100.0}  # of the size of the flows' scatter


def transition(p):
    """What a year does to (f, df/dt): a matrix, the covariance it adds, and the covariance at rest, (2, 2) each."""
    rate = jnp.sqrt(3.0) / p["length"]
    matrix = jnp.exp(-rate) * jnp.array([[1 + rate, 1.0], [-(rate**2), 1 - rate]])
    rest = jnp.diag(p["amplitude"] ** 2 * jnp.stack([jnp.ones_like(rate), rate**2]))
    return matrix, rest - matrix @ rest @ matrix.T, rest


def log_likelihood(p, flow):
    """The log density of the flows: each given those before it, by the Kalman filter."""
    matrix, added, rest = transition(p)

    def year(state, y):
        m, c = state
        s = c[0, 0] + p["noise"] ** 2
        gain, error = c[:, 0] / s, y - p["mean"] - m[0]
        m, c = matrix @ (m + gain * error), matrix @ (c - jnp.outer(gain, c[0])) @ matrix.T + added
        return (m, c), -0.5 * (error**2 / s + jnp.log(s))

    return jnp.sum(jax.lax.scan(year, (jnp.zeros(2), rest), flow)[1])


def log_density(p, data):
    """The priors, and the flows."""
    prior = norm.logpdf(p["amplitude"], 0, 200) + norm.logpdf(p["noise"], 0, 200) + norm.logpdf(p["mean"], 900, 200)
    prior += norm.logpdf(jnp.log(p["length"]), jnp.log(20.0), 1) - jnp.log(p["length"])
    return prior + log_likelihood(p, data["flow"])


target = mcmc.Target(
    log_density,
    {"mean": mcmc.real(), "amplitude": mcmc.positive(), "length": mcmc.positive(), "noise": mcmc.positive()},
    data={"flow": FLOW},
    dims={"flow": ["year"]},
    coords={"year": YEARS.astype(int)},
)


def kernel(p, t, u):
    """The covariance of f between the times t and u: (t, u)."""
    r = jnp.sqrt(3.0) * jnp.abs(t[:, None] - u) / p["length"]
    return p["amplitude"] ** 2 * (1 + r) * jnp.exp(-r)


def level(key, p):
    """One draw of mean + f at the times BEYOND, given the flows and the parameters."""
    root = jnp.linalg.cholesky(kernel(p, YEARS, YEARS) + p["noise"] ** 2 * jnp.eye(len(YEARS)))
    half = solve_triangular(root, kernel(p, YEARS, BEYOND), lower=True)
    centre = p["mean"] + half.T @ solve_triangular(root, FLOW - p["mean"], lower=True)
    spread = kernel(p, BEYOND, BEYOND) - half.T @ half + 1e-6 * p["amplitude"] ** 2 * jnp.eye(len(BEYOND))
    return centre + jnp.linalg.cholesky(spread) @ jax.random.normal(key, (len(BEYOND),))


def levels(draws, n=400, seed=0):
    """The level and a simulated flow at the times BEYOND, for n draws of the parameters: (n, time) each."""
    posterior = draws["posterior"]
    at = np.linspace(0, posterior["noise"].size - 1, n).astype(int)
    p = {name: posterior[name].values.ravel()[at] for name in target.names}
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed), n)
        found = np.asarray(jax.jit(jax.vmap(level))(keys, p))
    return found, found + p["noise"][:, None] * np.random.default_rng(seed).normal(size=found.shape)


def exact(nodes=40):
    """Means and standard deviations of three parameters by Gauss-Legendre quadrature, the mean integrated out.

    With C = U diag(e) U^T the kernel of amplitude 1, the covariance of the flows is U diag(a^2 e + noise^2) U^T plus
    200^2 in every place: determinant and inverse by the rank-one formulas.
    """
    x, w = np.polynomial.legendre.leggauss(nodes)
    ranges = (0.0, 900.0), (np.log(0.3), np.log(2000.0)), (0.0, 260.0)  # of amplitude, log length, noise
    amplitude, log_length, noise = ((low + high) / 2 + (high - low) / 2 * x for low, high in ranges)
    log = np.empty((nodes, nodes, nodes))
    for j, length in enumerate(np.exp(log_length)):
        r = np.sqrt(3) * np.abs(YEARS[:, None] - YEARS) / length
        e, u = np.linalg.eigh((1 + r) * np.exp(-r))
        ones, flow = u.sum(0), u.T @ (FLOW - 900)
        v = amplitude[:, None, None] ** 2 * e + noise[:, None] ** 2
        lever = 1 + 200**2 * np.sum(ones**2 / v, -1)
        square = np.sum(flow**2 / v, -1) - 200**2 * np.sum(flow * ones / v, -1) ** 2 / lever
        log[:, j] = -0.5 * (square + np.log(v).sum(-1) + np.log(lever) + ((log_length[j] - np.log(20)) ** 2))
    log += -0.5 * ((amplitude[:, None, None] / 200) ** 2 + (noise / 200) ** 2)
    weight = np.exp(log - log.max()) * w[:, None, None] * w[:, None] * w
    weight /= weight.sum()
    rows = {}
    for k, (name, values) in enumerate((("amplitude", amplitude), ("length", np.exp(log_length)), ("noise", noise))):
        share = weight.sum(tuple({0, 1, 2} - {k}))
        rows[name] = share @ values, np.sqrt(share @ (values - share @ values) ** 2)
    return rows


def compare(summary):
    """Our means and standard deviations beside those by quadrature."""
    rows = {}
    for name, (mean, sd) in exact().items():
        ours = summary.loc[name]
        rows[name] = [ours["mean"], ours["mcse_mean"], mean, ours["sd"], sd]
    return pandas.DataFrame(rows, index=["mean", "mcse", "exact mean", "sd", "exact sd"]).T


def picture(draws, found, flows):
    """Left the flows, the level and its bands; right what the data say of the length scale."""
    fig = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = fig.subplots(1, 2, width_ratios=(2.4, 1))
    low, high = np.quantile(flows, (0.05, 0.95), axis=0)
    left.fill_between(BEYOND, low, high, color="#1f6fb4", alpha=0.12, lw=0, label="a year's flow, 90 %")
    low, middle, high = np.quantile(found, (0.05, 0.5, 0.95), axis=0)
    left.fill_between(BEYOND, low, high, color="#1f6fb4", alpha=0.35, lw=0, label="level, 90 %")
    left.plot(BEYOND, middle, color="#1f6fb4", lw=2, label="level, median")
    left.plot(YEARS, FLOW, "o", color="black", ms=3.5, label="measured")
    left.set(xlabel="year", ylabel="annual flow, 10⁸ m³", xlim=(1868, 1985), ylim=(420, 1560))
    left.legend(frameon=False, loc="upper right", fontsize=9, ncols=2)
    length = draws["posterior"]["length"].values.ravel()
    edges = np.geomspace(1, 400, 50)
    right.hist(length, edges, weights=np.full(length.size, 1 / length.size), color="#1f6fb4", alpha=0.5)
    width = np.log(edges[1] / edges[0])
    prior = np.exp(-0.5 * np.log(edges / 20) ** 2) / np.sqrt(2 * np.pi) * width
    right.plot(edges, prior, "--", color="0.35", lw=1.5)
    right.annotate("prior", (90, np.interp(75, edges, prior)), color="0.35")
    right.set(xscale="log", xlabel="length scale, years", ylabel="share of draws", xlim=(1, 400))
    right.set_xticks([1, 3, 10, 30, 100, 300], labels=["1", "3", "10", "30", "100", "300"])
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    fig.suptitle("The Nile at Aswan, and a Gaussian process", fontsize=13)
    return fig


def run(out=".", seed=1, **settings):
    """Draw, compare, save the picture; returns the draws and the table of comparison."""
    draws = mcmc.sample(target, **{"seed": seed, "init": START, **settings})
    summary = mcmc.summary(draws)
    print(summary[["mean", "sd", "mcse_mean", "ess_bulk", "r_hat"]].round(4).to_string())
    print(mcmc.diagnose(draws).verdict)
    table = compare(summary)
    print("\nAgainst quadrature:", table.round(3).to_string(), sep="\n")
    found, flows = levels(draws)
    drop = found[:, BEYOND == 1890.0] - found[:, BEYOND == 1910.0]
    print(f"\nMedian length scale: {np.median(draws['posterior']['length']):.0f} years.")
    print(f"From 1890 to 1910 the level fell by {drop.mean():.0f} ± {drop.std():.0f} (10^8 m^3 a year).")
    Path(out).mkdir(parents=True, exist_ok=True)
    picture(draws, found, flows).savefig(Path(out) / f"{NAME}.png", dpi=100)
    return draws, table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The level of the Nile")
    parser.add_argument("--out", default=".", help="folder of the picture")
    parser.add_argument("--seed", type=int, default=1)
    run(**vars(parser.parse_args()))
