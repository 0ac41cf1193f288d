"""Whether a Snakemake is at work on a results folder, by the lock of the system's that it holds until it ends."""

import fcntl
from pathlib import Path
from typing import TextIO

SNAKEMAKE_FOLDER = Path(".snakemake")  # relative to the project


def take_lock(project: Path, results: str) -> TextIO | None:
    """Take the lock of a results folder; the file that is returned holds it until it is closed.

    project: the folder in which Snakemake works; results: the grid's folder, relative to it.
    Returns None where no Snakemake has ever worked, or where files have no such locks. Raises BlockingIOError where a
    process has the lock. That is known on the machine of that process, and on others where they share locks.
    """
    folder = project / SNAKEMAKE_FOLDER
    if not folder.is_dir():
        return None
    file = (folder / f"{results.replace('/', '-')}.machine").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    except OSError:  # no such locks here
        file.close()
        return None
    return file
