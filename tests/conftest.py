"""What all tests share: four CPU devices, and a folder of their own for compiled programs."""

import os
import shutil

import jax
import psutil
import pytest

jax.config.update("jax_num_cpu_devices", 4)  # before a backend starts: draws must not depend on devices

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


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


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium of this machine's, or a skip that says what is missing."""
    driver = pytest.importorskip("playwright.sync_api", reason="no browser test: Playwright is not installed")
    found = next((path for path in map(shutil.which, BROWSERS) if path), None)
    if found is None:
        pytest.skip(f"no browser test: none of {', '.join(BROWSERS)} is installed")
    with driver.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
