"""What a run with `until` and no kernel of its own does where it does not get there: other settings, step by step."""
