"""Quick answers: modes and normal approximations, weighed against the density that they stand for."""
