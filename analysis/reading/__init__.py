"""Checks and reads a results folder. The folder may come from somebody else, so nothing in it is trusted."""
