"""Black boxes whose chains are evaluated by other processes: the same draws, in less time, and nothing hangs."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from runs import draw, same

import mcmc

SHORT = {"chains": 4, "draws": 10, "warmup": 5, "superchains": 0, "seed": 4}


class Refused(ValueError):
    """An error with arguments of its own, which does not survive pickling by itself."""

    def __init__(self, place, value):
        super().__init__(f"{place}: {value}")
        self.place = place


def made():
    """Functions that are sent by what they are: nothing of this module is imported by a worker."""
    import os
    import time

    import numpy as np

    def normal(p, data):
        if data["fail"] and p["x"][0] > -1e9:
            raise ValueError("the solver gave up", 7)
        if data["die"]:
            os._exit(3)
        time.sleep(float(data["seconds"]))
        return -0.5 * float(np.sum((p["x"] - data["at"]) ** 2)), {"x": data["at"] - p["x"]}

    def all_chains(p, data):
        return -0.5 * np.sum((p["x"] - data["at"]) ** 2, -1), {"x": data["at"] - p["x"]}

    return normal, all_chains


normal, all_chains = made()
DATA = {"fail": False, "die": False, "seconds": 0.0, "at": np.ones(2)}


def box(fn=normal, data=DATA, workers=2, **more):
    return mcmc.Target.black_box(fn, {"x": mcmc.real(2)}, data, gradient=True, workers=workers, **more)


@pytest.fixture(scope="module")
def alone():
    return draw(box(workers=None), mcmc.HMC(), **SHORT)


@pytest.fixture(scope="module")
def target():
    return box()


def test_the_draws_are_those_of_one_process(target, alone):
    same(alone, draw(target, mcmc.HMC(), **SHORT))


def test_any_executor_and_all_chains_in_a_call(alone):
    with ThreadPoolExecutor(3) as threads:
        same(alone, draw(box(workers=threads), mcmc.HMC(), **SHORT))
        same(alone, draw(box(all_chains, workers=threads, vectorized=True), mcmc.HMC(), **SHORT))


def test_processes_of_an_executor(target):
    from loky import ProcessPoolExecutor

    x = [np.arange(6.0).reshape(3, 2)]
    with ProcessPoolExecutor(1) as pool:
        for one, other in zip(box(workers=pool).host.evaluate(x), target.host.evaluate(x), strict=True):
            np.testing.assert_array_equal(one, other)


def test_sleeping_calls_are_made_side_by_side():
    """48 calls of 0.05 s by 6 workers take 8 · 0.05 s; nine tenths of that speed at the least, at best of five."""
    host = box(data={**DATA, "seconds": 0.05}, workers=6).host
    x, times = [np.zeros((48, 2))], []
    host.evaluate(x)  # workers start
    for _ in range(5):
        began = time.perf_counter()
        host.evaluate(x)
        times.append(time.perf_counter() - began)
    host.workers.close()
    assert min(times) < 0.4 / 0.9


def test_what_fn_raises_comes_out(target):
    with pytest.raises(ValueError, match="the solver gave up") as caught:
        draw(box(data={**DATA, "fail": True}), mcmc.HMC(), **SHORT)
    assert caught.value.args == ("the solver gave up", 7)
    assert any("in normal" in note for note in caught.value.__notes__)  # the worker's traceback
    assert draw(target, mcmc.HMC(), **SHORT)["posterior"].sizes["draw"] == 10


def test_an_error_that_cannot_be_sent_is_told():
    from mcmc.target.workers import _error_as_bytes, _loaded

    told = _loaded(_error_as_bytes(Refused("mesh", 3)))
    assert isinstance(told, mcmc.SamplingError)
    assert "Refused: mesh: 3" in str(told)


def test_a_worker_that_dies_is_an_error_and_the_next_run_has_new_ones(target):
    with pytest.raises(mcmc.SamplingError, match=r"fn: got the end of a worker.*Run it without workers="):
        draw(box(data={**DATA, "die": True}), mcmc.HMC(), **SHORT)
    victim = next(iter(target.host.workers._pool()._processes.values()))
    os.kill(victim.pid, signal.SIGKILL)
    time.sleep(0.5)
    with pytest.raises(mcmc.SamplingError, match="end of a worker"):
        target.host.evaluate([np.zeros((2, 2))])
    assert target.host.evaluate([np.zeros((2, 2))])[0].tolist() == [-1.0, -1.0]


def test_how_long_it_will_take_is_said(capsys):
    with ThreadPoolExecutor(2) as threads:
        draw(box(data={**DATA, "seconds": 0.002}, workers=threads), mcmc.HMC(), **SHORT, progress=True)
    said = capsys.readouterr().err
    assert "ms by 2 workers: 15 iterations about" in said
    assert "times the gradients of an iteration" in said


SCRIPT = """
import os, signal, sys, time
import mcmc

def slow(p):
    print("called", flush=True)
    time.sleep(0.05)
    return -0.5 * float(p["x"]) ** 2

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background begin without it
target = mcmc.Target.black_box(slow, {"x": mcmc.real()}, workers=2)  # no guard of __main__
def seen(update):
    if update.phase == "sampling":
        print("sampling", flush=True)
draws = mcmc.sample(target, mcmc.RandomWalk(), chains=4, warmup=0, draws=100_000, chunk=5, progress=seen)
print("status", draws.attrs["status"], draws["posterior"].sizes["draw"], flush=True)
"""


def alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_keeps_the_draws_so_far_and_ends_the_workers(tmp_path):
    (tmp_path / "run.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", str(tmp_path / "run.py")]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for line in run.stdout:
            if line.strip() == "sampling":
                break
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the workers too
        rest, _ = run.communicate(timeout=240)
        assert "status interrupted" in rest
        assert run.returncode == 0
        for _ in range(50):  # nobody of the group is left
            if not alive(run.pid):
                return
            time.sleep(0.1)
        pytest.fail("workers are left")
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.stdout.close()


@pytest.mark.parametrize(
    ("workers", "error", "text"),
    [
        (0, ValueError, "workers: got 0; expected at least 1"),
        ("8", TypeError, "workers: got '8'; expected a whole number or an Executor"),
        (True, TypeError, "workers: got True"),
    ],
)
def test_arguments(workers, error, text):
    with pytest.raises(error, match=text):
        box(workers=workers)


def test_a_function_that_cannot_be_sent():
    lock = ThreadPoolExecutor(1)._work_queue
    with pytest.raises(TypeError, match=r"can't be sent to another process.*Let it open"):
        mcmc.Target.black_box(lambda p: (lock, 0.0)[1], {"x": mcmc.real()}, workers=2)
