"""What all tests share: four CPU devices, a folder of their own for compiled programs, and a count of these."""

import collections
import gc
import os
import shutil

import jax
import psutil
import pytest

jax.config.update("jax_num_cpu_devices", 4)  # before a backend starts: draws must not depend on devices
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")  # the same code, compiled in one piece

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COMPILED = "/jax/core/compile/backend_compile_duration"
PROGRAMS = collections.Counter()  # of this process, or in xdist's controller of all its workers


@jax.monitoring.register_event_duration_secs_listener
def count_programs(event: str, seconds: float, **_):
    """Count what XLA compiles, and for how long."""
    if event == COMPILED:
        PROGRAMS.update(programs=1, seconds=seconds)


def pytest_collection_finish():
    """Keep what is imported out of the garbage collector, which tracing JAX programs would start again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["programs"] = dict(PROGRAMS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    PROGRAMS.update(getattr(node, "workeroutput", {}).get("programs", {}))


def pytest_terminal_summary(terminalreporter):
    count, seconds = PROGRAMS["programs"], PROGRAMS["seconds"]
    terminalreporter.write_line(f"{count} programs compiled in {seconds:.0f} s, those of subprocesses aside")


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
def bounded_memory(most={"bytes": 3e9}):
    """Forget compiled programs where they have become many: thousands of small ones fill gigabytes.

    Not again before a gigabyte more is in use: what stays in use would have every test compile everything anew.
    """
    yield
    process = psutil.Process()
    if process.memory_info().rss > most["bytes"]:
        jax.clear_caches()
        gc.collect()
        most["bytes"] = max(3e9, process.memory_info().rss + 1e9)


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
