"""Puts this folder on the path: `densities` serves the tests of several samplers."""
