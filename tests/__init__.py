"""The tests: mathematics, then behaviour, then the promise."""
