"""The ladder: one short file per algorithm."""
