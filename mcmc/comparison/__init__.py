"""Models compared: by cross-validation, by leave-one-out, by evidence."""
