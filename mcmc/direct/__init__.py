"""Draws without a chain: inverse CDF, rejection, reparameterised and categorical samplers."""
