"""The size of a run: said in words, refused where it does not fit."""

import psutil
import pytest

from mcmc.engine import memory
from mcmc.errors import MemoryLimitError, SamplingError


class Free:
    def __init__(self, available):
        self.available = available


@pytest.fixture
def megabyte(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Free(1_000_000))


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1.5e6, "1.5 MB"),
        (2e9, "2.0 GB"),
        (3e12, "3.0 TB"),
        (4e16, "40000.0 TB"),
    ],
)
def test_sizes_in_words(size, text):
    assert memory.human(size) == text


def test_what_fits_is_measured(megabyte):
    assert memory.check_memory(10, 1000, 10, 8, "float64") == 800_000


def test_what_does_not_fit_is_refused_with_advice(megabyte):
    with pytest.raises(MemoryLimitError, match="10 chains x 1,001 draws x 10 numbers of float64") as raised:
        memory.check_memory(10, 1001, 10, 8, "float64")
    text = str(raised.value)
    assert text.startswith("draws")
    assert "800.8 kB" in text
    assert "800.0 kB" in text
    assert "thin" in text
    assert 'dtype="float32"' in text
    assert isinstance(raised.value, SamplingError)


def test_float32_is_not_advised_to_itself(megabyte):
    with pytest.raises(MemoryLimitError) as raised:
        memory.check_memory(100, 1001, 10, 4, "float32")
    assert 'dtype="float32"' not in str(raised.value)
