"""Runs of one target on many data sets, side by side."""
