"""Compares two results folders: pairs.py finds what differs, text.py writes it down, __main__.py is the command."""
