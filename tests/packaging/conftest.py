"""The package as others get it: a wheel, installed into an environment of its own, away from the repository."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Installed:
    """A wheel and the environment that it is installed in."""

    names: set[str]
    bin: Path
    site: Path

    def run(self, *command, folder):
        """Run a program of the environment in a folder, where nothing leads to the repository."""
        kept = "PYTHONPYCACHEPREFIX"  # where the dependencies' bytecode is
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") or k == kept}
        command = [str(self.bin / command[0]), *map(str, command[1:])]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """The wheel, installed; the dependencies are those of this environment. Needs no network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (environment / "lib").glob("python*/site-packages")
    # a path in a .pth file is searched last, and .pth files found on it (an editable mcmc) do not count
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installed(set(zipfile.ZipFile(wheel).namelist()), environment / "bin", site)
