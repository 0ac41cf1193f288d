"""The table of provenance: versions, commits and machines that made the results."""

from collections.abc import Iterable

import pandas as pd

from ...reading.jobs import Job, Run

MAKERS = {"run": "runs", "study": "studies", "probe": "probes"}  # kind of job: its column in the table of provenance


def provenance(runs: list[Run], jobs: Iterable[Job]) -> pd.DataFrame:
    """The table `provenance`: each version, commit and machine, and how many runs, studies and probes it made.

    `runs` are the finished runs with their cells; `jobs` are the studies and probes, of which the finished ones count.
    """
    records = [("run", run) for _, run in runs] + [(kind, record) for kind, _, _, record in jobs if record]
    rows = []
    for kind, record in records:
        machine = record.get("machine", {})
        processor = f"{machine.get('cpu', 'not recorded')}, {machine.get('cores', '?')} cores"
        made = [("version", name, version or "not recorded") for name, version in record.get("versions", {}).items()]
        made.append(("commit", "commit", record.get("commit") or "not recorded"))
        if record.get("uncommitted_changes"):
            made.append(("commit", "uncommitted changes", "yes"))
        made += [("machine", "processor", processor), ("machine", "system", machine.get("system", "not recorded"))]
        rows += [(*found, MAKERS[kind]) for found in made]
    keys = ["kind", "name", "value"]
    table = pd.DataFrame(rows, columns=[*keys, "maker"], dtype=str)
    counts = {
        maker: (table["maker"] == maker).groupby([table[key] for key in keys], sort=False).sum()
        for maker in MAKERS.values()
    }
    return pd.DataFrame(counts).astype(int).reset_index()
