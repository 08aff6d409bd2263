"""The examples in the docstrings run and say what they say."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("module", ["stats", "streaming", "verdict", "summary", "plot"])
def test_examples(module):
    found = doctest.testmod(importlib.import_module(f"mcmc.diagnostics.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
