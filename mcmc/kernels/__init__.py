"""Markov transitions: one algorithm a file, written for one chain (ensemble moves: for all)."""
