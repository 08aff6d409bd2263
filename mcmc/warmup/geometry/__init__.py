"""Geometry found in warmup: a map that non-centres hierarchies and straightens tails."""
