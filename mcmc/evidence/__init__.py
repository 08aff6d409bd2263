"""The marginal likelihood: sequential Monte Carlo from prior to posterior, and bridge sampling beside it."""
