"""What all tests share: four CPU devices, compiled programs that are kept from run to run, and a count of these."""

import collections
import contextlib
import gc
import os
import pathlib
import shutil
import sys
import warnings

# One thread of linear algebra, before NumPy loads it; workers and subprocesses inherit it. The workers of a run fill
# the cores: threads that wait for each other there spin for longer than they compute.
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

import jax
import psutil
import pytest
from jax.experimental.compilation_cache import compilation_cache

from mcmc.engine import executables, programs

jax.config.update("jax_num_cpu_devices", 4)  # before a backend starts: draws must not depend on devices
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_parallel_codegen_split_count=1")  # the same code, compiled in one piece

WITH_WORKERS = ("test_workers", "test_black_box", "test_stan", "test_coming_from")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ASKED, READ = "/jax/core/compile/backend_compile_duration", "/jax/compilation_cache/cache_retrieval_time_sec"
PROGRAMS = collections.Counter()  # of this process, or in xdist's controller of all its workers
KEEP = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
JAXS_OWN = {name: getattr(jax.config, name) for name in KEEP}
OWN, OWN_ENTRY = executables.FOLDER, programs.entry_of
SHARED = "MCMC_TEST_PROGRAMS"
MOST_PROGRAMS = {"most_files": 20_000, "most_bytes": 1_000_000_000}


@jax.monitoring.register_event_duration_secs_listener
def count_programs(event: str, seconds: float, **_):
    """Count what XLA compiles, and for how long; what is read from the folder apart."""
    if event == ASKED:
        PROGRAMS.update(programs=1, seconds=seconds)
    elif event == READ:
        PROGRAMS.update(programs=-1, seconds=-seconds, read=1)


def pytest_configure(config):
    """Keep what JAX compiles for the next run, and share it among the workers.

    JAX finds a program by its code and by XLA's version: what was changed is compiled anew. Our own executables are
    found before anything is traced, by the files of the package: an edit anywhere and all are compiled anew. So a run
    of the tests leaves the programs of samplers to JAX's folder too. Checkouts share the folder that the environment
    variable MCMC_TEST_PROGRAMS names; `--cache-clear` has everything compiled.
    """
    if config.pluginmanager.hasplugin("cacheprovider") and config.cache is not None:
        keep_bytecode(config.cache.mkdir("bytecode"))
        folder = config.cache.mkdir("programs")
        if SHARED in os.environ and not config.getoption("cacheclear"):
            folder = pathlib.Path(os.environ[SHARED]).expanduser().absolute()
            folder.mkdir(parents=True, exist_ok=True)
        if not hasattr(config, "workerinput"):
            with contextlib.suppress(FileNotFoundError):  # another run removes some, too
                executables.forget(folder, **MOST_PROGRAMS)
        use_settings(dict(zip(KEEP, (str(folder), 0.0, 0), strict=True)))
        programs.entry_of = no_entry


def no_entry(*_):
    """No executable of our own, read or kept."""


def keep_bytecode(folder):
    """Where Python may not write bytecode beside the sources, keep it here: each subprocess would parse JAX anew."""
    if sys.dont_write_bytecode and not sys.pycache_prefix:
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(folder)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # absent with `python -B`
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


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
    count, seconds, read = PROGRAMS["programs"], PROGRAMS["seconds"], PROGRAMS["read"]
    said = f"{count} programs compiled in {seconds:.0f} s and {read} read that were kept, those of subprocesses aside"
    terminalreporter.write_line(said)


@pytest.fixture(scope="session", autouse=True)
def compiled_programs(tmp_path_factory):
    """A folder for the programs of subprocesses, and of tests that put the kept ones aside, out of the user's cache.

    The workers of a run share it: what one has compiled the others read.
    """
    folder = tmp_path_factory.getbasetemp() / "compiled"
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = tmp_path_factory.getbasetemp().parent / "compiled"
    folder.mkdir(exist_ok=True)
    folder = str(folder)
    before = os.environ.get("MCMC_COMPILATION_CACHE")
    os.environ["MCMC_COMPILATION_CACHE"] = folder
    executables.FOLDER = os.path.join(folder, OWN)
    yield folder
    executables.FOLDER = OWN
    if before is None:
        del os.environ["MCMC_COMPILATION_CACHE"]
    else:
        os.environ["MCMC_COMPILATION_CACHE"] = before


@pytest.fixture
def no_kept_programs(monkeypatch):
    """Without the programs of earlier runs and of other workers, for tests of what is compiled and where it is kept."""
    kept = {name: getattr(jax.config, name) for name in KEEP}
    use_settings(JAXS_OWN)
    monkeypatch.setattr(programs, "entry_of", OWN_ENTRY)
    yield
    use_settings(kept)


def use_settings(settings):
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(autouse=True)
def pipes_of_ended_workers(request):
    """Collect what ended worker processes leave open, here and not in the middle of another test."""
    yield
    if request.module.__name__.rpartition(".")[2] in WITH_WORKERS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


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
