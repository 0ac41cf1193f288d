"""Statistics: pure functions of arrays. They read no file, draw only from the generator that they are given or from a
fixed seed, and change no argument.

Shapes in docstrings: n runs or batches, n_k runs on task k, K tasks, P points of a curve, R resamples, E episodes.
Scores are normalised, so they have no unit; curves and `values` keep the unit of what they are made from.
"""
