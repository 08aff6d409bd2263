"""Random numbers: keys, the philox generator, draws whose tails are right."""
