"""Draws by the inverse of a distribution function."""
