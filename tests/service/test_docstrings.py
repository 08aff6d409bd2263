"""The examples in the service's docstrings run."""

import doctest
import importlib

import pytest

MODULES = (".answers", ".client", ".live_client", ".plain", ".serving", ".settings", ".upload")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"mcmc.service{name}"))
    assert found.failed == 0
    assert found.attempted > 0
