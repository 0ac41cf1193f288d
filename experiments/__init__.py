"""What is run: grids, cells and their records."""
