"""The command line: mcmc demo, sample, diagnose, report, compare, serve, bench."""
