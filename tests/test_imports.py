"""Nothing is imported before it is used: what `import mcmc` loads, what a run loads, and that lazy names are right."""

import importlib.util
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
    rooms |= {"mcmc.models", "mcmc.service", "mcmc.diagnostics.plots", "mcmc.kernels.nuts"}
    assert not found & rooms


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_is_there(room):
    package = importlib.import_module(f"mcmc{room}")
    assert package.__all__
    assert all(name in dir(package) and getattr(package, name) is not None for name in package.__all__)


@pytest.mark.parametrize("room", ROOMS)
def test_no_file_hides_a_name(room):
    # Importing mcmc/ROOM/name.py would set the room's attribute `name` to the module, in place of the function.
    package = importlib.import_module(f"mcmc{room}")
    for name in package.__all__:
        value = getattr(package, name)
        spec = importlib.util.find_spec(f"{package.__name__}.{name}")
        assert spec is None or value is sys.modules[spec.name]
