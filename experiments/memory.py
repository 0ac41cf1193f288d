"""The peak memory of this process."""

import re
import resource
import sys
from pathlib import Path


def peak_memory_mb() -> float:
    """The most physical memory that this process has held, in MiB.

    Where there is /proc, its VmHWM: Linux carries what `getrusage` counts over from the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        unit = 1024**2 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1]) / 1024
