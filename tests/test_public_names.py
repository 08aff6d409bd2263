"""The public names: all resolve, stub and package agree, and importing them loads nothing that is heavy."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import mcmc

LAZY = ("mcmc", "mcmc.direct", "mcmc.direct.categorical", "mcmc.direct.reparam")
HEAVY = ("arviz", "arviz_stats", "matplotlib", "zarr", "rich", "xarray", "pandas", "scipy", "h5py", "typer", "jinja2")
LOOK = f"""
import sys
import mcmc
from jax._src import xla_bridge
assert dir(mcmc) and mcmc.__all__
print(*[name for name in {HEAVY} if name in sys.modules], *xla_bridge._backends)
"""


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_resolves_and_is_in_the_stub(package):
    module = importlib.import_module(package)
    stub = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text())
    imported = [name for line in stub.body if isinstance(line, ast.ImportFrom) for name in line.names]
    assert all(name.asname == name.name for name in imported)  # "as" makes a name of a stub public
    assert sorted(name.name for name in imported) == sorted(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        module.no_such_name


@pytest.mark.parametrize("name", ["gamma", "implicit", "inverse_gaussian"])
def test_a_function_is_not_hidden_by_the_module_of_its_name(name):
    importlib.import_module(f"mcmc.direct.reparam.{name}")
    assert inspect.isfunction(getattr(mcmc.reparam, name))


def test_import_loads_nothing_heavy_and_starts_no_backend():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == []
