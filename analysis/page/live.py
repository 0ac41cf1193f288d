"""What the live page of a grid that runs is made from, and what it says at its top."""

from collections.abc import Hashable
from dataclasses import dataclass

LIVE = "live.html"  # its name in the grid's folder


@dataclass(frozen=True)
class Look:
    """How far a grid is at one moment."""

    said: str  # in words, for the top of the page
    results: Hashable  # changes when what the page shows of results does
    over: bool  # nothing is left to be done
    running: bool  # some job is at work


@dataclass(frozen=True)
class Live:
    """What a page says that is made again and again while its grid runs."""

    said: str  # how far the grid is
    seconds: int  # after which the page reloads itself; 0: never
    report: str = ""  # where the finished report lies, as a link from the page
