"""The pictures of the recipes, one function a page: it is given the names of the page's program."""

import numpy as np
from drawing import GREY, axes, band, flat, legend


def page_counts(names):
    figure, (left, right) = axes(2)
    x = names["x"]
    left.plot(x, names["k"], "k.", ms=3)
    grid = np.linspace(x.min(), x.max(), 50)
    band(left, grid, np.exp(flat(names, "a")[::20, None] + flat(names, "b")[::20, None] * grid))
    left.set(xlabel="x", ylabel="count", yscale="symlog")
    right.hist(names["zeros"].ravel(), 40, color=GREY)
    right.axvline(np.mean(names["k"] == 0), color="tab:red")
    right.set(xlabel="share of zeros, simulated; red: seen", yticks=[])
    return figure


def page_censored(names):
    from scipy.stats import norm

    figure, ax = axes()
    bins = np.linspace(2, 20, 37)
    ax.hist(
        [names["first"][~names["is_censored"]], names["truncated"]],
        bins,
        density=False,
        stacked=True,
        label=["first survey", "second"],
        color=["tab:blue", GREY],
    )
    ax.axvline(names["limit"], color="k", ls=":")
    grid = np.linspace(2, 20, 200)
    curves = 120 * 0.5 * norm.pdf(grid, flat(names, "mu")[::40, None], flat(names, "sigma")[::40, None])
    band(ax, grid, curves, "tab:red", "all, seen or not")
    ax.set(xlabel="y", ylabel="values")
    legend(ax)
    return figure


def page_missing_values(names):
    figure, ax = axes(1, 5.5, 3.2)
    seen = ~np.isnan(names["x"])
    ax.plot(names["x"][seen], names["y"][seen], "k.", ms=4)
    guess = flat(names, "x_missing")
    ax.errorbar(
        guess.mean(0),
        names["y"][names["missing"]],
        xerr=guess.std(0),
        fmt="o",
        ms=3,
        color="tab:red",
        label="missing x",
    )
    grid = np.linspace(-0.5, 5, 50)
    band(ax, grid, flat(names, "a")[::20, None] + flat(names, "b")[::20, None] * grid)
    ax.set(xlabel="x", ylabel="y")
    legend(ax)
    return figure


def page_ordered(names):
    from scipy.special import expit

    figure, ax = axes()
    age, answer = names["age"], names["answer"]
    grid = np.linspace(-2.5, 2.5, 60)
    cut, b = flat(names, "cut")[::40], flat(names, "b")[::40]
    below = expit(cut[:, None, :] - b[:, None, None] * grid[:, None])
    for k in range(4):
        band(ax, grid, below[..., k], f"C{k}", f"P(answer ≤ {k})")
        bins = np.linspace(-2, 2, 7)
        at = np.digitize(age, bins)
        ax.plot(
            [age[at == i].mean() for i in range(1, 7)],
            [np.mean(answer[at == i] <= k) for i in range(1, 7)],
            "o",
            ms=3,
            color=f"C{k}",
        )
    ax.set(xlabel="age (standardised)", ylabel="share")
    legend(ax)
    return figure


def page_survival(names):
    figure, ax = axes()
    grid = np.linspace(0.01, 36, 100)
    for treated, color, label in ((1.0, "tab:blue", "6-mercaptopurine"), (0.0, "tab:red", "placebo")):
        level = flat(names, "level")[::20] + treated * flat(names, "effect")[::20]
        band(
            ax, grid, np.exp(-np.exp(flat(names, "shape")[::20, None] * (np.log(grid) - level[:, None]))), color, label
        )
        here = names["treated"] == treated
        week, over = names["week"][here], names["over"][here]
        times = np.unique(week[over])
        survival = np.cumprod([1 - np.sum(over & (week == t)) / np.sum(week >= t) for t in times])
        ax.step([0, *times], [1, *survival], where="post", color=color, lw=0.8)
    ax.set(xlabel="weeks", ylabel="still in remission")
    legend(ax)
    return figure


def page_mixed(names):
    figure, panels = axes(2)
    for ax, name in zip(panels, ("subject", "item"), strict=True):
        x = flat(names, name)
        order = np.argsort(x.mean(0))
        ax.errorbar(np.arange(len(order)), x.mean(0)[order], yerr=1.64 * x.std(0)[order], fmt="k.", ms=4, lw=0.8)
        ax.axhline(0, color=GREY)
        ax.set(xlabel=f"{name}s, by effect", ylabel="effect, log ms")
    return figure


def page_dose_response(names):
    figure, ax = axes()
    dose, detected = names["dose"], names["detected"]
    ax.plot(dose[detected], np.exp(names["log_response"][detected]), "k.", ms=5)
    ax.plot(
        dose[~detected],
        np.full((~detected).sum(), np.exp(names["limit"])),
        "kv",
        ms=5,
        mfc="none",
        label="below the limit",
    )
    grid = 10 ** np.linspace(-3.3, 4.3, 100)
    p = {name: flat(names, name)[::20, None] for name in ("top", "bottom", "slope", "log_ec50")}
    band(ax, grid, p["bottom"] + (p["top"] - p["bottom"]) / (1 + np.exp(p["slope"] * (np.log(grid) - p["log_ec50"]))))
    ax.set(xscale="log", yscale="log", xlabel="dose, nM", ylabel="response")
    legend(ax)
    return figure


def page_epidemic(names):
    import jax

    figure, ax = axes()
    p = {name: flat(names, name)[::100] for name in ("beta", "gamma")}
    band(ax, np.arange(1, 15), np.asarray(jax.jit(jax.vmap(names["infected"]))(p)), label="in bed, expected")
    ax.plot(np.arange(1, 15), names["in_bed"], "ko", ms=4)
    ax.set(xlabel="day", ylabel="boys in bed")
    legend(ax)
    return figure


def page_radial_velocity(names):
    figure, (left, right) = axes(2)
    left.errorbar(names["night"], names["velocity"], yerr=names["error"], fmt="k.", ms=4, lw=0.8)
    left.set(xlabel="night", ylabel="velocity, m/s")
    grid = np.linspace(-5, 185, 500)
    for i in np.random.default_rng(0).integers(0, len(flat(names, "a")), 12):
        p = {name: flat(names, name)[i] for name in ("period", "offset", "a", "b")}
        left.plot(grid, np.asarray(names["model"](p, grid)), lw=0.5, color="tab:blue", alpha=0.6)
    period, log_p = exact_periods(names)
    weight = np.exp(log_p - log_p.max())
    right.hist(flat(names, "period"), np.linspace(15, 40, 200), density=True, color=GREY, label="draws")
    right.plot(period, weight / -np.trapezoid(weight, period), "tab:red", lw=0.8, label="exact")
    right.set(xlabel="period, days", yticks=[], xlim=(16, 40))
    legend(right)
    return figure


def exact_periods(names, points=20_001):
    """Periods and the log of their exact law: the linear parameters are integrated out."""
    night, error = names["night"], names["error"]
    frequency = np.linspace(1 / 40, 1 / 15, points)
    found = []
    for f in frequency:
        phase = 2 * np.pi * f * night
        design = np.column_stack([np.ones_like(night), np.sin(phase), np.cos(phase)])
        covariance = error**2 * np.eye(len(night)) + 100 * design @ design.T
        _, log_det = np.linalg.slogdet(covariance)
        found.append(-0.5 * (log_det + names["velocity"] @ np.linalg.solve(covariance, names["velocity"])))
    return 1 / frequency, np.array(found) + 2 * np.log(frequency)


def page_occupancy(names):
    figure, panels = axes(2)
    for ax, name, true in zip(panels, ("psi", "p"), (0.6, 0.3), strict=True):
        for run, label in (("draws", "summed out"), ("states", "sampled")):
            ax.hist(flat(names, name, run), 60, density=True, histtype="step", label=label)
        ax.axvline(true, color="k", ls=":")
        ax.set(xlabel=name, yticks=[])
    legend(panels[0])
    return figure


def page_hidden_markov(names):
    figure, ax = axes()
    ax.plot(names["y"], "k.", ms=3)
    ax.plot(3 * names["chance"], "tab:blue", label="3 × chance of state 1")
    ax.step(np.arange(150), 3 * names["state"], color="tab:red", lw=0.6, where="mid", label="true state")
    ax.set(xlabel="time", ylabel="y")
    legend(ax)
    return figure


def page_stochastic_volatility(names):
    import jax

    figure, ax = axes()
    p = {name: flat(names, name)[::200] for name in ("mu", "sigma", "phi", "first", "z")}
    h = np.asarray(jax.jit(jax.vmap(lambda p: names["log_volatility"](p, {})))(p))
    days = np.arange(h.shape[1])
    ax.plot(days, np.abs(names["y"]), color=GREY, lw=0.5, label="|return|")
    band(ax, days, np.exp(h / 2), label="volatility")
    ax.plot(days, np.exp(names["h"] / 2), "tab:red", lw=0.6, label="true")
    ax.set(xlabel="day", ylabel="per cent", ylim=(0, 4))
    legend(ax)
    return figure


def page_kalman(names):
    figure, ax = axes()
    year = np.arange(1871, 1971)
    ax.plot(year, names["flow"], "k.", ms=3)
    band(ax, year, names["draws"].posterior_predictive["level"].values.reshape(-1, 100)[::20], label="level")
    ax.set(ylabel="flow of the Nile, 10⁸ m³")
    legend(ax)
    return figure


def page_latent_gp(names):
    figure, ax = axes()
    t = names["t"]
    ax.plot(t, names["k"], ".", color="0.5", ms=3)
    ax.plot(t, np.exp(1.0 + np.sin(t) + 0.4 * np.cos(3 * t)), "tab:red", lw=0.8, label="true rate")
    band(ax, t, flat(names, "rate")[::20], label="rate")
    ax.set(xlabel="t", ylabel="count")
    legend(ax)
    return figure


def page_spectrum(names):
    figure, ax = axes()
    ax.plot(names["channel"], names["counts"], ".", color="0.5", ms=3)
    p = {name: flat(names, name)[::50] for name in ("level", "fall", "width", "place", "height")}
    band(ax, names["channel"], names["spectrum"](p))
    ax.set(xlabel="channel", ylabel="counts")
    return figure


def page_simulator(names):
    figure, ax = axes()
    ax.plot(names["t"], names["signal"], "k.", ms=4)
    pairs = zip(flat(names, "rate")[::100], flat(names, "delay")[::100], strict=True)
    band(ax, names["t"], np.array([names["simulate"](*pair) for pair in pairs]))
    ax.set(xlabel="t", ylabel="signal")
    return figure


def page_bayesian_network(names):
    figure, ax = axes()
    f = flat(names, "f")
    ax.plot(names["grid"], f[:: len(f) // 30].T, color="tab:blue", lw=0.4, alpha=0.5)
    band(ax, names["grid"], f)
    ax.plot(names["x"], names["y"], "k.", ms=4)
    ax.set(xlabel="x", ylabel="f(x)", ylim=(-3, 3))
    return figure


def page_many_chains(names):
    figure, ax = axes(1, 4.6, 3.2)
    ax.hist2d(names["x"][:, -1], names["y"][:, -1], 70, cmap="Blues", range=[[-3.5, 3.5], [-3, 5.5]])
    ax.set(xlabel="x", ylabel="y")
    return figure


def page_outliers(names):
    figure, ax = axes()
    x = names["x"]
    chance = flat(names, "bad").mean(0)
    grid = np.linspace(x.min(), x.max(), 50)
    band(ax, grid, flat(names, "level")[::20, None] + flat(names, "slope")[::20, None] * (grid - names["middle"]))
    ax.errorbar(x, names["y"], yerr=names["error"], fmt="none", ecolor=GREY, lw=0.8)
    points = ax.scatter(x, names["y"], c=chance, cmap="coolwarm", vmin=0, vmax=1, s=25, zorder=3)
    figure.colorbar(points, ax=ax, label="chance to be bad")
    ax.set(xlabel="x", ylabel="y")
    return figure


def page_capture_recapture(names):
    figure, ax = axes(1, 5.5, 2.9)
    n, chance = exact_population(names)
    for run, label in (("draws", "latent states"), ("again", "a whole number")):
        drawn = np.bincount(flat(names, "population", run).astype(int), minlength=n[-1] + 1)[n]
        ax.step(n, drawn / drawn.sum(), where="mid", lw=1, label=label)
    ax.plot(n, chance, "k.", ms=3, label="exact")
    ax.set(xlabel="population", ylabel="probability", xlim=(66, 105))
    legend(ax)
    return figure


def exact_population(names):
    """Every size of the population, and its probability: the chance of a capture is integrated out."""
    from scipy.special import betaln, gammaln

    caught, seen = names["caught"], names["times"].sum()
    n = np.arange(caught, caught + names["more"] + 1)
    ways = gammaln(n + 1) - gammaln(n - caught + 1)
    log_p = ways + betaln(seen + 1, names["nights"] * n - seen + 1)
    return n, np.exp(log_p - np.logaddexp.reduce(log_p))


def page_many_data_sets(names):
    figure, (left, right) = axes(2, 6.4, 2.9)
    found, true = names["half_life"], names["true"]
    left.loglog(true, np.median(found, axis=1), "k.", ms=1.5)
    left.plot([1, 20], [1, 20], "tab:red", lw=0.8)
    left.set(xlabel="true half-life, h", ylabel="median found")
    right.hist(np.mean(found < true[:, None], axis=1), 20, color=GREY)
    right.axhline(len(true) / 20, color="tab:red", lw=0.8)
    right.set(xlabel="rank of the true one", ylabel="patients")
    return figure
