"""Checks and reads a results folder, also a stranger's."""
