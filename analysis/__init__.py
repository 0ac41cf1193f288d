"""Results to tables, tables to figures, both to the report."""

if __name__ == "analysis":  # the folder's name, in a checkout: see algorithms/core/checkout.py
    import algorithms  # noqa: F401
