"""The sections of the report: a folder each."""
