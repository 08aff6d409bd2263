"""Targets: a log density over named parameters, its supports and bijectors, and the flat vector of positions."""
