"""What is run: grids, cells and their records."""

if __name__ == "experiments":  # the folder's name, in a checkout: see algorithms/core/checkout.py
    import algorithms  # noqa: F401
