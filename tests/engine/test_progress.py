"""The progress of a run: what is shown where, how often, and that no fault of the display ends a run."""

import io
import logging
import math
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from mcmc.engine.progress import CallReporter, Reporter, Update
from mcmc.engine.progress_displays import LineReporter, LiveReporter, NotebookReporter, make_reporter
from mcmc.engine.progress_text import describe


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Broken(io.StringIO):
    def write(self, text):
        raise BrokenPipeError("nobody reads this")


def run(reporter, clock, seconds=20.0, steps=2000, phases=("warmup", "sampling"), total=True):
    for phase in phases:
        for i in range(1, steps + 1):
            clock.now += seconds / steps
            reporter.update(Update(phase, i, steps if total else None, 64, i * seconds / steps, 0.25))


def live(stream, clock=time.monotonic, width=100):
    return LiveReporter(stream, clock, force_terminal=True, force_jupyter=False, width=width, color_system=None)


# --- the update -----------------------------------------------------------------------------------------


def test_update_derives_speed_and_time_left():
    update = Update("sampling", done=100, total=400, chains=8, elapsed=2.0)
    assert update.draws_per_second == 400.0
    assert update.time_left == 6.0


@pytest.mark.parametrize(("done", "total", "left"), [(0, 10, None), (5, None, None), (10, 10, 0.0), (12, 10, 0.0)])
def test_time_left_where_it_is_unknown_or_over(done, total, left):
    assert Update("warmup", done, total, 1, 1.0).time_left == left


def test_no_time_passed_is_no_error():
    update = Update("warmup", 1, 10, 1, 0.0)
    assert update.draws_per_second == 0.0
    assert "0 draws/s" in describe(update)


def test_description_says_everything():
    update = Update("sampling", 320, 640, 64, 4.0, 0.271, 3, 1.0042, 1234.5, bytes_written=12_300_000)
    text = describe(update)
    for part in ("320 of 640 (50%)", "5,120 draws/s", "0.27", "3 diverging", "R-hat 1.004", "ESS 1,234"):
        assert part in text
    assert "12.3 MB written" in text
    assert "4.0 s left" in text


def test_description_survives_what_is_not_finite():
    text = describe(Update("sampling", 1, None, 1, 1.0, math.nan, 0, math.nan, math.inf))
    assert "R-hat nan" in text
    assert "ESS inf" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.21, "3.2 s"), (45.0, "45 s"), (75.0, "1 min 15 s"), (7380.0, "2 h 03 min")]
)
def test_durations_are_readable(seconds, text):
    assert f"{text} passed" in describe(Update("warmup", 1, None, 1, seconds))


# --- the choice -----------------------------------------------------------------------------------------


def test_false_is_silent(capsys, caplog):
    reporter = make_reporter(False)
    with caplog.at_level(logging.INFO, "mcmc"), reporter:
        reporter.start("title")
        reporter.note("kernel chosen")
        run(reporter, Clock(), steps=10)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert caplog.messages == ["kernel chosen"]
    assert not reporter.wants_statistics()


def test_true_chooses_by_the_stream(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert type(make_reporter(True, stream=io.StringIO())) is LineReporter
    assert type(make_reporter(True, stream=Terminal())) is LiveReporter
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_reporter(True, stream=Terminal())) is LineReporter


def test_no_stderr_at_all_is_silent(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert type(make_reporter(True)) is Reporter


def test_a_closed_stderr_is_silent(monkeypatch):
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with make_reporter(True) as reporter:
        reporter.start("title")
        run(reporter, Clock(), steps=3)


@pytest.mark.parametrize("progress", [None, "yes", 1])
def test_other_values_are_errors(progress):
    with pytest.raises(TypeError, match="progress must be True, False or a callable"):
        make_reporter(progress)


# --- a pipe ---------------------------------------------------------------------------------------------


def test_lines_are_few_and_hold_the_first_and_last():
    clock, stream = Clock(), io.StringIO()
    with LineReporter(stream, clock) as reporter:
        reporter.start("64 chains")
        run(reporter, clock)
    lines = stream.getvalue().splitlines()
    warmup = [line for line in lines if line.startswith("mcmc: warmup")]
    sampling = [line for line in lines if line.startswith("mcmc: sampling")]
    assert lines == ["mcmc: 64 chains", *warmup, *sampling]
    assert 4 <= len(warmup) <= 6
    assert 4 <= len(sampling) <= 6
    assert "1 of 2,000" in sampling[0]
    assert "2,000 of 2,000 (100%)" in sampling[-1]
    assert "\x1b" not in stream.getvalue()


def test_a_phase_without_a_known_end_shows_its_last_update():
    clock, stream = Clock(), io.StringIO()
    with LineReporter(stream, clock) as reporter:
        run(reporter, clock, seconds=1.0, total=False)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert "warmup 2,000 iterations" in lines[1]
    assert "sampling 2,000 iterations" in lines[3]


def test_an_interrupted_run_shows_where_it_stopped():
    clock, stream = Clock(), io.StringIO()

    def interrupted():
        with LineReporter(stream, clock) as reporter:
            for i in range(1, 8):
                reporter.update(Update("sampling", i, 100, 4, i / 10))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "7 of 100" in stream.getvalue().splitlines()[-1]


def test_statistics_are_kept_within_a_phase_but_not_to_its_end():
    clock, stream = Clock(), io.StringIO()
    with LineReporter(stream, clock) as reporter:
        reporter.update(Update("warmup", 1, 10, 4, 0.1, rhat=1.5, ess=7.0))
        reporter.update(Update("sampling", 1, 10, 4, 0.1))
        reporter.update(Update("sampling", 5, 10, 4, 0.5, rhat=1.02, ess=300.0))
        clock.now += 5.0
        reporter.update(Update("sampling", 6, 10, 4, 5.5))
        reporter.update(Update("sampling", 10, 10, 4, 6.0))
    first, second, third, last = stream.getvalue().splitlines()
    assert "R-hat 1.500" in first
    assert "R-hat" not in second
    assert "R-hat 1.020, ESS 300" in third
    assert "R-hat" not in last


def test_lines_need_no_rich():
    code = (
        "import sys; before = 'rich' in sys.modules\n"
        "from mcmc.engine.progress import Update\n"
        "from mcmc.engine.progress_displays import make_reporter\n"
        "with make_reporter(True) as r:\n"
        "    r.start('t'); r.update(Update('sampling', 1, 1, 1, 1.0)); r.note('n')\n"
        "assert before or 'rich' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "sampling 1 of 1 (100%)" in done.stderr


# --- how often ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_a_live_display_is_redrawn_ten_times_a_second_at_most(seconds):
    clock, stream = Clock(), io.StringIO()
    with live(stream, clock) as reporter:
        run(reporter, clock, seconds=seconds, steps=5000, phases=("sampling",))
    assert 5 * seconds <= reporter.redraws <= 10 * seconds + 2


def test_updates_that_are_not_due_draw_nothing():
    clock, stream = Clock(), io.StringIO()
    reporter = live(stream, clock)
    reporter.update(Update("sampling", 1, 100_000, 4, 0.1))
    shown = stream.getvalue()
    for i in range(2, 10_000):
        reporter.update(Update("sampling", i, 100_000, 4, 0.1))
    assert reporter.redraws == 1
    assert stream.getvalue() == shown
    reporter.close()
    assert reporter.redraws == 2


@pytest.mark.parametrize(("kind", "most"), [(live, 2.0), (LineReporter, 0.2)])
def test_statistics_are_wanted_rarely(kind, most):
    clock = Clock()
    reporter = kind(io.StringIO(), clock)
    wanted = 0
    for _ in range(1000):
        clock.now += 0.02
        wanted += reporter.wants_statistics(clock.now)
    assert 0.7 * most <= wanted / 20.0 <= most + 0.1
    assert reporter.wants_statistics(clock.now, last=True)
    assert not reporter.wants_statistics(clock.now)


def test_dear_statistics_are_wanted_more_rarely():
    clock = Clock()
    reporter = live(io.StringIO(), clock)
    assert reporter.wants_statistics()
    reporter.statistics_took(0.2)
    clock.now += 9.0
    assert not reporter.wants_statistics()
    clock.now += 2.0
    assert reporter.wants_statistics()


# --- a callable -----------------------------------------------------------------------------------------


def test_a_callable_gets_every_update(capsys):
    got = []
    clock = Clock()
    reporter = make_reporter(got.append)
    reporter.start("title")
    run(reporter, clock, steps=50)
    reporter.close()
    assert len(got) == 100
    assert got[-1].done == 50
    assert capsys.readouterr() == ("", "")


def test_a_failing_callable_warns_once_and_is_left_alone():
    calls = []

    def fail(update):
        calls.append(update)
        raise ValueError("no database")

    reporter = CallReporter(fail)
    with pytest.warns(RuntimeWarning, match="ValueError: no database"):
        reporter.update(Update("sampling", 1, 10, 1, 1.0))
    reporter.update(Update("sampling", 2, 10, 1, 1.0))
    assert len(calls) == 1


def test_a_callable_can_stop_the_run():
    def stop(update):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_reporter(stop).update(Update("sampling", 1, 10, 1, 1.0))


# --- a terminal -----------------------------------------------------------------------------------------


def test_live_display_shows_both_phases_and_the_notes():
    clock, stream = Clock(), io.StringIO()
    with live(stream, clock) as reporter:
        reporter.note("kernel: [RandomWalk], no gradient")
        reporter.start("64 chains of RandomWalk")
        run(reporter, clock, steps=20)
        reporter.update(Update("sampling", 20, 20, 64, 2.0, 0.3, 2, 1.01, 250.0))
    text = stream.getvalue()
    for part in (
        "kernel: [RandomWalk], no gradient",
        "64 chains of RandomWalk",
        "warmup",
        "sampling",
        "100%",
    ):
        assert part in text
    assert "acceptance rate 0.30, R-hat 1.010, ESS 250, 2 diverging" in text


@pytest.mark.parametrize("width", [20, 60, 200])
def test_live_display_keeps_to_the_width(width):
    clock, stream = Clock(), io.StringIO()
    with live(stream, clock, width) as reporter:
        reporter.start("a title that is much too long for a narrow terminal " * 3)
        reporter.update(Update("sampling", 20, 20, 64, 2.0, 0.3, 2, 1.01, 250.0))
    frame = stream.getvalue().split("\x1b[?25l")[-1]
    plain = "".join(c for c in frame if c.isprintable() or c == "\n")
    assert "sampling" in plain


def test_live_display_gives_the_cursor_back_after_an_interrupt():
    stream = io.StringIO()
    reporter = live(stream)

    def interrupted():
        with reporter:
            reporter.start("title")
            reporter.update(Update("sampling", 1, 10, 1, 1.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    text = stream.getvalue()
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0
    reporter.close()
    assert stream.getvalue() == text


def test_closing_twice_and_without_a_start():
    with live(io.StringIO()) as reporter:
        pass
    reporter.close()
    reporter.close()


@pytest.mark.parametrize("kind", [LineReporter, live])
def test_a_broken_stream_does_not_end_the_run(kind):
    clock = Clock()
    with kind(Broken(), clock) as reporter:
        reporter.start("title")
        run(reporter, clock, steps=5)
        reporter.note("still here")
    assert not reporter.wants_statistics()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_ctrl_c_in_a_real_terminal_leaves_it_in_order():
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from mcmc.engine.progress import Update\n"
        "from mcmc.engine.progress_displays import make_reporter\n"
        "r = make_reporter(True); r.start('title')\n"
        "for i in range(1, 10**9):\n"
        "    r.update(Update('sampling', i, 10**9, 4, i / 100)); time.sleep(0.01)\n"
    )
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stderr=slave, stdout=subprocess.PIPE, env=environment, text=True
    )
    os.close(slave)
    seen = b""
    while b"sampling" not in seen:
        seen += os.read(master, 65536)
    child.send_signal(signal.SIGINT)
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:
            break
        if not block:
            break
        seen += block
    output, _ = child.communicate(timeout=60)
    os.close(master)
    assert output == ""
    assert b"KeyboardInterrupt" in seen
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0


# --- a notebook -----------------------------------------------------------------------------------------


def test_a_notebook_shows_one_text_in_place(monkeypatch):
    shown = []

    class Handle:
        def update(self, content, raw):
            shown.append(content["text/plain"])

    def display(content, raw, display_id):
        shown.append(content["text/plain"])
        return Handle()

    class ZMQInteractiveShell:
        pass

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = ZMQInteractiveShell
    ipython.display = types.ModuleType("IPython.display")
    ipython.display.display = display
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython.display)
    reporter = make_reporter(True)
    assert type(reporter) is NotebookReporter
    reporter.start("64 chains")
    reporter.note("kernel: HMC")
    reporter.update(Update("warmup", 10, 10, 64, 1.0))
    reporter.update(Update("sampling", 10, 10, 64, 1.0))
    reporter.close()
    assert [line.split()[0] for line in shown[-1].splitlines()] == ["64", "kernel:", "warmup", "sampling"]
