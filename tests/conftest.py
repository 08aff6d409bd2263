"""What all tests share: four CPU devices, and a folder of their own for compiled programs."""

import os

import jax
import psutil
import pytest

jax.config.update("jax_num_cpu_devices", 4)  # before a backend starts: draws must not depend on devices


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory):
    """Keep the programs that these tests compile out of the user's cache, and share them among the tests."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    before = os.environ.get("MCMC_COMPILATION_CACHE")
    os.environ["MCMC_COMPILATION_CACHE"] = folder
    yield folder
    if before is None:
        del os.environ["MCMC_COMPILATION_CACHE"]
    else:
        os.environ["MCMC_COMPILATION_CACHE"] = before


@pytest.fixture(autouse=True)
def bounded_memory():
    """Forget compiled programs where they have become many: thousands of small ones fill gigabytes."""
    yield
    if psutil.Process().memory_info().rss > 3e9:
        jax.clear_caches()
