"""Colours, markers and sizes of all figures."""

import io
from dataclasses import dataclass

import matplotlib
import seaborn as sns
from matplotlib.figure import Figure

WIDTH = 11.0  # inches, about the width of a column of the report, so that type has its true size there
INK = "#2b2b2b"
QUIET = "#767676"
# The palette of Okabe & Ito for colour-blind readers, then Tol's muted scheme. Markers differ too, for print.
KNOWN = {
    "reinforce": ("#6b6b6b", "o"),
    "reinforce_baseline": ("#56b4e9", "s"),
    "actor_critic": ("#e69f00", "^"),
    "a2c": ("#009e73", "D"),
    "ppo": ("#d55e00", "P"),
}
FURTHER = [
    ("#0072b2", "X"),
    ("#cc79a7", "v"),
    ("#332288", "<"),
    ("#999933", ">"),
    ("#882255", "p"),
    ("#44aa99", "h"),
    ("#ddcc77", "*"),
    ("#aa4499", "d"),
    ("#117733", "8"),
]
PHASE_COLOURS = {
    "start_up": "#c9c9c9",
    "stepping": "#3d4f63",
    "acting": "#7690a8",
    "learning": "#d9a25f",
    "compiling": "#f0d9b5",
    "rest": "#b3c2d0",
    "evaluating": "#e4e8ec",
}
SIDE_COLOURS = {"bare": QUIET, "ours": "#d55e00", "peer": "#0072b2"}  # of the benchmark


@dataclass(frozen=True)
class Look:
    """Colour and marker of an algorithm."""

    colour: str
    marker: str


def looks(algorithms: list[str]) -> dict[str, Look]:
    """The look of each algorithm. Those of the ladder have fixed ones; others take the next free one in the grid's
    order.
    """
    others = [name for name in algorithms if name not in KNOWN]
    further = {name: FURTHER[index % len(FURTHER)] for index, name in enumerate(others)}
    return {name: Look(*(KNOWN.get(name) or further[name])) for name in algorithms}


def apply() -> None:
    """Set the parameters of seaborn and matplotlib. Text stays text in SVG, and equal tables give equal bytes."""
    matplotlib.use("agg")
    sns.set_theme(
        context="paper",
        style="ticks",
        rc={
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#8a8a8a",
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#ececec",
            "grid.linewidth": 0.8,
            "text.color": INK,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "figure.dpi": 100,
            "svg.fonttype": "none",
            "svg.hashsalt": "policy-gradient-ladder",
        },
    )


def image_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as the bytes of an svg or png file, without a date."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()
