"""The demo: eight schools, from the log density to a verdict, a table, a picture and a file.

Rubin (1981): coaching for a test in eight schools, the measured effect `y` of each with its standard error
`sigma`. The true effects resemble each other: theta[j] ~ N(mu, tau), mu ~ N(0, 5), tau ~ HalfCauchy(0, 5).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mcmc.target.support import positive, real
from mcmc.target.target import Target

SCHOOLS = (
    "Choate",
    "Deerfield",
    "Exeter",
    "Hotchkiss",
    "Lawrenceville",
    "St. Paul's",
    "Andover",
    "Mt. Hermon",
)
Y = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
SIGMA = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
REFERENCE = {"mu": (4.4, 3.3), "tau": (3.6, 3.2)}  # mean and sd of long published runs


def eight_schools() -> Target:
    """The model, non-centred: theta = mu + tau * theta_trans leaves no funnel to sample."""

    def log_density(p, data):
        theta = p["mu"] + p["tau"] * p["theta_trans"]
        prior = -0.5 * (p["mu"] / 5) ** 2 - jnp.log1p((p["tau"] / 5) ** 2) - 0.5 * jnp.sum(p["theta_trans"] ** 2)
        return prior - 0.5 * jnp.sum(((data["y"] - theta) / data["sigma"]) ** 2)

    def derived(p, data):
        return {"theta": p["mu"] + p["tau"] * p["theta_trans"]}

    def log_likelihood(p, data):
        z = (data["y"] - derived(p, data)["theta"]) / data["sigma"]
        return {"y": -0.5 * z**2 - jnp.log(data["sigma"]) - 0.5 * jnp.log(2 * jnp.pi)}

    return Target(
        log_density,
        {"mu": real(), "tau": positive(), "theta_trans": real(8)},
        data={"y": np.array(Y), "sigma": np.array(SIGMA)},
        derived=derived,
        log_likelihood=log_likelihood,
        dims={name: ["school"] for name in ("theta", "theta_trans", "y", "sigma")},
        coords={"school": list(SCHOOLS)},
    )


@dataclass
class Demo:
    """What the demo made: draws, verdict, files, and the seconds that each part took."""

    draws: Any = None
    verdict: Any = None
    data: Path = Path("eight_schools.nc")
    picture: Path = Path("eight_schools.png")
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the seconds within as those of a part."""
        start = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - start


def run(out: Path, sample: Callable[[Target], Any], started: float | None = None) -> Demo:
    """Draw with `sample(target)`, judge, and write picture and data into the folder `out`.

    `started` is the time (of `time.time()`) when the process began, or None where nobody knows.
    """
    import mcmc

    out.mkdir(parents=True, exist_ok=True)
    demo = Demo(data=out / "eight_schools.nc", picture=out / "eight_schools.png")
    if started is not None:
        demo.seconds["import"] = time.time() - started
    with demo.timed("run"):
        demo.draws = sample(eight_schools())
    whole = demo.seconds.pop("run")
    for part in ("compile", "warmup", "sampling", "diagnosis"):
        demo.seconds[part] = float(demo.draws.attrs.get(f"{part}_time", 0.0))
        whole -= demo.seconds[part]
    with demo.timed("table"):
        demo.verdict = mcmc.diagnose(demo.draws)
    with demo.timed("data"):
        demo.draws.to_netcdf(demo.data, engine="h5netcdf")
    with demo.timed("picture"):
        figure = mcmc.plot(demo.draws, ["mu", "tau", "theta"], verdict=demo.verdict)
        figure.savefig(demo.picture)
    demo.seconds["other"] = max(whole, 0.0)
    return demo
