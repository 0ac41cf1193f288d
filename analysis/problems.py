"""What sections could not make, noted for the stages that follow, which make the rest."""

import json
from pathlib import Path

from analysis.reading.checks import read_json, write_whole

FILE = "problems.json"  # in tables/ or figures/; there only where something could not be made


def write_problems(folder: Path, problems: dict[str, str]) -> None:
    """Note why a table or figure, by its name, is not in `folder`; remove the note where all are there."""
    path = folder / FILE
    if problems:
        write_whole(path, (json.dumps(problems, indent=1, ensure_ascii=False) + "\n").encode())
    else:
        path.unlink(missing_ok=True)


def read_problems(folder: Path) -> dict[str, str]:
    """What `write_problems` noted in `folder`; empty where nothing is missing."""
    path = folder / FILE
    return read_json(path) if path.exists() else {}


def in_words(problems: dict[str, str]) -> str:
    """A line for every problem, for the terminal."""
    return "".join(f"error: {name} could not be made. {sentence}\n" for name, sentence in problems.items())
