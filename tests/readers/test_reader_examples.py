"""The examples in docstrings run, and give what they say."""

import doctest
import importlib

import pytest

MODULES = (
    "mcmc.readers.limits",
    "mcmc.readers.reading",
    "mcmc.diagnostics.arviz_plugin",
    "mcmc.diagnostics.compare",
    "mcmc.diagnostics.multivariate",
    "mcmc.diagnostics.rstar",
)


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    found = doctest.testmod(importlib.import_module(module))
    assert found.failed == 0
    assert found.attempted > 0
