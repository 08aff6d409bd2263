"""Nothing is imported before it is used: what `import mcmc` loads, what a run loads, and that lazy names are right."""

import importlib
import json
import subprocess
import sys

import pytest

HEAVY = {"arviz", "fastapi", "h5netcdf", "h5py", "jinja2", "matplotlib", "pandas", "rich", "scipy", "typer", "xarray"}
HEAVY |= {"zarr", "numpyro", "pymc", "sklearn"}
ROOMS = ("", ".bench", ".diagnostics", ".direct", ".direct.categorical", ".direct.reparam")
ROOMS += (".readers", ".reporting", ".service")
SAMPLE = """
import mcmc
target = mcmc.Target(lambda p: -0.5 * p["x"] ** 2, {"x": mcmc.real()})
draws = mcmc.sample(target, chains=32, draws=300, warmup=100, progress=False)
assert draws.sizes is not None and mcmc.diagnose(draws).ok is not None
"""


def loaded(code: str) -> set[str]:
    """The modules that are there after `code` in a fresh process."""
    code += "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_package_itself_loads_no_array_library_and_no_backend():
    found = loaded("import mcmc")
    assert not found & (HEAVY | {"jax", "jaxlib", "numpy"})
    assert {name for name in found if name.startswith("mcmc.")} == set()


@pytest.mark.parametrize("room", [room for room in ROOMS if room])
def test_a_room_loads_no_other(room):
    found = loaded(f"import mcmc{room}")
    assert not found & (HEAVY | {"jax"})


def test_a_run_loads_neither_plots_nor_stores_nor_progress():
    found = loaded(SAMPLE)
    assert found & HEAVY == {"pandas", "xarray"}  # the result is a DataTree
    rooms = {"mcmc.bench", "mcmc.calibration", "mcmc.cli", "mcmc.direct", "mcmc.readers", "mcmc.reporting"}
    rooms |= {"mcmc.models", "mcmc.service", "mcmc.diagnostics.plot", "mcmc.kernels.nuts"}
    assert not found & rooms


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_is_there(room):
    package = importlib.import_module(f"mcmc{room}")
    assert package.__all__
    assert all(name in dir(package) and getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize("name", ["diagnostics.compare", "diagnostics.summary", "direct.reparam.gamma"])
def test_a_file_does_not_hide_the_function_of_its_name(name):
    room, _, function = name.rpartition(".")
    code = f"import mcmc.{name}\nfrom mcmc.{room} import {function}\nassert callable({function})"
    subprocess.run([sys.executable, "-c", code], check=True)
