"""Results to tables, tables to figures, both to the report."""
