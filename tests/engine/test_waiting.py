"""A run that has nothing to show yet says what it waits for."""

import io
import re
import time

from mcmc.engine.progress import Reporter, Update
from mcmc.engine.progress_displays import LineReporter
from mcmc.engine.waiting import not_silent

UPDATE = Update("warmup", done=1, total=9, chains=4, elapsed=0.1)


def lines(act, reporter=None):
    stream = io.StringIO()
    reporter = reporter or LineReporter(stream)
    with not_silent(reporter, first=0.05, then=0.05):
        act(reporter)
    return stream.getvalue().splitlines()


def until_said(reporter, text):
    end = time.monotonic() + 20
    while text not in reporter._stream.getvalue():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_takes_long_is_said_before_the_first_line_and_after_it():
    def slow(reporter):
        until_said(reporter, "reading the target")
        reporter.start("64 chains")
        until_said(reporter, "compiling")
        reporter.update(UPDATE)

    said = lines(slow)
    first, title, later = said[0], said.index("mcmc: 64 chains"), [line for line in said if "compiling" in line]
    assert re.match(r"mcmc: reading the target: JAX traces the log density, \d+ s so far \(loops of Python", first)
    assert said.index(later[0]) > title
    assert sum("loops of Python" in line for line in said) == 1  # the hint once


def test_a_run_that_moves_or_ends_is_not_interrupted():
    def moves(reporter):
        reporter.start("64 chains")
        reporter.update(UPDATE)
        time.sleep(0.2)

    assert len(lines(moves)) == 2
    assert lines(lambda reporter: None) == []


def test_a_silent_run_stays_silent():
    assert lines(lambda reporter: time.sleep(0.15), Reporter()) == []
