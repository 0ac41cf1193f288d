"""results/<grid>/speed → the benchmark's table alone, and what it says of the targets."""

import sys

import pandas as pd

from .command import results_argument, run_command
from .reading.benchmark import read_benchmark
from .reading.grid import read_grid
from .reading.tables import write_table
from .sections.speed.sentences import RIVAL_TITLES, verdicts
from .sections.speed.tables import benchmark
from .words import number


def main() -> None:
    """The command line."""
    arguments = results_argument("analysis.benchmark", "Make the benchmark's table alone.").parse_args()
    grid = read_grid(arguments.results)
    table = benchmark(read_benchmark(grid.folder))
    write_table(grid.folder, "benchmark", table)
    print(f"{grid.folder / 'tables' / 'benchmark.csv'}: {len(table)} rows.", file=sys.stderr)
    for task, rows in table.groupby("task", sort=False):
        print(f"\n{task}")
        for row in rows.itertuples():
            rate = f"{row.steps_per_second:>10,.0f} steps/s" if row.n else f"          – {row.reason}"
            found = [(title, getattr(row, f"{kind}_ratio")) for kind, title in RIVAL_TITLES.items()]
            times = "".join(f"   {number(ratio)} × {title}" for title, ratio in found if pd.notna(ratio))
            times += "" if pd.isna(row.limit_share) else f"   {number(100 * row.limit_share)} % of the simulator"
            print(f"  {row.title:<26}{rate}{times}")
    for found in verdicts(table) if len(table) else []:
        print(f"{found['what']}: {found['value']} ({found['bound']}): {found['verdict']}")


if __name__ == "__main__":
    run_command(main, "analysis.benchmark")
