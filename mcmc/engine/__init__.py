"""The one loop: chunks of compiled iterations; keys, devices, memory, progress."""
