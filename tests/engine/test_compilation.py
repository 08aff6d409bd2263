"""The persistent cache: on by default, switchable, the user's folder respected, JAX's settings put back."""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import draw

import mcmc
from mcmc.engine.compilation import SWITCH, cache_folder, compile_program, compile_programs, persistent_cache
from mcmc.engine.program_cache import PROGRAMS

NAMES = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


def settings():
    return {name: getattr(jax.config, name) for name in NAMES}


@pytest.fixture(autouse=True)
def settings_stay(no_kept_programs):
    before = settings()
    yield
    changed = settings() != before
    for name, value in before.items():
        jax.config.update(name, value)
    assert not changed


def fresh_program():
    """A function that no test has compiled."""
    number = float(np.random.default_rng().integers(2**40))
    return lambda x: jnp.sin(x) + number


def test_the_default_folder_is_in_the_users_cache(monkeypatch):
    from platformdirs import user_cache_path

    monkeypatch.delenv(SWITCH)
    if not jax.config.jax_compilation_cache_dir:
        assert Path(cache_folder()).is_relative_to(user_cache_path("mcmc"))


@pytest.mark.parametrize("off", ["off", "OFF", "0", "false", "no"])
def test_it_is_switched_off(off, monkeypatch, tmp_path):
    monkeypatch.setenv(SWITCH, off)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() is None
    with persistent_cache():
        assert settings()["jax_persistent_cache_min_compile_time_secs"] != 0.0
    compile_program(fresh_program(), np.ones(2, np.float32))
    assert list(tmp_path.iterdir()) == []


def test_programs_go_to_the_named_folder(monkeypatch, tmp_path):
    folder = tmp_path / "a" / "b"
    monkeypatch.setenv(SWITCH, str(folder))
    before = settings()
    program, seconds = compile_program(fresh_program(), np.ones(2, np.float32))
    assert settings() == before
    assert seconds > 0
    assert program(np.ones(2, np.float32)).shape == (2,)
    assert any(name.name.endswith("-cache") for name in folder.iterdir())


def test_the_users_own_folder_is_used(monkeypatch, tmp_path):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
    try:
        monkeypatch.setenv(SWITCH, str(tmp_path / "ours"))
        assert cache_folder() == str(tmp_path / "theirs")
        with persistent_cache():
            assert jax.config.jax_compilation_cache_dir == str(tmp_path / "theirs")
            assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "theirs")
        assert not (tmp_path / "ours").exists()
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        from jax.experimental.compilation_cache import compilation_cache

        compilation_cache.reset_cache()


def test_a_folder_that_can_not_be_made_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(SWITCH, str(tmp_path / "file" / "folder"))
    program, _ = compile_program(fresh_program(), np.ones(2, np.float32))
    assert program(np.ones(2, np.float32)).shape == (2,)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_no_error(monkeypatch, tmp_path):
    tmp_path.chmod(0o500)
    monkeypatch.setenv(SWITCH, str(tmp_path))
    compile_program(fresh_program(), np.ones(2, np.float32))


def test_settings_come_back_after_an_error():
    before = settings()

    def fail():
        with persistent_cache():
            assert settings() != before
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        fail()
    assert settings() == before


def test_a_second_run_of_another_target_object_reads_the_cache(compiled_programs):
    hits = []
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))

    def target():  # a random key: its implementation is functions, which have no name in another process
        noise = lambda: jax.random.uniform(jax.random.key(0))  # noqa: E731
        return mcmc.Target(lambda p: -0.123 * jnp.sum(p["x"] ** 2) + noise(), {"x": mcmc.real(2)})

    few = {"chains": 8, "draws": 10, "warmup": 10}
    draw(target(), mcmc.RandomWalk(), **few)
    assert any(Path(compiled_programs).iterdir())
    hits.clear()
    PROGRAMS.clear()  # as in a new process
    draw(target(), mcmc.RandomWalk(), **few)
    assert hits.count("/jax/compilation_cache/cache_hits") == 2  # the sampler, and a test of the verdict
    assert "/jax/compilation_cache/cache_misses" not in hits


def test_options_that_xla_does_not_know_are_left_out():
    x = np.arange(3.0, dtype=np.float32)
    for options in (None, {"xla_cpu_multi_thread_eigen": False}, {"xla_no_such_option": 1}):
        programs, _ = compile_programs(lambda x: x + 1, [(x,)], options=options)
        np.testing.assert_array_equal(programs[0](x), x + 1)
